"""How long our ALS takes to the loss that `implicit` reaches, beside it and Spark MLlib.

    python benchmarks/als.py [--factors 40,64,128,256] [--runs 3] [--threads 2] [--out docs/results]

Data: 100,000 listeners by 50,000 items, about 3.6M non-zeros, Zipf items and Pareto users. The
goal is the float64 loss of `implicit` after 15 iterations; both start from the same factors, with
the same confidences and lambda, without biases. Runs are paired: the two follow each other in
fresh processes, so that a busy machine slows both; the table shows medians and the paired ratio.
Losses are measured outside the clock.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import page

USERS, ITEMS, NON_ZEROS = 100_000, 50_000, 3_630_000
LAMBDA, ALPHA, ITERATIONS = 10.0, 10.0, 15
LEFT = """What a sweep's time is made of, and which row solver is quickest to the loss, stands in
als-solvers.md. The rows that an entry asks for lie anywhere in memory: where the peak of a copy is
quoted, whole rows at random places are read. Rows with more than 2^20 / f entries, of popular
items, are gathered anew for every conjugate gradient step."""
SPARK_FACTORS = (64, 40)
SPARK_BLOCKS = 4
SPARK_SWEEPS = (1, 4)


def main() -> None:
    options, load = _options(), os.getloadavg()[0]
    if options.job:
        print(json.dumps(JOBS[options.job](options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.folder = folder
        _make_data(Path(folder))
        report = _measure(options)
    page.publish(_page(report, load), options.out)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    report: dict[str, Any] = {
        "threads": options.threads,
        "peaks": _run("peaks", options, 0),
        "runs": {},
        "memory_mib": {},
    }
    for f in map(int, options.factors.split(",")):
        # One untimed run each compiles what is not compiled and gives the goal.
        goal = _run("implicit", options, f)["loss"]
        pairs = []
        for number in range(options.runs):
            peer = _run("implicit", options, f)
            ours = _run("recsys", options, f, goal)
            biased = _run("biased", options, f, sweeps=ours["sweeps"])
            pairs.append({"implicit": peer, "recsys": ours, "biased": biased})
            print(
                f"f = {f}, pair {number + 1}: implicit {peer['seconds']:.2f} s, recsys "
                f"{ours['seconds']:.2f} s in {ours['sweeps']} sweeps, "
                f"with biases {biased['seconds']:.2f} s",
                file=sys.stderr,
            )
        report["runs"][str(f)] = pairs
        report["memory_mib"][str(f)] = {
            "implicit": _run("memory", options, f, goal=1.0)["memory_mib"],
            "recsys": _run("memory", options, f)["memory_mib"],
        }
    report["spark"] = _spark(options, report)
    return report


def _run(
    job: str, options: argparse.Namespace, f: int, goal: float = 0.0, sweeps: int = 0
) -> dict[str, Any]:
    """Run one job in a fresh process and return what it prints."""
    threads = str(options.threads)
    # implicit's authors advise one BLAS thread beside its own threads; ours wants the same.
    blas = threads if job == "peaks" else "1"
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    command = [sys.executable, __file__, "--job", job, "--folder", options.folder]
    command += ["--factors", str(f), "--threads", threads]
    command += ["--goal", repr(goal), "--sweeps", str(sweeps)]
    done = subprocess.run(
        command, env=os.environ | dict.fromkeys(names, blas), check=True, capture_output=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


# The jobs, each alone in its process.


def _implicit_job(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np
    from implicit.cpu.als import AlternatingLeastSquares

    import recsys.collaborative.als  # noqa: F401 (its imports count for neither)

    f = int(options.factors)
    evidence, users, items = _load(options, f)
    model = AlternatingLeastSquares(
        factors=f, regularization=LAMBDA, iterations=ITERATIONS, num_threads=options.threads
    )
    model.user_factors, model.item_factors = users, items
    epochs: list[float] = []
    begin = time.perf_counter()
    model.fit(
        evidence, show_progress=False, callback=lambda _i, seconds, *_: epochs.append(seconds)
    )
    seconds = time.perf_counter() - begin
    loss = _loss(evidence, model.user_factors, model.item_factors)
    assert np.isfinite(loss)
    return {"seconds": seconds, "epoch": median(epochs), "loss": loss}


def _recsys_job(options: argparse.Namespace, bias: bool = False) -> dict[str, Any]:
    import implicit.cpu.als  # noqa: F401 (see above)
    import numpy as np
    import scipy.sparse as sp

    from recsys.backend import LocalBackend
    from recsys.collaborative import als
    from recsys.collaborative.factors import Factors
    from recsys.config import CollaborativeConfig

    f = int(options.factors)
    evidence, users, items = _load(options, f)
    config = CollaborativeConfig(
        factors=f,
        regularization=LAMBDA,
        alpha=1.0,
        confidence="total",
        bias=bias,
        iterations=4 * ITERATIONS,
        num_threads=options.threads,
    )
    backend = LocalBackend()
    _warm_up(config)
    zeros = [np.zeros(n, np.float32) for n in evidence.shape]
    start = Factors(users, items, zeros[0], zeros[1], 0.0, config)
    epochs: list[float] = []
    clock = time.perf_counter()
    seconds = 0.0
    loss = float("inf")
    steps = als.alternate(sp.csr_array(evidence), config, backend, initial=start)
    for step in steps:
        if step.side != "items":
            continue
        lap = time.perf_counter() - clock
        seconds += lap
        epochs.append(lap)
        if options.sweeps == step.iteration:
            break
        if not options.sweeps:
            trained = als.gather(step, config, backend)
            loss = _loss(evidence, trained.user_factors, trained.item_factors)
            if loss <= options.goal:
                break
        clock = time.perf_counter()
    sweeps = step.iteration
    assert sweeps < config.iterations, "the goal was not reached"
    lap = median(epochs[1:])
    flops, traffic = _work(evidence, f, config.cg_steps)
    return {
        "seconds": seconds,
        "epoch": lap,
        "first": epochs[0],
        "sweeps": sweeps,
        "loss": loss,
        "gflops": flops / lap / 1e9,
        "gbytes": traffic / lap / 1e9,
    }


def _memory_job(options: argparse.Namespace) -> dict[str, Any]:
    """Growth of the peak by training two sweeps, each library making its own start."""
    import scipy.sparse as sp
    from implicit.cpu.als import AlternatingLeastSquares

    from recsys.backend import LocalBackend
    from recsys.collaborative import als
    from recsys.config import CollaborativeConfig

    f = int(options.factors)
    evidence = sp.load_npz(Path(options.folder) / "evidence.npz")
    config = CollaborativeConfig(
        factors=f, iterations=2, bias=False, alpha=1.0, confidence="total", num_threads=2
    )
    _warm_up(config)
    before = _peak_mib()
    if options.goal:
        model = AlternatingLeastSquares(factors=f, iterations=2, num_threads=options.threads)
        model.fit(evidence, show_progress=False)
    else:
        als.train(sp.csr_array(evidence), config, LocalBackend())
    return {"memory_mib": _peak_mib() - before}


def _peaks_job(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    a = np.ones((2048, 2048), np.float32)
    block = np.ones(1 << 26, np.float32)
    target = np.empty_like(block)
    return {
        "sgemm_gflops": 2 * 2048**3 / _best(lambda: a @ a) / 1e9,
        "copy_gbytes": 2 * block.nbytes / _best(lambda: np.copyto(target, block)) / 1e9,
    }


def _spark_job(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a sweep of MLlib's implicit ALS; reading and starting fall out of a difference."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import pyspark
    import scipy.sparse as sp
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import SparkSession

    folder = Path(options.folder)
    evidence = sp.load_npz(folder / "evidence.npz")
    users = np.repeat(np.arange(USERS, dtype=np.int32), np.diff(evidence.indptr))
    columns = {"user": users, "item": evidence.indices, "value": evidence.data / ALPHA}
    pq.write_table(pa.table(columns), folder / "evidence.parquet")
    master = f"local[{options.threads}]"
    builder = SparkSession.builder.master(master).appName("als")
    for key, value in {
        "driver.bindAddress": "127.0.0.1",
        "driver.host": "127.0.0.1",
        "driver.memory": "4g",
        "local.dir": str(folder),
        "sql.shuffle.partitions": str(SPARK_BLOCKS),
        "ui.enabled": "false",
    }.items():
        builder = builder.config(f"spark.{key}", value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    table = session.read.parquet(str(folder / "evidence.parquet")).repartition(SPARK_BLOCKS).cache()
    table.count()

    def seconds(sweeps: int) -> float:
        als = ALS(
            rank=int(options.factors),
            maxIter=sweeps,
            regParam=LAMBDA,
            alpha=ALPHA,
            implicitPrefs=True,
            userCol="user",
            itemCol="item",
            ratingCol="value",
            seed=0,
        ).setNumBlocks(SPARK_BLOCKS)
        begin = time.perf_counter()
        als.fit(table)
        return time.perf_counter() - begin

    seconds(1)  # the JVM compiles what it runs often
    few, many = SPARK_SWEEPS
    epoch = (seconds(many) - seconds(few)) / (many - few)
    session.stop()
    return {"epoch": epoch, "master": master, "version": f"Spark {pyspark.__version__}"}


JOBS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "implicit": _implicit_job,
    "recsys": _recsys_job,
    "biased": lambda options: _recsys_job(options, bias=True),
    "memory": _memory_job,
    "peaks": _peaks_job,
    "spark": _spark_job,
}


def _best(work: Callable[[], Any]) -> float:
    def once() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return min(once() for _ in range(7))


def _warm_up(config: Any) -> None:
    """Load the compiled kernels: part of importing, not of training."""
    import numpy as np
    import scipy.sparse as sp

    from recsys.backend import LocalBackend
    from recsys.collaborative import als

    few = sp.csr_array(np.eye(4, dtype=np.float32))
    als.train(few, replace(config, factors=4, iterations=1), LocalBackend())


def _work(evidence: Any, f: int, cg_steps: int) -> tuple[float, float]:
    """Return floating-point operations and bytes that a sweep must do, padding not counted.

    Per entry and half-step: a product and a sum for the start and each step (4 f each), gathering
    f floats; per row twice f^2 for the rotations and f^2 for the Gram matrix.
    """
    rows = sum(evidence.shape)
    flops = 2 * evidence.nnz * 4 * f * (1 + cg_steps) + rows * (2 * 2 + 2) * f * f
    traffic = 2 * evidence.nnz * (4 * f + 8) + rows * 4 * f * 8
    return float(flops), float(traffic)


def _loss(evidence: Any, users: Any, items: Any) -> float:
    """The objective without biases, in float64, written apart from both libraries."""
    import numpy as np

    x, y = users.astype(np.float64), items.astype(np.float64)
    total = np.sum((x.T @ x) * (y.T @ y)) + LAMBDA * (np.sum(x * x) + np.sum(y * y))
    rows = np.repeat(np.arange(evidence.shape[0]), np.diff(evidence.indptr))
    for a in range(0, evidence.nnz, 1 << 16):
        part = slice(a, a + (1 << 16))
        prediction = np.einsum("nk,nk->n", x[rows[part]], y[evidence.indices[part]])
        total += evidence.data[part] @ (1 - prediction) ** 2 - prediction @ prediction
    return float(total)


def _make_data(folder: Path) -> None:
    import numpy as np
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    activity = np.minimum(rng.pareto(1.2, USERS) + 1, 400)
    popularity = 1 / (np.arange(ITEMS) + 10.0)
    drawn = rng.multinomial(int(1.15 * NON_ZEROS), activity / activity.sum())
    users = np.repeat(np.arange(USERS, dtype=np.int32), drawn)
    items = rng.choice(ITEMS, users.size, p=popularity / popularity.sum())
    items = rng.permutation(ITEMS)[items].astype(np.int32)
    ones = np.ones(users.size, np.float32)
    evidence = sp.coo_array((ones, (users, items)), shape=(USERS, ITEMS)).tocsr()
    evidence.sum_duplicates()
    evidence.data = (ALPHA * rng.geometric(0.3, evidence.nnz)).astype(np.float32)
    sp.save_npz(folder / "evidence.npz", sp.csr_matrix(evidence), compressed=False)


def _load(options: argparse.Namespace, f: int) -> Any:
    import numpy as np
    import scipy.sparse as sp

    evidence = sp.load_npz(Path(options.folder) / "evidence.npz")
    random = np.random.default_rng(f).random
    return (
        evidence,
        random((USERS, f), np.float32) * np.float32(0.01),
        random((ITEMS, f), np.float32) * np.float32(0.01),
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _spark(options: argparse.Namespace, report: dict[str, Any]) -> dict[str, Any]:
    """Time Spark beside ours, in turns, at the first number of factors from SPARK_FACTORS."""
    missing = [name for name, there in _spark_needs().items() if not there]
    if missing:
        return {"skipped": f"{' and '.join(missing)} not installed (pip install 'recsys[spark]')"}
    measured = [f for f in SPARK_FACTORS if str(f) in report["runs"]]
    if not measured:
        return {"skipped": f"only timed at f = {' or '.join(map(str, SPARK_FACTORS))}"}
    f = measured[0]
    before = _run("recsys", options, f, sweeps=4)["epoch"]
    spark = _run("spark", options, f)
    after = _run("recsys", options, f, sweeps=4)["epoch"]
    return spark | {"factors": f, "recsys_epoch": (before + after) / 2}


def _spark_needs() -> dict[str, bool]:
    return {
        "pyspark": importlib.util.find_spec("pyspark") is not None,
        "Java": shutil.which("java") is not None,
    }


def _spark_line(spark: dict[str, Any]) -> str:
    if "skipped" in spark:
        return f"skipped: {spark['skipped']}"
    ratio = spark["epoch"] / spark["recsys_epoch"]
    return (
        f"{spark['version']}, {spark['master']}, {SPARK_BLOCKS} blocks, f = {spark['factors']}: "
        f"{spark['epoch']:.2f} s a sweep (from runs of {' and '.join(map(str, SPARK_SWEEPS))} "
        f"sweeps), ours before and after it {spark['recsys_epoch']:.2f} s: **{ratio:.1f} times as "
        f"fast** a sweep"
    )


def _page(report: dict[str, Any], load: float) -> str:
    peaks = report["peaks"]
    lines = [
        "# ALS: time to the loss of `implicit`",
        "",
        (__doc__ or "").split("\n\n")[2].replace("\n", " "),
        "",
        f"- {report['threads']} threads each",
        f"- Peaks measured in the same run: sgemm {peaks['sgemm_gflops']:.0f} GFLOP/s, "
        f"copy {peaks['copy_gbytes']:.1f} GB/s",
        f"- Spark MLlib: {_spark_line(report['spark'])}",
        "",
        "| f | implicit, 15 sweeps (s) | recsys to its loss (s) | sweeps | times as fast "
        "(each pair) | one sweep: implicit / recsys (s) | biases on: time x | peak memory growth: "
        "implicit / recsys (MiB) | GFLOP/s | GB/s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for f, pairs in report["runs"].items():

        def middle(who: str, what: str, pairs: Any = pairs) -> float:
            return median(pair[who][what] for pair in pairs)

        memory = report["memory_mib"][f]
        ratios = [pair["implicit"]["seconds"] / pair["recsys"]["seconds"] for pair in pairs]
        biased = median(p["biased"]["seconds"] / p["recsys"]["seconds"] for p in pairs)
        lines.append(
            f"| {f} | {middle('implicit', 'seconds'):.2f} | {middle('recsys', 'seconds'):.2f} "
            f"| {middle('recsys', 'sweeps'):.0f} | **{median(ratios):.1f}** "
            f"({', '.join(f'{ratio:.1f}' for ratio in ratios)}) "
            f"| {middle('implicit', 'epoch'):.2f} / {middle('recsys', 'epoch'):.2f} "
            f"| {biased:.2f} "
            f"| {memory['implicit']:.0f} / {memory['recsys']:.0f} "
            f"| {middle('recsys', 'gflops'):.0f} | {middle('recsys', 'gbytes'):.1f} |"
        )
    made = page.origin("implicit", "numpy", "scipy", "numba", "llvmlite", load=load)
    return "\n".join([*lines, "", LEFT, "", made])


def _options() -> argparse.Namespace:
    parser = page.options(__doc__)
    parser.add_argument("--factors", default="40,64,128,256")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    for name in ("--job", "--folder"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--goal", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--sweeps", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
