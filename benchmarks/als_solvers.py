"""Which row solver of ALS is quickest to a loss: conjugate gradient, Cholesky, or blocks (iALS++).

    python benchmarks/als_solvers.py [--factors 64,128] [--runs 3] [--out docs/results]

Data and goal as in benchmarks/als.py: the float64 loss of `implicit` after 15 iterations, from the
same start. The block solver is written here alone, after Rendle, Krichene, Zhang, Koren: iALS++,
2021, in the engine's coordinates, where the Gram matrix is diagonal and so couples no blocks; it
stays out of the engine for as long as it is not the quickest. A sweep's time by conjugate gradient
steps says besides what a step costs and what goes to all else: gathering rows and work per row.
Variants follow each other in turns; medians count.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

# The solvers have threads of their own.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import als as peers
import numpy as np
import page
import scipy.sparse as sp

from recsys.backend import LocalBackend
from recsys.collaborative import als, solvers
from recsys.collaborative.factors import Factors
from recsys.collaborative.kernels import Floats, HalfStep, Sparse, collect, compiled
from recsys.config import CollaborativeConfig

BLOCKS = (16, 32, 64)
"""Whole cache lines, as the kernels want them."""
STEPS = (1, 2, 3, 4)
MOST = 30


@compiled
def solve_blocks(
    rows: Sparse, first: int, last: int, half: HalfStep, factors: Floats, biases: Floats, size: int
) -> None:
    """Move each row to its minimiser over one block of factors after the other; no biases."""
    _, dense, fixed, _, ridges, _, _, relaxation = half
    width = fixed.shape[1]
    longest = 1
    for u in range(first, last):
        longest = max(longest, rows.indptr[u + 1] - rows.indptr[u])
    y = np.empty((longest, width), np.float32)
    weights = np.empty(longest, np.float32)
    targets = np.empty(longest, np.float32)
    scale = np.empty(width, np.float32)
    shift = np.zeros(width, np.float32)
    x = np.empty(width, np.float32)
    out = np.empty(size, np.float32)
    normal = np.empty((size, size), np.float32)
    goes = np.float32(relaxation)
    for u in range(first, last):
        begin, n = rows.indptr[u], rows.indptr[u + 1] - rows.indptr[u]
        if not n:
            factors[u] = 0
            continue
        for k in range(width):
            scale[k] = 1 / np.sqrt(dense.diagonal[k] + ridges[u])
            x[k] = factors[u, k] / scale[k]
        collect(rows, begin, n, half, scale, shift, y, weights, targets)
        for j in range(n):  # what is left of each target
            dot = np.float32(0)
            for k in range(width):
                dot += y[j, k] * x[k]
            targets[j] += weights[j] * dot
        for a in range(0, width, size):
            normal[:] = 0
            for k in range(size):
                normal[k, k] = 1
                out[k] = -x[a + k]
            block = y[:, a : a + size]
            for j in range(n):
                row = block[j]
                for k in range(size):
                    out[k] += targets[j] * row[k]
            solvers._add_outer(block, weights, n, normal)
            solvers._factorise(normal, np.float32(1))
            solvers._forward(normal, out)
            solvers._backward(normal, out)
            for k in range(size):
                x[a + k] += out[k]
            for j in range(n):
                row = block[j]
                dot = np.float32(0)
                for k in range(size):
                    dot += row[k] * out[k]
                targets[j] += weights[j] * dot
        for k in range(width):
            factors[u, k] += goes * (x[k] * scale[k] - factors[u, k])


def main() -> None:
    parser = page.options(__doc__)
    parser.add_argument("--factors", default="64,128")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        options.folder = folder
        peers._make_data(Path(folder))
        for f in map(int, options.factors.split(",")):
            lines += _measure(f, options)
    page.publish(_page(lines, load), options.out)


def _measure(f: int, options: argparse.Namespace) -> list[str]:
    goal = peers._run("implicit", options, f)["loss"]
    options.factors = str(f)
    evidence, users, items = peers._load(options, f)
    matrix = sp.csr_array(evidence)

    def sweeps(setting: dict[str, Any], most: int) -> tuple[float, int]:
        """Seconds of a sweep, and how many reach the goal."""
        config = CollaborativeConfig(
            factors=f,
            regularization=peers.LAMBDA,
            alpha=1.0,
            confidence="total",
            bias=False,
            iterations=MOST,
            num_threads=options.threads,
            **setting,
        )
        backend = LocalBackend()
        zeros = [np.zeros(n, np.float32) for n in matrix.shape]
        start = Factors(users.copy(), items.copy(), zeros[0], zeros[1], 0.0, config)
        laps = []
        clock = time.perf_counter()
        for step in als.alternate(matrix, config, backend, initial=start):
            if step.side != "items":
                continue
            laps.append(time.perf_counter() - clock)
            if len(laps) == most:
                break
            if most == MOST:
                found = als.gather(step, config, backend)
                if peers._loss(evidence, found.user_factors, found.item_factors) <= goal:
                    break
            clock = time.perf_counter()
        return median(laps[1:]), len(laps)

    kept = solvers.solve_cg
    variants: dict[str, tuple[dict[str, Any], Any]] = {
        f"conjugate gradient, {n} step{'s' * (n > 1)}": ({"solver": "cg", "cg_steps": n}, kept)
        for n in STEPS
    }
    variants["Cholesky"] = ({"solver": "cholesky"}, kept)
    for size in BLOCKS:
        # The number of steps is the block's size where the block solver stands in.
        setting = {"solver": "cg", "cg_steps": size}
        variants[f"blocks of {size}"] = (setting, solve_blocks)
    needed: dict[str, int] = {}
    laps: dict[str, list[float]] = {name: [] for name in variants}
    try:
        for number in range(options.runs):
            for name, (setting, solver) in variants.items():
                solvers.solve_cg = solver
                if not number:
                    needed[name] = sweeps(setting, MOST)[1]
                laps[name].append(sweeps(setting, 3)[0])
                print(f"f = {f}: {name}: {laps[name][-1]:.2f} s a sweep", file=sys.stderr)
    finally:
        solvers.solve_cg = kept
    lines = [
        "",
        f"## f = {f}",
        "",
        "| solver | a sweep (s) | sweeps to the goal | to the goal (s) "
        "| ns an entry and half-step |",
        "|---|---|---|---|---|",
    ]
    entries = 2 * matrix.nnz
    for name in variants:
        lap, n = median(laps[name]), needed[name]
        reached = f"{n} | {n * lap:.2f}" if n < MOST else f"over {MOST} | -"
        lines.append(f"| {name} | {lap:.2f} | {reached} | {lap / entries * 1e9:.0f} |")
    times = [median(laps[name]) for name in list(variants)[: len(STEPS)]]
    slope, rest = np.polyfit(STEPS, times, 1) / entries * 1e9
    lines += [
        "",
        f"A line through the four: {slope:.0f} ns an entry for each step, {rest:.0f} ns for all "
        f"else, on {options.threads} threads together.",
    ]
    return lines


def _page(lines: list[str], load: float) -> str:
    head = [
        "# Row solvers of ALS",
        "",
        (__doc__ or "").split("\n\n")[2].replace("\n", " "),
    ]
    made = page.origin("implicit", "numpy", "scipy", "numba", "llvmlite", load=load)
    return "\n".join([*head, *lines, "", made])


if __name__ == "__main__":
    main()
