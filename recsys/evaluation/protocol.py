"""How good the lists are: train on the past, rank everything, compare with what came next.

Enters: a dataset. Leaves: a `Report`. An evaluation version is trained on every event before the
test slice. A listener's truth is what they then loved (positive evidence from streams, saves,
playlists, stars) and had never heard before, by recording. Every eligible item is ranked, none is
sampled; what was heard before is in no list. Random and popularity stand beside the models, and,
where planted tastes are known, the oracle that ranks by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.backend import Backend
from recsys.bundle import Models
from recsys.config import Config, EvaluationConfig, InteractionsConfig
from recsys.data.catalogue import Catalogue
from recsys.data.dataset import Dataset
from recsys.data.identity import Ids
from recsys.data.interactions import Events, build_interactions
from recsys.data.slices import Slices, split
from recsys.data.world import Truth
from recsys.ensemble.lists import SOURCES
from recsys.ensemble.recommender import HybridRecommender
from recsys.errors import InputError
from recsys.evaluation.metrics import list_metrics, ranking_metrics, summary
from recsys.evaluation.report import Report
from recsys.pipeline import build, read_source
from recsys.progress import track

__all__ = ["KS", "evaluate", "loved_later"]

KS = (10, 30)
"""Cut-offs of all metrics."""

_BLOCK = 256
"""Listeners ranked at once."""

Ranker = Callable[[NDArray[np.int64]], NDArray[np.int32]]
"""User rows (m,) -> (m, 30) item rows, best first, -1 where a list has ended."""


def evaluate(
    dataset: Dataset, config: Config, backend: Backend, *, truth: Truth | None = None
) -> Report:
    """Train on everything before the test slice and measure every ranker on it.

    Parameters
    ----------
    truth
        What was planted in a demo world; adds the oracle and each ranker's share of it.

    Raises
    ------
    InputError
        Where no listener has anything new in the test slice.
    """
    source = read_source(dataset)
    slices = split(source.events, config.slices)
    before = np.sort(np.concatenate([slices.base, slices.tune, slices.blend]))
    with TemporaryDirectory(prefix="recsys-evaluation-") as folder:
        models = Models(folder)
        past = replace(source, events=source.events.take(before))
        bundle = models.open(build(past, config, backend, models))
        recommender = HybridRecommender.load(bundle)
        loved = loved_later(recommender, source.events.take(slices.test), config.interactions)
        listeners = _draw(loved, config.evaluation)
        if not len(listeners):
            raise InputError(
                f"{dataset.folder.path}: no listener loved anything new in the test slice; "
                f"import more events or enlarge it with --set slices.test=0.2"
            )
        rankers = _measure(recommender, loved, listeners, config, truth)
        return Report(
            rankers=rankers,
            kind=recommender.default_kind,
            n_eligible=_n_recordings(recommender),
            n_listeners=len(listeners),
            n_left_out=recommender.catalogue.n_users - len(listeners),
            n_events={part.name: len(getattr(slices, part.name)) for part in fields(Slices)},
            left_out=dict(bundle.facts["left_out"]),
            dataset=dataset.fingerprint(),
            notes=_notes(config, truth),
        )


def loved_later(
    recommender: HybridRecommender, events: Events, config: InteractionsConfig
) -> csr_array:
    """Return (n_users, n_items) the truth: what each listener newly loved in later `events`.

    An entry stands on the first item of its recording. Evidence on artists (visits, follows) names
    no item and does not count.
    """
    catalogue = recommender.catalogue
    about_items = events.of_kind("stream", "save", "playlist_add", "skip", "rating")
    evidence = build_interactions(events.take(about_items), catalogue, config).evidence
    pairs = evidence.tocoo()
    rated = (pairs.data > 0) & recommender.eligible()[pairs.col]
    first = _first_of_recording(catalogue)
    users, items = pairs.row[rated], first[pairs.col[rated]]
    known = _pairs_in(recommender.interactions.heard, users, items)
    shape = (catalogue.n_users, catalogue.n_items)
    loved = csr_array((np.ones(int((~known).sum())), (users[~known], items[~known])), shape=shape)
    loved.sum_duplicates()
    return loved


def _measure(
    recommender: HybridRecommender,
    loved: csr_array,
    listeners: NDArray[np.int64],
    config: Config,
    truth: Truth | None,
) -> dict[str, dict[str, float]]:
    """Return every ranker's metrics."""
    found: dict[str, dict[str, float]] = {}
    first = _first_of_recording(recommender.catalogue)
    known_before = recommender.listeners_of
    for name, ranker in track(list(_rankers(recommender, config, truth)), "evaluate"):
        blocks = (listeners[at : at + _BLOCK] for at in range(0, len(listeners), _BLOCK))
        ranked = np.concatenate([ranker(block) for block in blocks])
        ranked = np.where(ranked >= 0, first[ranked], -1).astype(np.int32)
        metrics = summary(ranking_metrics(ranked, loved[listeners], KS))
        metrics |= list_metrics(
            ranked,
            known_before,
            recommender.catalogue.n_users,
            n_eligible=_n_recordings(recommender),
            ks=KS,
        )
        found[name] = metrics
    if "oracle" in found:
        for metrics in found.values():
            for k in KS:
                best, own = found["oracle"][f"ndcg@{k}"], metrics[f"ndcg@{k}"]
                metrics[f"of_oracle@{k}"] = own / best if best else np.nan
    return found


