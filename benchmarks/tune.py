"""A search beside a grid on Last.fm play counts (HetRec 2011): quality for work.

    RECSYS_TEST_DATA=... python benchmarks/tune.py [--out docs/results/tune.md]

The grid: 36 settings, 15 sweeps each. The search: 40 trials, OptunaSearch and ASHA, over the same
ranges, for five seeds, one trial at a time so that a seed repeats it. Both choose by NDCG@10 on the
tune slice, the search with its price of work (`tune.thrift`); what was chosen is trained on base
and tune and reported on the test slice, once. Work is iterations x (f^2 rows + f non-zeros).
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import sys
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
from page import options, origin, publish
from scipy.sparse import csr_array

from recsys.backend import LocalBackend
from recsys.cluster import ray_session
from recsys.cluster.searched import read_space
from recsys.cluster.trials import Trial
from recsys.cluster.tune import _task, tune_source
from recsys.collaborative.als import train
from recsys.config import CollaborativeConfig, Config, TuneConfig, load_config
from recsys.data.dataset import Dataset
from recsys.data.importers import import_source
from recsys.data.interactions import build_interactions
from recsys.data.slices import split
from recsys.evaluation.metrics import ranking_metrics, summary
from recsys.pipeline import Source, read_source

FACTORS, LAMBDAS, ALPHAS = (32, 64, 128), (3.0, 10.0, 30.0, 100.0), (1.0, 3.0, 10.0)
SPACE = (
    "collaborative.regularization log 1 300",
    "collaborative.alpha log 0.3 30",
    "collaborative.factors of 32 64 128",
)
METRIC = "ndcg@10"


def grid(source: Source, config: Config) -> tuple[dict[str, float], float]:
    """Try every setting to the end; return the best one and the work of all."""
    task = _task(source, config, read_space(config))

    class Here(Trial):
        def setup(self, setting):
            super().setup(setting, task=task)

    work, reached = 0.0, []
    for values in product(LAMBDAS, ALPHAS, FACTORS):
        setting = dict(zip((line.split()[0] for line in SPACE), values, strict=True))
        trial = Here(setting)
        results = [trial.step() for _ in range(config.collaborative.iterations)]
        work += results[-1]["work"]
        reached.append((results[-1][METRIC], values, setting))
    return max(reached)[2], work


def on_test(source: Source, config: Config) -> float:
    """Train on all but blend and test; return the metric on the test slice."""
    slices = split(source.events, config.slices)
    known = np.sort(np.concatenate([slices.base, slices.tune]))
    before = build_interactions(source.events.take(known), source.catalogue, config.interactions)
    later = build_interactions(
        source.events.take(slices.test), source.catalogue, config.interactions
    )
    loved = csr_array(later.evidence > 0).astype(np.int8)
    loved = csr_array(loved - loved.multiply(before.heard.astype(bool)))
    loved.eliminate_zeros()
    listeners = np.flatnonzero(np.diff(loved.indptr))
    factors = train(before.evidence, config.collaborative, LocalBackend())
    ranked, _ = factors.recommend(listeners, 10, exclude=before.heard[listeners])
    return summary(ranking_metrics(ranked, loved[listeners], (10,)))[METRIC]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    config = Config(
        collaborative=CollaborativeConfig(iterations=15),
        tune=TuneConfig(space=SPACE, metric=METRIC, concurrent=1),
    )
    rows = []
    with tempfile.TemporaryDirectory() as place:
        dataset = Dataset(f"{place}/dataset")
        folder = Path(os.environ["RECSYS_TEST_DATA"]) / "hetrec-lastfm"
        import_source("lastfm-hetrec", str(folder), dataset)
        source = read_source(dataset)
        started = perf_counter()
        best, grid_work = grid(source, config)
        seconds = perf_counter() - started
        chosen = replace(
            config,
            collaborative=replace(
                config.collaborative, **{k.partition(".")[2]: v for k, v in best.items()}
            ),
        )
        grid_test = on_test(source, chosen)
        rows.append(f"| grid of 36 | {grid_test:.4f} | 1.00 | {seconds:.0f} | {best} |")
        print(rows[-1], flush=True)
        found = []
        with ray_session(num_cpus=2, object_store_bytes=500_000_000):
            for seed in range(args.seeds):
                seeded = replace(config, tune=replace(config.tune, seed=seed))
                out = Path(place) / f"search{seed}"
                started = perf_counter()
                toml = tune_source(source, seeded, out, trials=args.trials)
                seconds = perf_counter() - started
                trials = np.genfromtxt(out / "trials.csv", delimiter=",", names=True)
                tuned = load_config(toml)
                test = on_test(source, tuned)
                found.append((test, trials["work"].sum() / grid_work))
                setting = {
                    key: round(getattr(tuned.collaborative, key), 3)
                    for key in ("regularization", "alpha", "factors", "iterations")
                }
                rows.append(
                    f"| search, seed {seed} | {test:.4f} | {found[-1][1]:.2f} | {seconds:.0f} "
                    f"| {setting} |"
                )
                print(rows[-1], flush=True)
    median = np.median(np.array(found), axis=0)
    page = f"""# Search beside a grid

HetRec Last.fm play counts, {args.trials} trials beside 36 grid settings of 15 sweeps, chosen by
{METRIC} on the tune slice, trained on base and tune, reported on the test slice. To the search
twice the work is worth {config.tune.thrift} standard errors of that (`tune.thrift`). It makes one
trial at a time (`tune.concurrent = 1`), so that a seed repeats it.

| method | test {METRIC} | work, grid = 1 | s | chosen |
|---|---|---|---|---|
{chr(10).join(rows)}

Median of {args.seeds} seeds: {median[0]:.4f}, the grid: {grid_test:.4f}; work {median[1]:.0%}
of the grid's.

{origin("ray", "optuna", load=load)}
"""
    publish(page, args.out)


if __name__ == "__main__":
    sys.exit(main())
