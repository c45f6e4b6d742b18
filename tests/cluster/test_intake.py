"""A log that the workers read themselves gives what a log in one process gives, array for array."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

from recsys import retrieval
from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.cluster import intake, served
from recsys.cluster.scale import build_sharded
from recsys.collaborative.factors import Factors
from recsys.config import (
    CollaborativeConfig,
    Config,
    EnsembleConfig,
    InteractionsConfig,
    SlicesConfig,
)
from recsys.data.catalogue import Catalogue
from recsys.data.collections import Collections
from recsys.data.dataset import Dataset
from recsys.data.interactions import Interactions
from recsys.ensemble.segments import Segments
from recsys.errors import ConfigError, InputError, UsageError
from recsys.pipeline import build, read_source
from recsys.progress import report_to
from recsys.retrieval import ApproximateIndex
from tests.cluster.faults import Dangerous, Lines

CONFIG = Config(
    interactions=InteractionsConfig(half_life_days=300.0),
    collaborative=CollaborativeConfig(factors=4, iterations=3, regularization=1.0, num_threads=1),
    slices=SlicesConfig(),
)
KINDS = ["stream", "stream", "stream", "skip", "save", "artist_visit", "rating", "follow"]


def log(seed, n=4000, n_users=150, n_items=60, *, timed):
    """Events of every kind; some event ids come twice, some listeners are far more active."""
    rng = np.random.default_rng(seed)
    users = (n_users * rng.random(n) ** 3).astype(int)
    kinds = rng.choice(KINDS, n)
    values = np.where(kinds == "rating", rng.integers(1, 6, n), rng.integers(1, 4, n))
    artists = [k in ("artist_visit", "follow") for k in kinds]
    items = rng.zipf(1.4, n) % n_items
    event_id = [f"{user}-{number % 3000}" for number, user in enumerate(users)] if timed else None
    at = 1_600_000_000_000 + rng.integers(0, 10**11, n)
    return pa.table(
        {
            "event_id": pa.array(event_id or [None] * n, pa.string()),
            "user_id": [f"löwe {user}" for user in users],
            "item_id": pa.array(
                [None if a else f"i{i}" for i, a in zip(items, artists, strict=True)], pa.string()
            ),
            "artist_id": pa.array(
                [f"a{i % 9}" if a else None for i, a in zip(items, artists, strict=True)],
                pa.string(),
            ),
            "kind": kinds.tolist(),
            "value": values.astype(float),
            "at": pa.array(at if timed else [None] * n, pa.timestamp("ms", tz="UTC")),
            "organic": rng.random(n) < 0.8,
        }
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    dataset = Dataset(tmp_path_factory.mktemp("dataset"))
    items = pa.table(
        {
            "item_id": [f"i{i}" for i in range(70)],
            "artist_id": [f"a{i % 9}" for i in range(70)],
            "isrc": [f"R{i // 2}" for i in range(70)],
            "labels": [["calm"] if i % 2 else ["loud", "fast"] for i in range(70)],
        }
    )
    lists = pa.table(
        {
            "collection_id": [f"c{i}" for i in range(12)],
            "title": [f"list {i}" for i in range(12)],
            "owner_id": [None, "nobody", *(f"löwe {i}" for i in range(0, 100, 10))],
            "item_ids": [[f"i{j}" for j in range(i, 60, 7)] for i in range(12)],
        }
    )
    with dataset.transaction() as transaction:
        transaction.append("items", [items], source="items", fingerprint="i")
        transaction.append("collections", [lists], source="lists", fingerprint="c")
        for number, timed in enumerate([True, False, True, False]):
            table = log(number, timed=timed)
            # Row groups far smaller than the default, so that there is something to share out.
            batches = [table.slice(first, 500) for first in range(0, len(table), 500)]
            transaction.append("events", batches, source=f"log {number}", fingerprint=str(number))
    return dataset


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    models = Models(tmp_path_factory.mktemp("models"))
    build(read_source(dataset), CONFIG, LocalBackend(), models)
    return models.open()


def assert_same_version(found, wanted):
    ours, theirs = Catalogue.read(found), Catalogue.read(wanted)
    assert list(ours.users) == list(theirs.users)
    assert list(ours.items) == list(theirs.items)
    mine, other = Interactions.read(found), Interactions.read(wanted)
    for field in fields(Interactions):
        a, b = getattr(mine, field.name), getattr(other, field.name)
        if isinstance(a, csr_array):
            assert a.shape == b.shape and a.has_sorted_indices, field.name
            np.testing.assert_array_equal(a.indptr, b.indptr, err_msg=field.name)
            np.testing.assert_array_equal(a.indices, b.indices, err_msg=field.name)
            a, b = a.data, b.data
        np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=field.name)
    ours, theirs = Factors.read(found), Factors.read(wanted)
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=2e-3)
    if theirs.item_drift is not None:
        np.testing.assert_array_equal(ours.drift_edges, theirs.drift_edges)
        np.testing.assert_allclose(ours.item_drift, theirs.item_drift, atol=2e-3)
    ours, theirs = Collections.read(found), Collections.read(wanted)
    np.testing.assert_array_equal(ours.owner, theirs.owner)
    assert (ours.items != theirs.items).nnz == 0
    ours, theirs = Segments.read(found), Segments.read(wanted)
    assert ours.of_user.shape == theirs.of_user.shape
    # A listener between two groups may fall to the other side by rounding.
    assert np.mean(ours.of_user == theirs.of_user) > 0.95
    assert set(found.arrays) == set(wanted.arrays)
    assert found.facts["counts"]["users"] == wanted.facts["counts"]["users"]


@pytest.mark.parametrize("n_workers", [1, 2, 3, 7])
def test_workers_read_what_one_process_reads(dataset, whole, tmp_path, monkeypatch, n_workers):
    monkeypatch.setattr(intake, "_ROUND", 1100)  # several rounds
    models = Models(tmp_path)
    build_sharded(dataset, CONFIG, LocalBackend(n_workers), models)
    assert_same_version(models.open(), whole)
    assert len(models.open().arrays["collaborative/user_factors"]) == n_workers
    assert not list((tmp_path / "checkpoints").glob("*/blocks/*"))


SETTINGS = {
    "features": {"collaborative.features": ("labels",)},
    "ratings": {"collaborative.feedback": "explicit"},
    "bm25": {"interactions.transform": "bm25", "interactions.bm25_k1": 2.0},
    "drift": {"collaborative.drift_bins": 4},
    "drift of ratings": {"collaborative.drift_bins": 3, "collaborative.feedback": "explicit"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_gives_what_one_process_gives(dataset, tmp_path, name):
    config = replace(CONFIG, ensemble=EnsembleConfig(blend="fusion"))
    for key, value in SETTINGS[name].items():
        stage, _, field = key.partition(".")
        config = replace(config, **{stage: replace(getattr(config, stage), **{field: value})})
    models, sharded = Models(tmp_path / "whole"), Models(tmp_path / "sharded")
    build(read_source(dataset), config, LocalBackend(), models, only=["collaborative"])
    build_sharded(dataset, config, LocalBackend(3), sharded, only=["collaborative"])
    assert_same_version(sharded.open(), models.open())


def test_a_large_catalogue_gets_its_index(dataset, tmp_path, monkeypatch):
    for module in (served, retrieval):
        monkeypatch.setattr(module, "APPROXIMATE_FROM", 50)
    models, sharded = Models(tmp_path / "whole"), Models(tmp_path / "sharded")
    build(read_source(dataset), CONFIG, LocalBackend(), models, only=["collaborative"])
    build_sharded(dataset, CONFIG, LocalBackend(3), sharded, only=["collaborative"])
    ours, theirs = (
        ApproximateIndex.from_arrays(m.open().group("index/collaborative")).graph
        for m in (sharded, models)
    )
    assert ours.shape == theirs.shape
    assert np.mean(ours[:, 0] == theirs[:, 0]) > 0.9
    monkeypatch.setattr(served, "_MOST_LINKED", 60)
    lines = Lines()
    with report_to(lines):
        build_sharded(dataset, CONFIG, LocalBackend(2), sharded, only=["collaborative"])
    assert not sharded.open().group("index/collaborative")
    assert any("70 items are too many for one worker to link" in line for line in lines.said)
    assert "collaborative starts afresh: --sharded goes on from no version" in lines.said


def test_listeners_are_cut_by_events_not_by_number(dataset):
    taken, evidence = intake.take_in(dataset, CONFIG, LocalBackend(4))
    entries = [len(rows.indices) for rows in evidence.rows["users"]]
    listeners = np.diff(taken.user_bounds)
    assert max(entries) < 1.7 * np.mean(entries)
    assert max(listeners) > 1.5 * min(listeners)
    turned = [len(rows.indices) for rows in evidence.rows["items"]]
    assert sum(turned) == sum(entries) == evidence.n_entries
    assert max(turned) < 1.7 * np.mean(turned)


def test_more_workers_than_listeners(tmp_path):
    table = pa.table(
        {"user_id": ["u", "u", "v"], "item_id": ["a", "b", "a"], "kind": ["stream"] * 3}
    )
    dataset = Dataset(tmp_path / "dataset")
    with dataset.transaction() as transaction:
        transaction.append("events", [table], source="test", fingerprint="1")
    models, alone = Models(tmp_path / "sharded"), Models(tmp_path / "whole")
    build_sharded(dataset, CONFIG, LocalBackend(5), models)
    build(read_source(dataset), CONFIG, LocalBackend(), alone)
    assert_same_version(models.open(), alone.open())


def test_what_cannot_be_taken_in_is_refused(dataset, tmp_path):
    trees = replace(CONFIG, ensemble=EnsembleConfig(blend="trees"))
    with pytest.raises(ConfigError, match=r"trees is learned from the whole log .* take fusion"):
        build_sharded(dataset, trees, LocalBackend(2), Models(tmp_path))
    with pytest.raises(InputError, match="no events; bring some"):
        build_sharded(Dataset(tmp_path / "none"), CONFIG, LocalBackend(2), Models(tmp_path))
    with pytest.raises(UsageError, match="name it in --only"):
        build_sharded(dataset, CONFIG, LocalBackend(2), Models(tmp_path), only=["text"])


PHASES = [
    "_seen",  # load
    "_by_range",  # sort
    "_sent",  # shuffle
    "_summed",
    "_columns",  # turn round
    "_written",  # the version's blocks
]


def test_a_worker_killed_in_each_phase_of_taking_in(dataset, whole, cluster, tmp_path):
    lines = Lines()
    with Dangerous(2, PHASES) as backend, report_to(lines):
        build_sharded(dataset, CONFIG, backend, Models(tmp_path))
        assert backend.left == []
    assert_same_version(Models(tmp_path).open(), whole)
    lost = [line for line in lines.said if line.startswith("workers lost: ")]
    assert len(lost) == len(PHASES)
    assert all(line.endswith("going on after the start") for line in lost)


def command(dataset, models):
    line = [sys.executable, "-m", "recsys", "train", dataset.folder.path, models]
    line += ["--sharded", "--workers", "2", "--json", "--set", "interactions.half_life_days=300"]
    for key in ("factors=4", "iterations=3", "regularization=1.0", "num_threads=1"):
        line += ["--set", f"collaborative.{key}"]
    return line


def test_train_sharded_from_the_command_line_after_a_kill(dataset, whole, tmp_path):
    """SIGKILL of the driver in the shuffle; the command repeated makes the version."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    line = [*command(dataset, tmp_path / "models"), "--figures", "--resume"]
    with subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True) as first:
        for said in first.stderr:
            if said.startswith("{") and json.loads(said).get("task") == "log: rounds":
                first.kill()
                break
    assert first.returncode == -signal.SIGKILL
    assert not Models(tmp_path / "models").versions()
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["users"] == whole.facts["counts"]["users"]
    assert_same_version(Models(tmp_path / "models").open(), whole)