def _rankers(
    recommender: HybridRecommender, config: Config, truth: Truth | None
) -> Iterator[tuple[str, Ranker]]:
    """Yield all rankers by name, the baselines first."""
    alone = dict.fromkeys(SOURCES, 0.0)

    def rank(users: NDArray[np.int64], **options: object) -> NDArray[np.int32]:
        return recommender.rank(users, max(KS), **options)[0]  # type: ignore[arg-type]

    yield "random", _Random(recommender, np.random.default_rng(config.evaluation.seed))
    for source in ("popularity", *recommender.spaces):
        yield source, partial(rank, weights=alone | {source: 1.0}, rerank=False)
    yield "hybrid", partial(rank, rerank=False)
    if config.ensemble.max_per_artist:
        yield "as served", partial(rank, rerank=True)
    if truth is not None:
        yield "oracle", _Oracle(recommender, truth)


@dataclass(frozen=True)
class _Random:
    """Ranks what was not heard in an order of its own for every listener."""

    recommender: HybridRecommender
    random: np.random.Generator

    def __call__(self, users: NDArray[np.int64]) -> NDArray[np.int32]:
        scores = self.random.random((len(users), self.recommender.catalogue.n_items))
        return _best_unheard(self.recommender, users, scores)


@dataclass(frozen=True)
class _Oracle:
    """Ranks what was not heard by the planted tastes."""

    recommender: HybridRecommender
    truth: Truth

    def __call__(self, users: NDArray[np.int64]) -> NDArray[np.int32]:
        catalogue, truth = self.recommender.catalogue, self.truth
        planted = Ids.from_strings(truth.user_ids, kind="user")
        in_truth = planted.rows([catalogue.users[user] for user in users.tolist()])
        items = catalogue.items.rows(truth.item_ids)
        known = np.flatnonzero(items >= 0)
        wanted = np.where(in_truth[:, None] >= 0, truth.preference[in_truth], 0)
        scores = np.zeros((len(users), catalogue.n_items))
        # Whoever wants one release of a recording wants the recording.
        first = _first_of_recording(catalogue)
        np.add.at(scores.T, first[items[known]], wanted[:, known].T)
        return _best_unheard(self.recommender, users, scores)


def _best_unheard(
    recommender: HybridRecommender, users: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Return the best recordings by `scores` (m, n_items) that are eligible and not heard."""
    catalogue = recommender.catalogue
    stands_for_itself = _first_of_recording(catalogue) == np.arange(catalogue.n_items)
    heard = recommender.interactions.heard[users].tocoo()
    scores[:, ~(recommender.eligible() & stands_for_itself)] = -np.inf
    scores[heard.row, heard.col] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, : max(KS)]
    usable = np.take_along_axis(scores, best, axis=1) > -np.inf
    return np.where(usable, best, -1).astype(np.int32)


def _draw(loved: csr_array, config: EvaluationConfig) -> NDArray[np.int64]:
    """Return the rows of the users to measure, ascending."""
    listeners = np.flatnonzero(np.diff(loved.indptr))
    if config.max_users and len(listeners) > config.max_users:
        random = np.random.default_rng(config.seed)
        listeners = np.sort(random.choice(listeners, config.max_users, replace=False))
    return listeners


def _first_of_recording(catalogue: Catalogue) -> NDArray[np.int64]:
    """Return (n_items,) the lowest item row of each item's recording."""
    _, first, where = np.unique(catalogue.recording, return_index=True, return_inverse=True)
    return np.asarray(first[where], np.int64)


def _n_recordings(recommender: HybridRecommender) -> int:
    return len(np.unique(recommender.catalogue.recording[recommender.eligible()]))


def _pairs_in(
    matrix: csr_array, rows: NDArray[np.integer], columns: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Return (n,) whether the matrix stores an entry at each (row, column)."""
    n_columns = np.int64(matrix.shape[1])
    stored = matrix.tocoo()
    entries = stored.row.astype(np.int64) * n_columns + stored.col
    return np.isin(rows.astype(np.int64) * n_columns + columns, entries)


def _notes(config: Config, truth: Truth | None) -> list[str]:
    notes = [
        "random, popularity: baselines. collaborative, text, audio: each model alone; where it "
        "knows nothing of a listener, popularity fills the list.",
        "hybrid: all sources fused. No recording stands twice in a list, nothing heard is in one.",
    ]
    if config.ensemble.max_per_artist:
        notes.append(f"as served: hybrid, at most {config.ensemble.max_per_artist} an artist.")
    if truth is not None:
        notes.append("oracle: ranks by the planted tastes; 'of oracle' is the share of its NDCG.")
    return notes
