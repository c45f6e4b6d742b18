"""One training in which workers are killed at random: does it end, and with which loss?

    python benchmarks/recovery.py [--kills 20] [--workers 3] [--seed 0] [--out docs/results]

Data: 20,000 listeners by 8,000 items, about 900,000 non-zeros. A thread kills a worker by SIGKILL
at random moments, whatever it is doing, until all kills are spent; the training goes on from its
checkpoints (every 2 of 40 sweeps). Its loss over all pairs, in float64, stands beside that of an
undisturbed run.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from typing import Any

import numpy as np
import page
import scipy.sparse as sp

from recsys.backend import LocalBackend
from recsys.cluster import RayBackend, ray_session
from recsys.collaborative.als import train
from recsys.collaborative.checkpoints import Checkpoints
from recsys.collaborative.factors import Factors
from recsys.config import CollaborativeConfig
from recsys.progress import report_to

CONFIG = CollaborativeConfig(
    factors=32, iterations=40, regularization=10.0, checkpoint_every=2, num_threads=1
)


def main() -> None:
    options, load = _options(), os.getloadavg()[0]
    evidence = _evidence()
    calm = _loss(evidence, train(evidence, CONFIG, LocalBackend()))
    lines = Lines()
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        ray_session(num_cpus=options.workers, object_store_bytes=400_000_000),
        RayBackend(options.workers) as backend,
        report_to(lines),
    ):
        killer = Killer(backend, lines, options.kills, random.Random(options.seed))
        killer.start()
        kept = Checkpoints(folder, every=CONFIG.checkpoint_every)
        factors = train(evidence, CONFIG, backend, checkpoints=kept)
        killer.stop.set()
        killer.join()
    seconds = time.perf_counter() - began
    disturbed = _loss(evidence, factors)
    report = {
        "kills": killer.done,
        "seconds": seconds,
        "calm_loss": calm,
        "disturbed_loss": disturbed,
        "said": lines.said,
    }
    page.publish(_page(report, load), options.out)


class Lines:
    """Keeps what is said, and how far the training is."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.sweep = 0

    def note(self, line: str) -> None:
        self.said.append(f"after sweep {self.sweep}: {line}")
        print(line, file=sys.stderr)

    def step(self, task: str, done: int, total: int | None, detail: str) -> None:
        self.sweep = done

    def measure(self, task: str, figures: Any) -> None:
        pass


class Killer(threading.Thread):
    """Kills a random worker each time that the training has got a little further, at random."""

    def __init__(self, backend: RayBackend, lines: Lines, kills: int, chance: random.Random):
        super().__init__(daemon=True)
        self._backend, self._lines, self._chance = backend, lines, chance
        self._kills, self.done = kills, 0
        self.stop = threading.Event()

    def run(self) -> None:
        while self.done < self._kills and not self.stop.is_set():
            reached = self._lines.sweep
            while self._lines.sweep == reached and not self.stop.is_set():
                self.stop.wait(0.01)
            self.stop.wait(self._chance.random())
            workers = list(self._backend.workers)
            if workers and not self.stop.is_set():
                try:
                    os.kill(self._chance.choice(workers).pid, signal.SIGKILL)
                    self.done += 1
                except ProcessLookupError:  # killed before, not yet missed
                    pass


def _evidence() -> sp.csr_array:
    rng = np.random.default_rng(0)
    users = rng.permutation(np.repeat(np.arange(20_000), 55))
    popularity = 1 / (np.arange(8_000) + 10.0)
    items = rng.choice(8_000, users.size, p=popularity / popularity.sum())
    matrix = sp.csr_array((np.ones(users.size, np.float32), (users, items)), shape=(20_000, 8_000))
    matrix.sum_duplicates()
    return matrix


def _loss(evidence: sp.csr_array, factors: Factors) -> float:
    """The objective with biases over all pairs, in float64, row block by row block."""
    x, y = factors.user_factors.astype(float), factors.item_factors.astype(float)
    total = CONFIG.regularization * ((x**2).sum() + (y**2).sum())
    for a in range(0, len(x), 1000):
        r = evidence[a : a + 1000].toarray().astype(float)
        error = (r > 0) - x[a : a + 1000] @ y.T
        error -= factors.user_biases[a : a + 1000, None] + factors.item_biases
        total += ((1 + CONFIG.alpha * r) * error**2).sum()
    return float(total)


def _page(report: dict[str, Any], load: float) -> str:
    apart = abs(report["disturbed_loss"] / report["calm_loss"] - 1)
    lines = [
        "# Killed at random",
        "",
        (__doc__ or "").split("\n\n", 2)[2].strip(),
        "",
        f"{report['kills']} kills in {report['seconds']:.0f} s. Loss undisturbed "
        f"{report['calm_loss']:.8g}, disturbed {report['disturbed_loss']:.8g}: "
        f"**{apart:.1e}** apart, relative (allowed 1e-4).",
        "",
        "What the log said:",
        "",
        *(f"- {line}" for line in report["said"]),
        "",
        page.origin("ray", "numpy", "numba", load=load),
    ]
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = page.options(__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
