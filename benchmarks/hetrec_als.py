"""Quality on real play counts (Last.fm, HetRec 2011): ours beside implicit and EASE.

    RECSYS_TEST_DATA=... python benchmarks/hetrec_als.py [--out docs/results/hetrec-als.md]

Fixed slices: per listener a seeded 80/10/10 split of the artists that at least five listeners
played. Each model's settings are chosen by NDCG@20 on the tune slice over the same grid, and the
best is trained on base + tune and reported once on test; what was played before is left out.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import sys
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares as Implicit
from scipy.sparse import csr_array, csr_matrix

from recsys.backend import LocalBackend
from recsys.collaborative.als import train
from recsys.config import CollaborativeConfig
from recsys.evaluation.metrics import ranking_metrics, summary

K = 20
FACTORS, LAMBDAS, ALPHAS = (64, 128), (3.0, 10.0, 30.0, 100.0), (1.0, 3.0, 10.0)
Ranker = Callable[[csr_array], np.ndarray]


def slices(folder: Path) -> list[csr_array]:
    """Return log(1 + plays) of base, tune and test, (users, artists)."""
    rows = np.loadtxt(folder / "user_artists.dat", skiprows=1, dtype=np.int64)
    _, item, listeners = np.unique(rows[:, 1], return_inverse=True, return_counts=True)
    kept = listeners[item] >= 5
    _, user = np.unique(rows[:, 0], return_inverse=True)
    _, item = np.unique(item[kept], return_inverse=True)
    user, value = user[kept], np.log1p(rows[kept, 2]).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(user))
    order = order[np.argsort(user[order], kind="stable")]
    count = np.bincount(user)
    place = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
    share = place / count[user[order]]
    shape = (len(count), item.max() + 1)
    return [
        csr_array((value[part], (user[part], item[part])), shape=shape)
        for part in (order[share < 0.8], order[(share >= 0.8) & (share < 0.9)], order[share >= 0.9])
    ]


def score(ranked: np.ndarray, truth: csr_array) -> dict[str, float]:
    return summary(ranking_metrics(ranked.astype(np.int32), truth, (K,)))


def best_unheard(scores: np.ndarray, heard: csr_array) -> np.ndarray:
    scores = np.array(scores)
    scores[heard.nonzero()] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :K]


def popularity(seen: csr_array) -> np.ndarray:
    listeners = np.bincount(seen.indices, minlength=seen.shape[1])
    return best_unheard(np.tile(listeners.astype(float), (seen.shape[0], 1)), seen)


def ease(seen: csr_array, lam: float) -> np.ndarray:
    """EASE (Steck, WWW 2019): B = I - P / diag(P), P = (X'X + lambda I)^-1."""
    x = (seen > 0).astype(np.float64)
    inverse = np.linalg.inv((x.T @ x).toarray() + lam * np.eye(x.shape[1]))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return best_unheard(x @ weights, seen)


def theirs(seen: csr_array, factors: int, lam: float, alpha: float) -> np.ndarray:
    model = Implicit(
        factors=factors, regularization=lam, alpha=alpha, iterations=15, random_state=0
    )
    user_items = csr_matrix(seen)
    model.fit(user_items, show_progress=False)
    return model.recommend(np.arange(seen.shape[0]), user_items, N=K)[0]


def ours(seen: csr_array, factors: int, lam: float, alpha: float, **more: object) -> np.ndarray:
    config = CollaborativeConfig(
        factors=factors, regularization=lam, alpha=alpha, iterations=15, **more
    )
    model = train(seen, config, LocalBackend())
    return model.recommend(np.arange(seen.shape[0]), K, exclude=seen)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the results page here")
    args = parser.parse_args()
    base, tune, test = slices(Path(os.environ["RECSYS_TEST_DATA"]) / "hetrec-lastfm")
    grid = list(product(FACTORS, LAMBDAS, ALPHAS))
    contenders: dict[str, tuple[Callable[..., np.ndarray], list[tuple[float, ...]], dict]] = {
        "popularity": (popularity, [()], {}),
        "EASE": (ease, [(lam,) for lam in (30.0, 100.0, 200.0, 300.0, 500.0, 1000.0)], {}),
        "implicit ALS": (theirs, grid, {}),
        "ours, no bias": (ours, grid, {"bias": False}),
        "ours, bias": (ours, grid, {"bias": True}),
    }
    lines = [
        f"| model | settings tried | best (f, lambda, alpha) | tune NDCG@{K} "
        f"| test R@{K} | test NDCG@{K} |",
        "|---|---|---|---|---|---|",
    ]
    known = csr_array(base + tune)
    for name, (model, settings, more) in contenders.items():
        tried = [
            (score(model(base, *setting, **more), tune)[f"ndcg@{K}"], setting)
            for setting in settings
        ]
        reached, setting = max(tried)
        final = score(model(known, *setting, **more), test)
        lines.append(
            f"| {name} | {len(settings)} | {setting or ''} | {reached:.4f} "
            f"| {final[f'recall@{K}']:.4f} | {final[f'ndcg@{K}']:.4f} |"
        )
        print(lines[-1], flush=True)
    page = f"""# Quality on Last.fm play counts (HetRec 2011)

{base.shape[0]:,} listeners, {base.shape[1]:,} artists with five listeners or more; base
{base.nnz:,}, tune {tune.nnz:,}, test {test.nnz:,} pairs. Evidence is log(1 + plays), 15 iterations.
Chosen on the tune slice, trained again on base + tune, reported once on test.
implicit's confidence is alpha r, ours 1 + alpha r.

{chr(10).join(lines)}

{datetime.now(UTC):%Y-%m-%d}. numpy {version("numpy")}, implicit {version("implicit")}.
Command: `RECSYS_TEST_DATA=... python benchmarks/hetrec_als.py`.
"""
    print(page)
    if args.out:
        args.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)
    sys.exit(main())
