"""Kills that are real, in every phase: a training ends with the loss of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys.backend import LocalBackend
from recsys.collaborative.als import train
from recsys.collaborative.checkpoints import Checkpoints
from recsys.data.dataset import Dataset
from recsys.errors import InputError, WorkersLostError
from recsys.progress import report_to
from tests.cluster.faults import CONFIG, Dangerous, Lines, evidence, loss

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def undisturbed():
    return loss(evidence(), train(evidence(), CONFIG, LocalBackend()))


def checkpoints(path, **options):
    return Checkpoints(str(path), every=CONFIG.checkpoint_every, **options)


def stored_blocks(path):
    return len(list((path / "blocks").iterdir()))


PHASES = {  # the function at work when a worker is killed, and what the training goes on after
    "scatter": "the start",  # load
    "_wishes": "the start",  # shuffle
    "outgoing": "the start",  # publish
    "solve_part": "the start",
    "_stored": "the start",  # the first checkpoint
    "finished": "sweep 6",  # gather
}


def test_a_worker_killed_in_each_phase(cluster, tmp_path, undisturbed):
    lines = Lines()
    with Dangerous(2, PHASES) as backend, report_to(lines):
        kept = checkpoints(tmp_path)
        factors = train(evidence(), CONFIG, backend, checkpoints=kept)
        assert backend.left == []
        assert backend.n_workers == 2
    assert loss(evidence(), factors) == pytest.approx(undisturbed, rel=1e-4)
    lost = [line for line in lines.said if line.startswith("workers lost: ")]
    assert [line.rpartition("going on after ")[2] for line in lost] == list(PHASES.values())
    assert lines.said.count("2 workers are at work again") == len(PHASES)
    assert {figures["iteration"] for figures in lines.figures} == set(range(1, 9))


def test_random_kills(cluster, tmp_path, undisturbed):
    """benchmarks/recovery.py does it twenty times."""
    chance, kills = random.Random(0), 3

    def maybe(sweep):
        nonlocal kills
        if kills and chance.random() < 0.5:
            kills -= 1
            os.kill(chance.choice(backend.workers).pid, signal.SIGKILL)

    lines = Lines(maybe)
    with Dangerous(2, []) as backend, report_to(lines):
        factors = train(evidence(), CONFIG, backend, checkpoints=checkpoints(tmp_path))
    assert kills == 0
    assert loss(evidence(), factors) == pytest.approx(undisturbed, rel=1e-4)
    assert sum("workers lost" in line for line in lines.said) in (2, 3)


def test_a_training_that_never_gets_anywhere_ends(cluster):
    with Dangerous(2, ["scatter"] * 100) as backend:
        backend.renew = lambda: None  # with the dead worker still in the group
        with pytest.raises(WorkersLostError, match=r"^Actor"):
            train(evidence(), CONFIG, backend)


def test_a_node_that_is_gone_leaves_a_smaller_group(tmp_path, undisturbed):
    done = subprocess.run(
        [sys.executable, HERE / "losing_a_node.py", tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["workers"] == [2, 1]
    assert found["loss"] == pytest.approx(undisturbed, rel=1e-4)
    # The workers of a lost raylet live on for a moment, so the sweep differs.
    assert any("workers lost" in line and "after sweep" in line for line in found["said"])


@pytest.mark.parametrize("n_workers", [1, 3])
def test_a_checkpoint_serves_workers_of_any_number(tmp_path, undisturbed, n_workers):
    def stop(sweep):
        if sweep == 5:
            raise KeyboardInterrupt

    with report_to(Lines(stop)), pytest.raises(KeyboardInterrupt):
        train(evidence(), CONFIG, LocalBackend(2), checkpoints=checkpoints(tmp_path))
    lines = Lines()
    with report_to(lines):
        kept = checkpoints(tmp_path, resume=True)
        factors = train(evidence(), CONFIG, LocalBackend(n_workers), checkpoints=kept)
    assert lines.said == ["going on after sweep 4 of 8"]
    assert [figures["iteration"] for figures in lines.figures] == [5, 6, 7, 8]
    assert loss(evidence(), factors) == pytest.approx(undisturbed, rel=1e-4)
    assert stored_blocks(tmp_path) <= 2 * 2 * 3 + 2, "only the last checkpoint is kept"
    kept.clear()
    assert stored_blocks(tmp_path) == 0 and not (tmp_path / "manifest.json").exists()


def test_a_checkpoint_keeps_the_biases_of_time_bins(tmp_path):
    config = replace(CONFIG, drift_bins=3, drift_regularization=1.0)
    matrix = evidence()
    at = np.random.default_rng(1).integers(0, 10**12, matrix.nnz)
    wanted = train(matrix, config, LocalBackend(2), at=at)

    def stop(sweep):
        if sweep == 5:
            raise KeyboardInterrupt

    with report_to(Lines(stop)), pytest.raises(KeyboardInterrupt):
        train(matrix, config, LocalBackend(2), at=at, checkpoints=checkpoints(tmp_path))
    kept = checkpoints(tmp_path, resume=True)
    assert kept.latest().state.iteration == 4
    found = train(matrix, config, LocalBackend(2), at=at, checkpoints=kept)
    # With biases that begin at zero again, 8e-4 and 2e-2.
    np.testing.assert_allclose(found.item_drift, wanted.item_drift, atol=1e-6)
    np.testing.assert_allclose(found.item_factors, wanted.item_factors, atol=1e-5)


def test_without_resume_a_checkpoint_is_ignored(tmp_path):
    train(evidence(), CONFIG, LocalBackend(), checkpoints=checkpoints(tmp_path))
    lines = Lines()
    with report_to(lines):
        train(evidence(), CONFIG, LocalBackend(), checkpoints=checkpoints(tmp_path))
    assert len(lines.figures) == 8 and not lines.said


def test_a_kill_while_the_manifest_is_written_leaves_the_one_before(tmp_path, undisturbed):
    done = subprocess.run(
        [sys.executable, HERE / "killed_at_the_manifest.py", tmp_path],
        timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.glob("manifest.json.*.part")), "killed in the midst of writing"
    lines = Lines()
    with report_to(lines):
        kept = checkpoints(tmp_path, resume=True)
        factors = train(evidence(), CONFIG, LocalBackend(), checkpoints=kept)
    assert lines.said == ["going on after sweep 2 of 8"]
    assert loss(evidence(), factors) == pytest.approx(undisturbed, rel=1e-4)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk wants root; run as root")
def test_a_full_disk_ends_no_training(tmp_path, undisturbed):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=80k", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk is not allowed here; run with CAP_SYS_ADMIN")
    try:
        lines = Lines()
        with report_to(lines):
            kept = checkpoints(tmp_path)
            factors = train(evidence(), CONFIG, LocalBackend(2), checkpoints=kept)
        before = kept.latest()
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert loss(evidence(), factors) == pytest.approx(undisturbed, rel=1e-4)
    assert before.state.iteration == 2, "one checkpoint fits, a second beside it does not"
    assert len(lines.said) == 2 and "No space left on device; the one before stays" in lines.said[0]


def test_a_damaged_checkpoint_is_refused_with_the_next_step(tmp_path):
    train(evidence(), CONFIG, LocalBackend(), checkpoints=checkpoints(tmp_path))
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"cannot be read .*; train without --resume"):
        checkpoints(tmp_path, resume=True).latest()


def recsys(*arguments):
    return [sys.executable, "-m", "recsys", *map(str, arguments)]


def test_train_goes_on_after_the_driver_was_killed(tmp_path):
    matrix = evidence().tocoo()
    table = pa.table(
        {
            "user_id": [f"u{u}" for u in matrix.coords[0]],
            "item_id": [f"i{i}" for i in matrix.coords[1]],
            "kind": ["stream"] * matrix.nnz,
        }
    )
    dataset = Dataset(tmp_path / "dataset")
    with dataset.transaction() as transaction:
        transaction.append("events", [table], source="test", fingerprint="1")
    settings = ["--set", "collaborative.checkpoint_every=1", "--set", "collaborative.factors=4"]
    settings += ["--set", "collaborative.iterations=4000", "--only", "collaborative"]
    command = recsys("train", tmp_path / "dataset", tmp_path / "models", *settings)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "models" / "checkpoints").glob("*/manifest.json")):
        assert first.poll() is None, "it ended before it could be killed"
    first.kill()
    first.wait()
    manifest = next((tmp_path / "models" / "checkpoints").glob("*/manifest.json"))
    reached = json.loads(manifest.read_text())
    # So that the second run need not walk all the way.
    manifest.write_text(json.dumps(reached | {"iteration": 3990}))
    done = subprocess.run(
        [*command, "--resume", "--figures"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert {"going on after sweep 3990 of 4000"} <= {line.get("note") for line in said}
    figures = [line for line in said if "entries_per_s" in line]
    assert [line["iteration"] for line in figures] == list(range(3991, 4001))
    assert figures[0]["eta_s"] > 0 and figures[0]["peak_bytes"] > 1e7
    assert not manifest.exists(), "a finished training leaves no checkpoint"
