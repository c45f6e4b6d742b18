"""Search settings with Ray Tune: Optuna proposes, ASHA stops what does not promise.

Enters: a dataset and a configuration whose ``[tune]`` names the space. Leaves a folder: best.toml,
which ``recsys train --config`` takes, trials.csv with every setting tried, best first, report.html,
and trials/ with Tune's own files (TensorBoard reads them). A trial trains on the base slice and is
scored on the tune slice; the later slices stay unseen. Optuna's sampler is TPE (Bergstra et al.
2011); ASHA: Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020. lambda
and alpha are searched together on log scales (Rendle et al., Revisiting the performance of iALS,
RecSys 2022).

Ray must be connected (`recsys.cluster.ray_session`).
"""

from __future__ import annotations

import csv
import io
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import ray
from ray import tune as ray_tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from scipy.sparse import csr_array

from recsys import progress
from recsys.cluster.searched import Searched, read_space
from recsys.cluster.trials import Task, Trial, configured
from recsys.cluster.tune_report import Tried, report
from recsys.config import Config, TuneConfig, check_stage
from recsys.data.dataset import Dataset
from recsys.data.interactions import build_interactions
from recsys.data.slices import split
from recsys.errors import ConfigError, InputError, UsageError
from recsys.pipeline import Content, Source, read_source
from recsys.storage import Folder

__all__ = ["tune", "tune_source"]

_METRICS = ("recall", "ndcg", "map", "mrr", "hit_rate")


def tune(dataset: Dataset, config: Config, out: Path, *, trials: int, resume: bool = False) -> Path:
    """Try `trials` settings and return the path of the best one's configuration.

    The first trial is the given configuration, or what comes nearest inside the space. The best one
    is worth most: by the metric, where a dearer training has to earn its work (``[tune] thrift``).

    Parameters
    ----------
    resume
        Go on with the search that was broken off in `out`; begin one where there is none.

    Raises
    ------
    ConfigError
        For a metric or key that does not exist or a range that is empty.
    InputError
        Where no listener has anything new in the tune slice.
    UsageError
        Where `out` holds a search and `resume` is not set, and for more workers than cores.
    """
    return tune_source(read_source(dataset), config, out, trials=trials, resume=resume)


def tune_source(
    source: Source, config: Config, out: Path, *, trials: int, resume: bool = False
) -> Path:
    """Do what `tune` does on a source that was read."""
    space = read_space(config)
    _check(config.tune)
    if (out / "trials").exists() and not resume:
        raise UsageError(f"{out}: holds a search; go on with --resume or give another folder")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = _task(source, config, space)
    # Tune prints what it is about to do; standard output is for results.
    with redirect_stdout(sys.stderr):
        results = _search(task, space, out, trials)
    for error in results.errors:
        raise error
    tried = sorted(_tried(results, config), key=lambda one: -max(one.worth))
    if not tried:
        raise UsageError("the time budget ended before the first sweep; give it more seconds")
    best = configured(config, tried[0].setting)
    best = replace(best, collaborative=replace(best.collaborative, iterations=tried[0].at))
    folder = Folder(out)
    folder.write("trials.csv", _table(tried, config.tune.metric, space).encode())
    folder.write("best.toml", best.to_toml().encode())
    folder.write("report.html", report(tried, space, config.tune.metric).encode())
    return out / "best.toml"


