"""Batch recommendation beside implicit: 30 of 200,000 items, f = 64, what was heard left out.

    python benchmarks/recommend.py [--out docs/results]

Both rank with the same factors, trained here on a synthetic log (Zipf items in scenes, Pareto
users), in one process, in turns; the median of paired runs counts. The lists must agree.
"""

from __future__ import annotations

import os

# implicit's authors advise one BLAS thread; it has threads of its own, and so has ours.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import resource
import sys
from time import perf_counter

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares as Implicit
from page import options, origin, publish
from scipy.sparse import csr_matrix

from recsys.collaborative import AlternatingLeastSquares

N_SCENES, K = 400, 30


def listening(n_users: int, n_items: int, n_plays: int, seed: int = 0) -> csr_matrix:
    """Return play counts: each listener has three scenes, an item's popularity is Zipf's."""
    rng = np.random.default_rng(seed)
    lengths = np.minimum(rng.pareto(1.5, n_users) * 12 + 5, 2_000)
    users = np.repeat(
        np.arange(n_users), rng.poisson(lengths * (n_plays / lengths.sum())).astype(int)
    )
    scenes = rng.integers(0, N_SCENES, (n_users, 3))[users, rng.integers(0, 3, len(users))]
    per_scene = n_items // N_SCENES
    weights = np.cumsum(1 / np.arange(1, per_scene + 1))
    place = np.searchsorted(weights / weights[-1], rng.random(len(users)))
    items = scenes * per_scene + place
    counts = rng.geometric(0.5, len(users)).astype(np.float32)
    return csr_matrix((counts, (users, items)), shape=(n_users, n_items))


def seconds(run) -> float:
    started = perf_counter()
    run()
    return perf_counter() - started


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--users", type=int, default=3_000, help="users in the batch")
    parser.add_argument("--runs", type=int, default=5, help="paired runs")
    args = parser.parse_args()
    load = os.getloadavg()[0]

    user_items = listening(60_000, 200_000, 3_000_000)
    ours = AlternatingLeastSquares(factors=64, regularization=1.0, alpha=10.0, random_state=0)
    ours.iterations = 6
    ours.fit(user_items)
    theirs = Implicit(factors=64, num_threads=0)
    theirs.user_factors, theirs.item_factors = ours.user_factors, ours.item_factors
    users = np.random.default_rng(1).choice(60_000, args.users, replace=False)
    rows = user_items[users]
    banned = np.arange(0, 200_000, 50)

    lines = [
        "| filter | implicit users/s | ours users/s | ratio | equal lists |",
        "|---|---|---|---|---|",
    ]
    for name, rules in (
        ("heard", {}),
        ("heard and 4,000 banned items", {"filter_items": banned}),
        ("none", {"filter_already_liked_items": False}),
    ):
        found = ours.recommend(users[:200], rows[:200], N=K, **rules)  # builds the index, warms
        pairs = []
        for _ in range(args.runs):
            their_s = seconds(lambda o=rules: theirs.recommend(users, rows, N=K, **o))
            our_s = seconds(lambda o=rules: ours.recommend(users, rows, N=K, **o))
            pairs.append((their_s, our_s))
        found = ours.recommend(users, rows, N=K, **rules)
        wanted = theirs.recommend(users, rows, N=K, **rules)
        # Ranks may swap where float32 scores are as good as equal; the scores then agree.
        agree = np.isclose(found[1], wanted[1], rtol=1e-5, atol=1e-6).all(axis=1).mean()
        their_s, our_s = np.median(pairs, axis=0)
        ratio = np.median([a / b for a, b in pairs])
        lines.append(
            f"| {name} | {args.users / their_s:,.0f} | {args.users / our_s:,.0f} | "
            f"{ratio:.1f}x | {agree:.2%} |"
        )
    one, one_theirs = (
        1e3 / 200 * seconds(lambda m=m: [m.recommend(u, user_items[u], N=K) for u in users[:200]])
        for m in (ours, theirs)
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours.recommend(np.arange(60_000), user_items, N=K)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    page = f"""# Batch recommendation

30 of 200,000 items, f = 64, {args.users:,} users a batch, median of {args.runs} paired runs.

{chr(10).join(lines)}

One user at a time, heard left out: implicit {one_theirs:.2f} ms, ours {one:.2f} ms.
All 60,000 users in one call raise the peak memory over that of the training by {grown:.0f} MiB;
all their scores at once would take {60_000 * 200_000 * 4 / 2**30:.0f} GiB.

Equal lists: the share of users whose 30 scores agree to 1e-5.
Norm bounds prune because popular items have long factors; with factors of equal length nothing can
be pruned, and the gain is that of the tiles alone.

{origin("numpy", "numba", "implicit", load=load)}
"""
    publish(page, args.out)


if __name__ == "__main__":
    sys.exit(main())
