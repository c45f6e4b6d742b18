"""Search the collaborative model's settings with Ray Tune.

Enters: a dataset and a configuration. Leaves: OUT/best.toml, which ``recsys train --config`` takes,
and OUT/trials.csv with every setting tried, best first. A trial trains on the base slice and is
scored on the tune slice; the later slices stay unseen. lambda and alpha are searched together on
log scales (Rendle, Krichene, Zhang, Koren: Revisiting the performance of iALS, RecSys 2022).

Ray must be connected (`recsys.cluster.ray_session`).
"""

from __future__ import annotations

import csv
import io
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from ray import tune as ray_tune
from ray.tune.search.optuna import OptunaSearch
from scipy.sparse import csr_array

from recsys import progress
from recsys.backend import LocalBackend
from recsys.collaborative.als import train
from recsys.config import CollaborativeConfig, Config, TuneConfig
from recsys.data.dataset import Dataset
from recsys.data.interactions import build_interactions
from recsys.data.slices import split
from recsys.errors import ConfigError, InputError
from recsys.evaluation.metrics import ranking_metrics, summary
from recsys.pipeline import Content, Source, evidence_times, read_source
from recsys.storage import Folder

__all__ = ["tune"]

_SEARCHED = ("regularization", "alpha", "factors")
_METRICS = ("recall", "ndcg", "map", "mrr", "hit_rate")


def tune(dataset: Dataset, config: Config, out: Path, *, trials: int) -> Path:
    """Try `trials` settings and return the path of the best one's configuration.

    The first trial is the given configuration where it lies inside the ranges of ``[tune]``, so
    that what is found is at least as good on the tune slice.

    Raises
    ------
    ConfigError
        For a metric that does not exist or a range that is empty.
    InputError
        Where no listener has anything new in the tune slice.
    """
    _check(config.tune)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = _task(read_source(dataset), config)
    # Tune prints what it is about to do; standard output is for results.
    with redirect_stdout(sys.stderr):
        results = _search(task, config, out, trials)
    for error in results.errors:
        raise error
    tried: list[Any] = [results[number] for number in range(len(results))]
    tried.sort(key=lambda result: -result.metrics[task.metric])
    folder = Folder(out)
    folder.write("trials.csv", _table(tried, task.metric).encode())
    found = {key: tried[0].metrics["config"][key] for key in _SEARCHED}
    best = replace(config, collaborative=replace(config.collaborative, **found))
    folder.write("best.toml", best.to_toml().encode())
    return out / "best.toml"


def _search(task: _Task, config: Config, out: Path, trials: int) -> ray_tune.ResultGrid:
    return ray_tune.Tuner(
        ray_tune.with_parameters(_trial, task=task),
        param_space=_space(config),
        tune_config=ray_tune.TuneConfig(
            search_alg=OptunaSearch(
                metric=task.metric,
                mode="max",
                seed=config.tune.seed,
                points_to_evaluate=_start(config),
            ),
            num_samples=trials,
        ),
        run_config=ray_tune.RunConfig(
            name="trials",
            storage_path=str(out.absolute()),
            verbose=0,
            callbacks=[_Progress(trials)],
        ),
    ).fit()


@dataclass(frozen=True)
class _Task:
    """What every trial needs."""

    evidence: csr_array
    """Of the base slice; ratings where the feedback is explicit."""
    heard: csr_array
    loved: csr_array
    """(n_users, n_items) what listeners newly loved in the tune slice."""
    features: NDArray[np.float32] | None
    """(n_items, d) what ``collaborative.features`` names."""
    at: NDArray[np.int64] | None
    """(nnz,) when each entry of the evidence came about, where time bins ask."""
    collaborative: CollaborativeConfig
    metric: str


def _task(source: Source, config: Config) -> _Task:
    slices = split(source.events, config.slices)
    past = replace(source, events=source.events.take(slices.base))
    catalogue, how = source.catalogue, config.interactions
    base = build_interactions(past.events, catalogue, how)
    later = build_interactions(source.events.take(slices.tune), catalogue, how)
    explicit = config.collaborative.feedback == "explicit"
    loved = csr_array(later.evidence > 0).astype(np.int8)
    loved = csr_array(loved - loved.multiply(base.heard.astype(bool)))
    loved.eliminate_zeros()
    if not loved.nnz:
        raise InputError(
            f"{source.dataset.folder.path}: no listener loved anything new in the tune slice; "
            f"import more events or enlarge it with --set slices.tune=0.2"
        )
    evidence = base.ratings if explicit else base.evidence
    features = Content(source, config).features()
    at = evidence_times(past, config.collaborative, evidence)
    settings = config.collaborative
    return _Task(evidence, base.heard, loved, features, at, settings, config.tune.metric)


def _trial(setting: dict[str, Any], task: _Task) -> None:
    """Train with `setting` and report the metric; runs in a worker of Ray."""
    config = replace(task.collaborative, **setting, num_threads=1)
    backend = LocalBackend()
    factors = train(task.evidence, config, backend, item_features=task.features, at=task.at)
    listeners = np.flatnonzero(np.diff(task.loved.indptr))
    k = int(task.metric.partition("@")[2])
    ranked, _ = factors.recommend(listeners, k, exclude=task.heard[listeners])
    scores = summary(ranking_metrics(ranked, task.loved[listeners], (k,)))
    ray_tune.report({task.metric: scores[task.metric]})


class _Progress(ray_tune.Callback):
    """Says how many trials are done."""

    def __init__(self, trials: int) -> None:
        self._trials = trials
        self._done = 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._done += 1
        progress.step("tune", self._done, self._trials)


def _space(config: Config) -> dict[str, Any]:
    ranges = config.tune
    return {
        "regularization": ray_tune.loguniform(*ranges.regularization),
        "alpha": ray_tune.loguniform(*ranges.alpha),
        "factors": ray_tune.choice(sorted({*ranges.factors, config.collaborative.factors})),
    }


def _start(config: Config) -> list[dict[str, Any]] | None:
    """Return the given setting, where the search may try it."""
    given = {key: getattr(config.collaborative, key) for key in _SEARCHED}
    for key in ("regularization", "alpha"):
        low, high = getattr(config.tune, key)
        if not low <= given[key] <= high:
            return None
    return [given]


def _check(config: TuneConfig) -> None:
    name, _, k = config.metric.partition("@")
    if name not in _METRICS or not k.isdecimal() or int(k) < 1:
        raise ConfigError(
            f"[tune] metric: want one of {', '.join(_METRICS)} at a cut-off, such as ndcg@10, "
            f"got {config.metric!r}"
        )
    for key in ("regularization", "alpha"):
        low, high = getattr(config, key)
        if not 0 < low < high:
            raise ConfigError(f"[tune] {key}: want a range above 0, low < high, got {low}, {high}")


def _table(tried: list[Any], metric: str) -> str:
    lines = io.StringIO()
    sink = csv.writer(lines, lineterminator="\n")
    sink.writerow([metric, *_SEARCHED, "seconds"])
    for result in tried:
        setting = [result.metrics["config"][key] for key in _SEARCHED]
        sink.writerow([result.metrics[metric], *setting, result.metrics["time_total_s"]])
    return lines.getvalue()
