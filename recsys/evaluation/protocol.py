"""How good the lists are: train on the past, rank everything, compare with what came next.

Enters: a dataset. Leaves: a `Report`. An evaluation version is trained on every event before the
test slice, and blends as was learned on the blend slice. A listener's truth is what they then loved
(positive evidence from streams, saves, playlists, stars) and had never heard before, by recording.
Every eligible item is ranked, none is sampled; what was heard before is in no list. Baselines stand
beside the models, every rung of the blend beside the others, and, where planted tastes are known,
the oracle that ranks by them. What would be a leak is refused (leaks.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.backend import Backend
from recsys.bundle import Models
from recsys.config import Config, EvaluationConfig
from recsys.data.catalogue import NO_TIME
from recsys.data.collections import Collections
from recsys.data.dataset import Dataset
from recsys.data.interactions import Events, newly_loved
from recsys.data.slices import Slices, split
from recsys.data.world import Truth
from recsys.ensemble.blend import Blend, Blender
from recsys.ensemble.learning import Ladder
from recsys.ensemble.recommender import HybridRecommender
from recsys.ensemble.rerank import rerank
from recsys.ensemble.segments import Segment, Segments, describe_segments
from recsys.errors import InputError
from recsys.evaluation import leaks
from recsys.evaluation.baselines import Baselines
from recsys.evaluation.compare import paired_bootstrap
from recsys.evaluation.groups import parts
from recsys.evaluation.metrics import list_metrics, ranking_metrics, summary
from recsys.evaluation.report import Report
from recsys.pipeline import Content, build, learn_blend, read_source
from recsys.progress import track

__all__ = ["KS", "evaluate", "measure"]

KS = (10, 30)
"""Cut-offs of all metrics."""

_BLOCK = 256
"""Listeners ranked at once."""
_MAIN = "ndcg@30"


def evaluate(
    dataset: Dataset,
    config: Config,
    backend: Backend,
    *,
    truth: Truth | None = None,
    content: Content | None = None,
) -> Report:
    """Train on everything before the test slice and measure every ranker on it.

    Parameters
    ----------
    truth
        What was planted in a demo world; adds the oracle and each ranker's share of it.
    content
        What was found out already about the dataset's items and the blend.

    Raises
    ------
    InputError
        Where no listener has anything new in the test slice.
    LeakError
        Where the version or a list knows what it is to be measured on.
    """
    content = Content(read_source(dataset), config, backend=backend) if content is None else content
    trial = measure(content, config, backend, truth=truth)
    return trial.report(content, dataset)


def measure(
    content: Content, config: Config, backend: Backend, *, truth: Truth | None = None
) -> Trial:
    """Train and rank as `evaluate` does, and return the lists with what they are measured on."""
    source = content.source
    slices = split(source.events, config.slices)
    before = np.sort(np.concatenate([slices.base, slices.tune, slices.blend]))
    later = source.events.take(slices.test)
    with TemporaryDirectory(prefix="recsys-evaluation-") as folder:
        models = Models(folder)
        past = replace(source, events=source.events.take(before))
        bundle = models.open(build(past, config, backend, models, content=content))
        recommender = HybridRecommender.load(bundle)
        lists = Collections.read(bundle)
        leaks.check_past(recommender.ensemble, lists, later)
        eligible = recommender.eligible(at_ms=_span(later))
        loved = newly_loved(
            later,
            source.catalogue,
            config.interactions,
            heard=recommender.interactions.heard,
            eligible=eligible,
        )
        leaks.check_truth(recommender.ensemble, loved)
        users = _draw(loved, config.evaluation)
        if not len(users):
            raise InputError(
                f"{source.dataset.folder.path}: no listener loved anything new in the test slice; "
                f"import more events or enlarge it with --set slices.test=0.2"
            )
        # A list has each recording once, so one release of each stands for it.
        first = source.catalogue.first_of_recording == np.arange(source.catalogue.n_items)
        trial = Trial(
            recommender,
            config,
            loved[users],
            users,
            eligible & first,
            truth,
            slices,
            dict(bundle.facts["left_out"]),
            Segments.read(bundle) if "segments/centres" in bundle else None,
        )
        trial.rank(None if config.ensemble.blend == "fusion" else learn_blend(content))
        leaks.check_lists(recommender.ensemble, users, trial.lists)
        return trial


@dataclass
class Trial:
    """One evaluation version and the lists of all rankers."""

    recommender: HybridRecommender
    config: Config
    truth: csr_array
    """(m, n_items) stored entries: what each listener newly loved."""
    users: NDArray[np.int64]
    """(m,) user rows."""
    eligible: NDArray[np.bool_]
    """(n_items,) what lists may hold, one release of a recording."""
    planted: Truth | None
    slices: Slices
    left_out: Mapping[str, str]
    """Models that were not trained, and why."""
    segments: Segments | None
    """The groups of listeners, where the version has any."""

    def __post_init__(self) -> None:
        self.lists: dict[str, NDArray[np.int32]] = {}
        """Per ranker (m, 30) item rows, baselines first."""

    def rank(self, ladder: Ladder | None) -> None:
        """Fill `lists`; candidates and features are made once for all rungs."""
        seed = self.config.evaluation.seed
        ensemble = self.recommender.ensemble
        baselines = Baselines(ensemble, self.eligible, max(KS), seed, self.planted)
        starts = range(0, len(self.users), _BLOCK)
        found: dict[str, list[NDArray[np.int32]]] = {}
        for start in track(starts, "evaluate"):
            block = self.users[start : start + _BLOCK]
            ranked = {name: ranker(block) for name, ranker in baselines.rankers().items()}
            ranked |= self._blended(block, self._rungs(ladder))
            if self.planted is not None:
                ranked["oracle"] = baselines.oracle(block)
            for name, rows in ranked.items():
                found.setdefault(name, []).append(rows)
        self.lists = {name: np.concatenate(blocks) for name, blocks in found.items()}

    def figures(self, truth: csr_array | None = None) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Return every ranker's metrics by listener, nan for who has no truth."""
        loved = self.truth if truth is None else truth
        return {name: ranking_metrics(rows, loved, KS) for name, rows in self.lists.items()}

    def report(self, content: Content, dataset: Dataset) -> Report:
        """Return all figures."""
        ensemble = self.recommender.ensemble
        by_listener = self.figures()
        rankers = {name: summary(figures) for name, figures in by_listener.items()}
        for name, rows in self.lists.items():
            rankers[name] |= list_metrics(
                rows,
                ensemble.popularity.listeners,
                ensemble.catalogue.n_users,
                n_eligible=int(self.eligible.sum()),
                spaces=[space.directions for space in ensemble.spaces.values()],
                ks=KS,
            )
        if "oracle" in rankers:
            for metrics in rankers.values():
                for k in KS:
                    best, own = rankers["oracle"][f"ndcg@{k}"], metrics[f"ndcg@{k}"]
                    metrics[f"of_oracle@{k}"] = own / best if best else np.nan
        hybrid = by_listener["hybrid"][_MAIN]
        ladder = learn_blend(content) if self.config.ensemble.blend != "fusion" else None
        return Report(
            rankers=rankers,
            differences={
                name: paired_bootstrap(hybrid, figures[_MAIN], seed=self.config.evaluation.seed)
                for name, figures in by_listener.items()
                if name != "hybrid"
            },
            parts=self._parts(),
            segments=self._described(),
            ladder={} if ladder is None else dict(ladder.ndcg),
            blend=self._chosen(),
            kind=self.recommender.default_kind,
            n_eligible=int(self.eligible.sum()),
            n_listeners=len(self.users),
            n_left_out=ensemble.catalogue.n_users - len(self.users),
            n_events={part.name: len(getattr(self.slices, part.name)) for part in fields(Slices)},
            left_out=self.left_out,
            dataset=dataset.fingerprint(),
            notes=self._notes(),
        )

    def _described(self) -> list[Segment]:
        return [] if self.segments is None else describe_segments(self.recommender, self.segments)

    def _chosen(self) -> str:
        return getattr(self.recommender.blender, "kind", "fusion")

    def _rungs(self, ladder: Ladder | None) -> dict[str, Blender]:
        """Return every way to blend but the one that serves, which is the hybrid."""
        rungs: dict[str, Blender] = {"fusion": self.recommender.ensemble.fusion}
        rungs |= {} if ladder is None else ladder.rungs
        rungs.pop(self._chosen(), None)
        return rungs | {"hybrid": self.recommender.blender}

    def _blended(
        self, users: NDArray[np.int64], rungs: Mapping[str, Blender]
    ) -> dict[str, NDArray[np.int32]]:
        """Return the lists of each source alone, of each rung, and as they are served."""
        ensemble, settings = self.recommender.ensemble, self.config.ensemble
        listeners = ensemble.listeners(users)
        depth = min(len(self.eligible), max(settings.candidates_per_source, 2 * max(KS)))
        union = ensemble.union(listeners, depth, eligible=ensemble.eligible(self.eligible))
        features = ensemble.features(listeners, union)
        ranked = {}
        for column, source in enumerate(ensemble.sources):
            if source != "popularity":
                alone = replace(union, signals=union.signals[:, [column]])
                ranked[source] = self._cut(alone, len(users))
        for name, rung in rungs.items():
            shares = rung.shares(union, lambda: features)
            ranked[name] = self._cut(replace(union, signals=shares), len(users))
        if settings.max_per_artist or settings.diversity:
            hybrid = replace(
                union, signals=self.recommender.blender.shares(union, lambda: features)
            )
            ranked["as served"] = self._cut(hybrid, len(users), served=True)
        return ranked

    def _cut(self, blend: Blend, m: int, *, served: bool = False) -> NDArray[np.int32]:
        ensemble, settings, k = self.recommender.ensemble, self.config.ensemble, max(KS)
        ranked = blend.sorted(ensemble.popularity.place)
        if served:
            ranked = rerank(
                ranked,
                k,
                recording=ensemble.catalogue.recording,
                artist=ensemble.catalogue.item_artist,
                max_per_artist=settings.max_per_artist,
                spaces=[s.directions for s in ensemble.spaces.values()]
                if settings.diversity
                else (),
                diversity=settings.diversity,
            )
        return ranked.padded(m, k)[0]

    def _parts(self) -> dict[str, dict[str, float]]:
        """Return NDCG@30 per part and ranker, and how many listeners are in it."""
        ensemble = self.recommender.ensemble
        found: dict[str, dict[str, float]] = {}
        for name, truth in parts(
            self.truth,
            self.users,
            ensemble.interactions,
            ensemble.popularity.listeners,
            self.eligible,
            None if self.segments is None else self.segments.of_user[self.users],
        ):
            figures = self.figures(truth)
            found[name] = {"listeners": float(np.count_nonzero(np.diff(truth.indptr)))}
            found[name] |= {n: summary(f)[_MAIN] for n, f in figures.items()}
        return found

    def _notes(self) -> list[str]:
        settings = self.config.ensemble
        notes = [
            "random, popularity, recent popularity (of the last month), artist mean (the "
            "listener's mean evidence on the artist's items): baselines.",
            "collaborative, text, audio, artists, collections: each source alone; where it has "
            "nothing, popularity fills the list.",
            "fusion, logistic, trees: ways to blend all sources; hybrid is the one that serves "
            f"(here {self._chosen()}). Learned on the blend slice; the test slice was not seen.",
            "Text and sound of an item count as known from its release on, whatever the date of a "
            "document; items may come out during the test slice.",
        ]
        if settings.max_per_artist or settings.diversity:
            notes.append(
                f"as served: hybrid, at most {settings.max_per_artist} an artist, "
                f"diversity {settings.diversity:g}."
            )
        if self.planted is not None:
            notes.append(
                "oracle: ranks by the planted tastes; 'of oracle' is the share of its NDCG."
            )
        return notes


def _span(events: Events) -> tuple[int, int]:
    """Return the first and the last moment of events; all of time where they have none."""
    timed = events.at[events.at != NO_TIME]
    if not len(timed):
        return NO_TIME, int(np.iinfo(np.int64).max)
    return int(timed.min()), int(timed.max())


def _draw(loved: csr_array, config: EvaluationConfig) -> NDArray[np.int64]:
    """Return the rows of the users to measure, ascending."""
    listeners = np.flatnonzero(np.diff(loved.indptr))
    if config.max_users and len(listeners) > config.max_users:
        random = np.random.default_rng(config.seed)
        listeners = np.sort(random.choice(listeners, config.max_users, replace=False))
    return listeners
