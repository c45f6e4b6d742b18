"""Inner-product search beside hnswlib and faiss: recall against queries a second, one thread.

    python benchmarks/retrieval.py [--out docs/results/retrieval.md]

Item factors of an ALS training with biases (200,000 items, f = 64), queries its listeners; 100 best
of all. hnswlib and faiss see the bias as one more column. Then the size from which a walk pays, and
filters. With --out a picture is written beside the page.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import sys
from pathlib import Path
from time import perf_counter

import faiss
import hnswlib
import numpy as np
from page import options, origin, publish
from recommend import listening
from scipy.sparse import csr_array

from recsys.backend import LocalBackend
from recsys.collaborative.als import train
from recsys.config import CollaborativeConfig
from recsys.retrieval import ApproximateIndex, ExactIndex, grown_graph, neighbour_graph

K = 100


def factors(n_users: int, n_items: int, n_plays: int):
    plays = csr_array(listening(n_users, n_items, n_plays)).astype(np.float32)
    plays.sum_duplicates()
    config = CollaborativeConfig(factors=64, iterations=8, regularization=1.0)
    return train(plays, config, LocalBackend())


def each(search, queries) -> tuple[np.ndarray, float, float]:
    """Search one query at a time: rows, median milliseconds, 99th percentile."""
    search(queries[0])
    rows, times = [], []
    for query in queries:
        started = perf_counter()
        rows.append(search(query))
        times.append(1e3 * (perf_counter() - started))
    return np.array(rows), float(np.median(times)), float(np.percentile(times, 99))


def recall(rows: np.ndarray, wanted: np.ndarray) -> float:
    pairs = zip(rows, wanted, strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / wanted.shape[1] for a, b in pairs]))


def candidates(vectors, biases, graph, queries):
    """Yield name, setting, seconds to build or open, and a search function, for every method."""
    extended = np.column_stack([vectors, biases]).astype(np.float32)
    long = lambda query: np.append(query, np.float32(1))[None]  # noqa: E731
    exact = ExactIndex(vectors, biases, num_threads=1)
    yield "recsys exact", "", 0.0, lambda q: exact.search(q[None], K)[0][0]
    for spare in (0, 32, 100):
        started = perf_counter()
        index = ApproximateIndex(vectors, biases, graph=graph, spare=spare, num_threads=1)
        opened = perf_counter() - started
        yield (
            "recsys approximate", f"spare {spare}", opened,
            lambda q, i=index: i.search(q[None], K)[0][0],
        )  # fmt: skip
    started = perf_counter()
    near = hnswlib.Index("ip", extended.shape[1])
    near.init_index(len(extended), ef_construction=200, M=16)
    near.add_items(extended, num_threads=0)
    built = perf_counter() - started
    near.set_num_threads(1)
    for ef in (100, 200, 400, 800):

        def walk(query, ef=ef):
            near.set_ef(ef)
            return near.knn_query(long(query), k=K)[0][0]

        yield "hnswlib ip, M 16", f"ef {ef}", built, walk
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(extended.shape[1])
    flat.add(extended)
    yield "faiss IndexFlatIP", "", 0.0, lambda q: flat.search(long(q), K)[1][0]
    faiss.omp_set_num_threads(os.cpu_count())
    started = perf_counter()
    graph_index = faiss.IndexHNSWFlat(extended.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    graph_index.hnsw.efConstruction = 200
    graph_index.add(extended)
    built = perf_counter() - started
    faiss.omp_set_num_threads(1)
    for ef in (100, 200, 400, 800):

        def faiss_walk(query, ef=ef):
            graph_index.hnsw.efSearch = ef
            return graph_index.search(long(query), K)[1][0]

        yield "faiss HNSW, M 16", f"ef {ef}", built, faiss_walk
    started = perf_counter()
    quantiser = faiss.IndexFlatIP(extended.shape[1])
    cells = faiss.IndexIVFFlat(quantiser, extended.shape[1], 1024, faiss.METRIC_INNER_PRODUCT)
    cells.train(extended[np.random.default_rng(0).choice(len(extended), 50_000)])
    cells.add(extended)
    built = perf_counter() - started
    for probes in (16, 64):

        def faiss_cells(query, probes=probes):
            cells.nprobe = probes
            return cells.search(long(query), K)[1][0]

        yield "faiss IVF, 1,024 cells", f"{probes} probes", built, faiss_cells


def by_size(vectors, biases, queries) -> list[str]:
    lines = ["| items | exact ms | approximate ms | recall |", "|---|---|---|---|"]
    for n in (10_000, 25_000, 50_000, 100_000):
        chosen = np.random.default_rng(n).choice(len(vectors), n, replace=False)
        own, heights = vectors[chosen], biases[chosen]
        exact = ExactIndex(own, heights, num_threads=1)
        index = ApproximateIndex(own, heights, graph=neighbour_graph(own, heights), num_threads=1)
        wanted, slow, _ = each(lambda q, i=exact: i.search(q[None], K)[0][0], queries)
        rows, quick, _ = each(lambda q, i=index: i.search(q[None], K)[0][0], queries)
        lines.append(f"| {n:,} | {slow:.3f} | {quick:.3f} | {recall(rows, wanted):.3f} |")
    return lines


def filtered(index, queries) -> list[str]:
    lines = ["| filter | exact ms | approximate ms | recall |", "|---|---|---|---|"]
    random = np.random.default_rng(0)
    n = len(index)
    top = index.exact.search(queries, 200)[0]
    heard = [
        csr_array((np.ones(200, np.int8), row, [0, 200]), shape=(1, n)) for row in np.sort(top)
    ]
    number = {query.tobytes(): place for place, query in enumerate(queries)}
    cases = {"200 best heard": lambda q: {"exclude": heard[number[q.tobytes()]]}}
    for share in (0.5, 0.2, 0.05):
        mask = random.random(n) < share
        cases[f"{share:.0%} of the items allowed"] = lambda q, m=mask: {"allowed": m}
    for name, rules in cases.items():
        search = lambda i: lambda q: i.search(q[None], K, **rules(q))[0][0]  # noqa: B023, E731
        wanted, slow, _ = each(search(index.exact), queries)
        rows, quick, _ = each(search(index), queries)
        lines.append(f"| {name} | {slow:.3f} | {quick:.3f} | {recall(rows, wanted):.3f} |")
    return lines


def added(vectors, biases, graph_of, queries) -> str:
    """Add a tenth of the items to the graph of the others."""
    n, before = len(vectors), len(vectors) * 9 // 10
    graph = graph_of(vectors[:before], biases[:before])
    started = perf_counter()
    first = ApproximateIndex(vectors[:before], biases[:before], graph=graph)
    grown = grown_graph(first, graph, vectors, biases)
    seconds = perf_counter() - started
    index = ApproximateIndex(vectors, biases, graph=grown, num_threads=1)
    wanted = index.exact.search(queries, K)[0]
    found = recall(index.search(queries, K)[0], wanted)
    return f"Adding {n - before:,} items to {before:,}: {seconds:.1f} s, then recall {found:.3f}."


def picture(points: dict[str, list[tuple[float, float]]], place: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, found in points.items():
        axes.plot(*zip(*sorted(found), strict=True), marker="o", label=name)
    axes.set(xlabel=f"recall@{K}", ylabel="queries a second, one thread", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(place, dpi=110, bbox_inches="tight")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=500)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    trained = factors(60_000, args.items, 3_000_000)
    vectors, biases = trained.item_factors, trained.item_biases
    random = np.random.default_rng(1)
    queries = trained.user_factors[random.choice(60_000, args.queries, replace=False)]
    queries = np.ascontiguousarray(queries[(queries != 0).any(axis=1)])
    started = perf_counter()
    graph = neighbour_graph(vectors, biases)
    built = perf_counter() - started
    wanted = ExactIndex(vectors, biases).search(queries, K)[0]
    lines = ["| index | setting | recall@100 | ms | p99 ms | seconds to build or open |"]
    lines += ["|---|---|---|---|---|---|"]
    points: dict[str, list[tuple[float, float]]] = {}
    for name, setting, seconds, search in candidates(vectors, biases, graph, queries):
        rows, middle, high = each(search, queries)
        found = recall(rows, wanted)
        points.setdefault(name, []).append((found, 1e3 / middle))
        lines.append(
            f"| {name} | {setting} | {found:.3f} | {middle:.3f} | {high:.3f} | {seconds:.1f} |"
        )
        print(lines[-1], flush=True)
    index = ApproximateIndex(vectors, biases, graph=graph, num_threads=1)
    page = f"""# Inner-product search

{args.items:,} items, f = 64 and a bias, {len(queries)} listeners' queries one at a time on one
thread, the {K} best of all.

{chr(10).join(lines)}

![recall against queries a second](retrieval.png)

Our graph was built in {built:.1f} s (pynndescent's compilation included).
{added(vectors, biases, neighbour_graph, queries)}

From which size a walk pays (the threshold is `recsys.retrieval.APPROXIMATE_FROM`):

{chr(10).join(by_size(vectors, biases, queries))}

Filters, {args.items:,} items. Where fewer than one item in eight is allowed both search exactly:

{chr(10).join(filtered(index, queries))}

{origin("numpy", "numba", "pynndescent", "hnswlib", "faiss-cpu", load=load)}
"""
    publish(page, args.out)
    if args.out:
        picture(points, args.out / "retrieval.png")


if __name__ == "__main__":
    sys.exit(main())
