"""The contract of an index, held by ApproximateIndex as far as an approximation can."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys import retrieval
from recsys.errors import UsageError
from recsys.retrieval import ApproximateIndex, ExactIndex, catalogue_index, grown_graph
from recsys.retrieval import graph as graph_module
from recsys.retrieval.graph import LINKS, neighbour_graph

N, D, K = 2_000, 16, 20


def catalogue(rng, n=N):
    """Vectors as ALS leaves them: directions in 20 scenes, lengths that fall off, small biases."""
    scenes = rng.standard_normal((20, D))
    vectors = scenes[rng.integers(0, 20, n)] + 0.6 * rng.standard_normal((n, D))
    vectors *= np.geomspace(1, 0.05, n)[rng.permutation(n), None]
    biases = 0.2 * rng.standard_normal(n)
    queries = scenes[rng.integers(0, 20, 100)] + 0.6 * rng.standard_normal((100, D))
    return vectors.astype(np.float32), biases.astype(np.float32), queries.astype(np.float32)


@pytest.fixture(scope="module")
def made():
    vectors, biases, queries = catalogue(np.random.default_rng(3))
    # Fewer entries than rows by far, or a search would have seen all before it walks.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsys.retrieval.layout._LONGEST", 64)
        index = ApproximateIndex(
            vectors, biases, graph=neighbour_graph(vectors, biases), num_threads=2, spare=20
        )
        index.search(queries[:1], K)
        yield index, ExactIndex(vectors, biases), queries


def recall(scores, wanted):
    """Return the share of the wanted answers found; equal scores may stand for each other."""
    return (scores >= wanted[:, -1:]).mean()


def test_recall_and_exact_scores(made):
    index, exact, queries = made
    rows, scores = index.search(queries, K)
    wanted_rows, wanted = exact.search(queries, K)
    assert rows.dtype == np.int32 and scores.dtype == np.float32
    assert recall(scores, wanted) > 0.95
    assert (np.diff(scores) <= 0).all()
    both = rows == wanted_rows
    np.testing.assert_array_equal(scores[both], wanted[both])


def test_no_scene_is_an_island(monkeypatch):
    """Scenes far from each other, of which the longest vectors know few."""
    monkeypatch.setattr("recsys.retrieval.layout._LONGEST", 4)
    rng = np.random.default_rng(8)
    scenes = rng.standard_normal((60, D))
    vectors = np.repeat(scenes, 40, axis=0) + 0.05 * rng.standard_normal((2_400, D))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors.astype(np.float32)
    index = ApproximateIndex(vectors, graph=neighbour_graph(vectors))
    _, scores = index.search(vectors[::7], K)
    assert recall(scores, ExactIndex(vectors).search(vectors[::7], K)[1]) > 0.99


@pytest.mark.parametrize(("share", "floor"), [(0.5, 0.93), (0.2, 0.85), (0.05, 1.0)])
def test_recall_among_allowed_rows(made, share, floor):
    index, exact, queries = made
    allowed = np.random.default_rng(0).random(N) < share
    rows, scores = index.search(queries, K, allowed=allowed)
    assert allowed[rows].all()
    assert recall(scores, exact.search(queries, K, allowed=allowed)[1]) >= floor
    np.testing.assert_array_equal(index.search(queries, K, allowed=index.select(allowed))[0], rows)


def test_what_was_heard_is_walked_through_and_not_returned(made):
    index, exact, queries = made
    best = exact.search(queries, 60)[0]
    heard = csr_array(
        (np.ones(best.size, np.int8), (np.repeat(np.arange(100), 60), best.ravel())),
        shape=(100, N),
    )
    rows, scores = index.search(queries, K, exclude=heard)
    assert not any(np.isin(a, b).any() for a, b in zip(rows, best))
    assert recall(scores, exact.search(queries, K, exclude=heard)[1]) > 0.9


def test_never_fewer_than_exist(made):
    """A graph without links finds nothing but its entries, and yet everybody gets k."""
    _, exact, queries = made
    lame = ApproximateIndex(
        exact.vectors[np.argsort(exact.order)],
        exact.biases[np.argsort(exact.order)],
        graph=np.full((N, LINKS), -1, np.int32),
    )
    heard = csr_array(np.tile(np.isin(np.arange(N), exact.order[:100]), (len(queries), 1)))
    rows, _ = lame.search(queries, K, exclude=heard)
    np.testing.assert_array_equal(rows, exact.search(queries, K, exclude=heard)[0])
    shared = lame.search(queries, K, exclude=heard[:1])  # every listener has heard the same
    np.testing.assert_array_equal(shared[0], rows)
    few = np.isin(np.arange(N), [5, 7])
    assert set(lame.search(queries, 3, allowed=few)[0].ravel().tolist()) == {5, 7, -1}


def test_a_result_depends_on_neither_batch_nor_threads(made):
    index, _, queries = made
    rows, scores = index.search(queries, K)
    for q in (0, 17, 99):
        alone = index.search(queries[q : q + 1], K)
        np.testing.assert_array_equal(alone[0][0], rows[q])
        np.testing.assert_array_equal(alone[1][0], scores[q])


def test_many_wanted_are_exact(made):
    index, exact, queries = made
    np.testing.assert_array_equal(index.search(queries, N)[0], exact.search(queries, N)[0])


def test_rows_without_a_vector_have_no_links_and_are_nobodys():
    vectors, biases, _ = catalogue(np.random.default_rng(0), 200)
    vectors[::2] = 0
    graph = neighbour_graph(vectors, biases)
    assert (graph[::2] == -1).all()
    assert (graph[1::2] % 2 != 0).all()  # -1 is odd too
    assert (neighbour_graph(0 * vectors) == -1).all()


def test_links_lead_to_the_nearest_and_back():
    vectors = np.float32([[4, 0], [1, 0.1], [0.9, 0], [0, 1]])
    graph = neighbour_graph(vectors)
    assert graph[1, 0] == 0 and graph[3, 0] == 1
    assert all(row in graph[0] for row in (1, 2))
    assert not any(row in graph[row] for row in range(4))


def test_items_are_added_without_building_again():
    vectors, biases, queries = catalogue(np.random.default_rng(5))
    before = 1_600
    graph = neighbour_graph(vectors[:before], biases[:before])
    index = ApproximateIndex(vectors[:before], biases[:before], graph=graph)
    grown = grown_graph(index, graph, vectors, biases)
    assert grown.shape == (N, LINKS)
    np.testing.assert_array_equal(graph, neighbour_graph(vectors[:before], biases[:before]))
    index = ApproximateIndex(vectors, biases, graph=grown, spare=20)
    rows, scores = index.search(queries, K)
    assert (rows >= before).any()
    assert recall(scores, ExactIndex(vectors, biases).search(queries, K)[1]) > 0.95


def test_pynndescent_finds_the_neighbours(monkeypatch):
    """The one thing we take from it: `neighbor_graph` on raw inner products."""
    vectors, biases, queries = catalogue(np.random.default_rng(1), 3_000)
    asked = []
    real = graph_module._neighbours
    monkeypatch.setattr(graph_module, "_neighbours", lambda *a: asked.append(1) or real(*a))
    graph = neighbour_graph(vectors, biases, num_threads=2)
    assert asked and graph.dtype == np.int32
    index = ApproximateIndex(vectors, biases, graph=graph)
    _, scores = index.search(queries, 30)
    assert recall(scores, index.exact.search(queries, 30)[1]) > 0.95


def test_a_catalogue_has_an_index_when_it_is_large_and_walks_well(monkeypatch):
    vectors, biases, _ = catalogue(np.random.default_rng(3))
    assert catalogue_index(vectors, biases) == (None, 1.0)
    monkeypatch.setattr(retrieval, "APPROXIMATE_FROM", 1_000)
    monkeypatch.setattr(retrieval, "_K", 30)
    index, found = catalogue_index(vectors, biases)
    assert index is not None and found > 0.9
    unlinked = np.full((N, LINKS), -1, np.int32)
    monkeypatch.setattr(retrieval, "neighbour_graph", lambda *_, **__: unlinked)
    monkeypatch.setattr("recsys.retrieval.layout._LONGEST", 110)
    index, found = catalogue_index(vectors, biases)
    assert index is None and found < 0.9


def test_an_index_is_made_again_of_its_arrays_as_files_and_nothing_is_copied(made, tmp_path):
    index, exact, queries = made
    walking = partial(ApproximateIndex.from_arrays, spare=20)
    for original, again in ((index, walking), (exact, ExactIndex.from_arrays)):
        for part, array in original.arrays.items():
            np.save(tmp_path / f"{part}.npy", array)
        files = {p: np.load(tmp_path / f"{p}.npy", mmap_mode="r") for p in original.arrays}
        mapped = again(files)
        heard = csr_array(np.tile(np.arange(N) % 7 == 0, (len(queries), 1)))
        for found, wanted in zip(
            mapped.search(queries, K, exclude=heard), original.search(queries, K, exclude=heard)
        ):
            np.testing.assert_array_equal(found, wanted)
        for part, array in mapped.arrays.items():
            np.testing.assert_array_equal(array, files[part])
            assert part == "n_entries" or np.shares_memory(array, files[part])
    graph = neighbour_graph(exact.vectors, exact.biases)
    given = ApproximateIndex(exact.vectors, exact.biases, graph=graph)
    np.testing.assert_array_equal(given.graph, graph)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (np.zeros((3, LINKS), np.int32), r"graph: want int32 \(4, 48\), got int32 \(3, 48\)"),
        (np.zeros((4, LINKS), np.int64), "graph: want int32"),
        (np.full((4, LINKS), 4, np.int32), "graph: want rows below 4, got 4 to 4"),
        (np.full((4, LINKS), -2, np.int32), "graph: want rows below 4"),
    ],
)
def test_what_is_no_graph_is_refused(graph, message):
    with pytest.raises(UsageError, match=message):
        ApproximateIndex(np.ones((4, 2), np.float32), graph=graph)


def test_queries_are_checked_as_by_the_exact_index(made):
    with pytest.raises(UsageError, match=r"queries: want shape \(m, 16\)"):
        made[0].search(np.ones((1, 3), np.float32), 3)