def _search(task: Task, space: list[Searched], out: Path, trials: int) -> ray_tune.ResultGrid:
    settings = task.config.tune
    trainable = ray_tune.with_resources(
        ray_tune.with_parameters(Trial, task=task), _resources(settings.workers)
    )
    place = str(out.absolute() / "trials")
    if (out / "trials").exists() and ray_tune.Tuner.can_restore(place):
        return ray_tune.Tuner.restore(place, trainable=trainable, resume_errored=True).fit()
    return ray_tune.Tuner(
        trainable,
        param_space={one.path: one.domain for one in space},
        tune_config=ray_tune.TuneConfig(
            metric="worth",
            mode="max",
            search_alg=OptunaSearch(
                seed=settings.seed,
                points_to_evaluate=[
                    {one.path: one.nearest(one.given(task.config)) for one in space}
                ],
            ),
            scheduler=ASHAScheduler(
                max_t=task.config.collaborative.iterations,
                grace_period=min(settings.grace, task.config.collaborative.iterations),
                reduction_factor=settings.reduction,
            ),
            num_samples=trials,
            # The search learns from trials that have ended only.
            max_concurrent_trials=settings.concurrent or max(2, trials // 8),
            time_budget_s=settings.time_budget_s or None,
            reuse_actors=True,
        ),
        run_config=ray_tune.RunConfig(
            name="trials",
            storage_path=str(out.absolute()),
            checkpoint_config=ray_tune.CheckpointConfig(num_to_keep=1, checkpoint_frequency=1),
            verbose=0,
            callbacks=[_Progress(trials)],
        ),
    ).fit()


def _resources(workers: int) -> ray_tune.PlacementGroupFactory:
    """Return what a trial takes: a core, or, where actors train for it, one for each of those."""
    cores = ray.cluster_resources().get("CPU", 0)
    if workers > cores:
        raise UsageError(
            f"tune.workers: want at most the {cores:.0f} cores of the cluster, got {workers}"
        )
    bundles: list[dict[str, float]] = [{"CPU": 1}]
    return ray_tune.PlacementGroupFactory(bundles if workers == 1 else [{}, *(bundles * workers)])


def _task(source: Source, config: Config, space: list[Searched]) -> Task:
    slices = split(source.events, config.slices)
    catalogue, settings = source.catalogue, config.interactions
    base = source.events.take(slices.base)
    heard = build_interactions(base, catalogue, settings).heard
    later = build_interactions(source.events.take(slices.tune), catalogue, settings)
    loved = csr_array(later.evidence > 0).astype(np.int8)
    loved = csr_array(loved - loved.multiply(heard.astype(bool)))
    loved.eliminate_zeros()
    if not loved.nnz:
        raise InputError(
            f"{source.dataset.folder.path}: no listener loved anything new in the tune slice; "
            f"import more events or enlarge it with --set slices.tune=0.2"
        )
    content = Content(source, config)
    hybrid = any(one.path.startswith("ensemble.") for one in space)
    return Task(
        catalogue,
        base,
        loved,
        content.features(),
        content.text if hybrid else None,
        content.audio if hybrid else None,
        config,
        hybrid,
    )


def _tried(results: ray_tune.ResultGrid, config: Config) -> list[Tried]:
    found = []
    for number in range(len(results)):
        result: Any = results[number]
        if result.metrics is None or "worth" not in result.metrics:
            continue
        # A sweep that a kill undid was written down twice.
        curve = result.metrics_dataframe.drop_duplicates("training_iteration", keep="last")
        curve = curve.sort_values("training_iteration")
        found.append(
            Tried(
                number=number,
                setting=dict(result.metrics["config"]),
                curve=curve[config.tune.metric].to_list(),
                worth=curve["worth"].to_list(),
                work=curve["work"].to_list(),
                seconds=float(result.metrics["time_total_s"]),
                whole=len(curve) >= config.collaborative.iterations,
            )
        )
    return found


class _Progress(ray_tune.Callback):
    """Says how many trials are done."""

    def __init__(self, trials: int) -> None:
        self._trials = trials
        self._done = 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._done += 1
        progress.step("tune", min(self._done, self._trials), self._trials)


def _check(config: TuneConfig) -> None:
    check_stage(config, "tune")
    name, _, k = config.metric.partition("@")
    if name not in _METRICS or not k.isdecimal() or int(k) < 1:
        raise ConfigError(
            f"[tune] metric: want one of {', '.join(_METRICS)} at a cut-off, such as ndcg@10, "
            f"got {config.metric!r}"
        )


def _table(tried: list[Tried], metric: str, space: list[Searched]) -> str:
    lines = io.StringIO()
    sink = csv.writer(lines, lineterminator="\n")
    paths = [one.path for one in space]
    sink.writerow([metric, "worth", *paths, "iterations", "sweeps", "stopped", "work", "seconds"])
    for one in tried:
        setting = [one.setting[path] for path in paths]
        ended = [one.at, len(one.curve), int(not one.whole), one.work[-1], one.seconds]
        sink.writerow([one.best, max(one.worth), *setting, *ended])
    return lines.getvalue()
