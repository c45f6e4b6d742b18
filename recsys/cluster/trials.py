"""One trial of a search: train by a setting, measure after every sweep, stop and go on anywhere.

Enters: a `Task` and a setting (``stage.key`` to value). Leaves: after each sweep the metric on the
tune slice, the ALS work so far, iterations x (f^2 rows + f non-zeros) over both half-steps, and
what the one is worth at the price of the other:

    worth = metric - thrift * (its standard error) * log2(work / work of the given training)

The highest of many measured figures is partly luck, and the dearest settings have most of it; so a
dearer one has to be better by more than chance, as with the one-standard-error rule of Breiman et
al., Classification and Regression Trees, 1984. A checkpoint holds the factors as plain arrays; a
trial that is taken up goes on from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyarrow.fs import FileType
from ray import tune as ray_tune
from scipy.sparse import csr_array

from recsys.audio.model import AudioModel
from recsys.backend import Backend, LocalBackend
from recsys.cluster.ray_backend import RayBackend
from recsys.collaborative.als import Step, alternate, gather
from recsys.collaborative.factors import Factors
from recsys.config import Config
from recsys.data.catalogue import Catalogue
from recsys.data.interactions import Events, Interactions, build_interactions
from recsys.ensemble.recommender import HybridRecommender
from recsys.ensemble.weekly import Shelf
from recsys.evaluation.metrics import ranking_metrics
from recsys.pipeline import evidence_of, evidence_times
from recsys.storage import Folder
from recsys.text.model import TextModel

__all__ = ["Task", "Trial", "configured"]

_FACTORS = ("user_factors", "item_factors", "user_biases", "item_biases")


@dataclass(frozen=True)
class Task:
    """What every trial needs."""

    catalogue: Catalogue
    base: Events
    loved: csr_array
    """(n_users, n_items) what listeners newly loved in the tune slice."""
    features: NDArray[np.float32] | None
    """(n_items, d) what ``collaborative.features`` names."""
    text: TextModel | None
    audio: AudioModel | None
    """Of use where the ensemble's settings are searched."""
    config: Config
    hybrid: bool
    """Lists are the ensemble's; else those of the factors alone."""

    @cached_property
    def interactions(self) -> Interactions:
        """Those of the base slice by the configuration as it is given."""
        return build_interactions(self.base, self.catalogue, self.config.interactions)

    def __getstate__(self) -> dict[str, Any]:
        # What was derived here is derived again there rather than sent.
        return {k: v for k, v in vars(self).items() if k != "interactions"}


def configured(config: Config, setting: Mapping[str, Any]) -> Config:
    """Return `config` with ``stage.key`` values of a setting in it."""
    for path, value in setting.items():
        stage, _, key = path.partition(".")
        config = replace(config, **{stage: replace(getattr(config, stage), **{key: value})})
    return config


class Trial(ray_tune.Trainable):
    """Steps are sweeps; an actor that ends one trial takes the next."""

    _sweeps: Iterator[Step] | None
    _start: Factors | None
    """What a checkpoint held, until the training goes on from it."""
    _last: Step | None

    def setup(self, config: dict[str, Any], task: Task) -> None:  # type: ignore[override]
        self._task = task
        self._held = ExitStack()
        self._backend: Backend = LocalBackend()
        if (workers := task.config.tune.workers) > 1:
            self._backend = self._held.enter_context(RayBackend(workers))
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        if self._sweeps is None:
            self._sweeps = self._train(self._start)
            self._start = None
        self._last = next(self._sweeps)
        self._done += 1
        own, given = self._config.collaborative, self._task.config.collaborative
        self._work += self._work_of_sweep(own.factors)
        doublings = np.log2(self._work / (given.iterations * self._work_of_sweep(given.factors)))
        settings = self._task.config.tune
        figures = self._measure(settings.metric)  # (m,)
        mean, error = figures.mean(), figures.std() / np.sqrt(len(figures))
        return {
            settings.metric: float(mean),
            "worth": float(mean - settings.thrift * error * doublings),
            "work": float(self._work),
            "done": self._done >= own.iterations,
        }

    def _work_of_sweep(self, factors: int) -> float:
        return float(2 * factors * self._evidence.nnz + factors**2 * sum(self._evidence.shape))

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        factors = self._factors()
        assert factors is not None, "a trial is saved after a sweep"
        arrays = {name: getattr(factors, name) for name in _FACTORS}
        state = np.array([self._done, self._work, factors.global_mean], np.float64)
        np.savez(Path(checkpoint_dir) / "factors.npz", state=state, **arrays)

    def load_checkpoint(self, checkpoint: str) -> None:  # type: ignore[override]
        with np.load(Path(checkpoint) / "factors.npz", allow_pickle=False) as held:
            arrays = {name: held[name] for name in _FACTORS}
            done, self._work, mean = held["state"].tolist()
        self._done = int(done)
        self._start = Factors(**arrays, global_mean=mean, config=self._config.collaborative)
        self._sweeps, self._last = None, None

    def restore(self, checkpoint_path: Any) -> None:
        """Go on from a checkpoint; train anew where a kill came between it and Tune's record.

        Tune drops a trial's older checkpoint before it writes down the newer one's name.
        """
        held = checkpoint_path.checkpoint
        if held.filesystem.get_file_info(held.path).type != FileType.NotFound:
            super().restore(checkpoint_path)

    def cleanup(self) -> None:
        self._held.close()

    def _begin(self, setting: dict[str, Any]) -> None:
        task = self._task
        self._config = configured(task.config, setting)
        same = self._config.interactions == task.config.interactions
        self._interactions = (
            task.interactions
            if same
            else build_interactions(task.base, task.catalogue, self._config.interactions)
        )
        self._evidence = evidence_of(self._interactions, self._config.collaborative)
        self._sweeps = self._start = self._last = None
        self._done, self._work = 0, 0.0

    def _train(self, start: Factors | None) -> Iterator[Step]:
        left = self._config.collaborative.iterations - self._done
        self._training = replace(self._config.collaborative, iterations=left, num_threads=1)
        task = self._task
        steps = alternate(
            self._evidence,
            self._training,
            self._backend,
            initial=start,
            item_features=task.features,
            at=evidence_times(task.base, task.catalogue, self._training, self._evidence),
        )
        return (step for step in steps if step.side == "items")

    def _factors(self) -> Factors | None:
        if self._last is None:
            return self._start
        return gather(self._last, self._training, self._backend)

    def _measure(self, metric: str) -> NDArray[np.float64]:
        """Return (m,) the metric of each listener who loved something new."""
        factors, task = self._factors(), self._task
        assert factors is not None
        listeners = np.flatnonzero(np.diff(task.loved.indptr))
        k = int(metric.partition("@")[2])
        if task.hybrid:
            recommender = HybridRecommender(
                task.catalogue,
                self._interactions,
                factors=factors,
                text=task.text,
                audio=task.audio,
                shelf=Shelf(Folder(gettempdir())),
                version="trial",
                config=self._config,
            )
            ranked = recommender.rank(listeners.astype(np.int32), k, rerank=False)[0]
        else:
            heard = self._interactions.heard[listeners]
            ranked = factors.recommend(listeners, k, exclude=heard)[0]
        return ranking_metrics(ranked, task.loved[listeners], (k,))[metric]
