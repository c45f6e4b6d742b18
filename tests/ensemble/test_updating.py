"""What is new joins the version that serves, and what was learned stays."""

from __future__ import annotations

import json
import mmap
import sys
from shutil import copytree

import numpy as np
import pyarrow as pa
import pytest

from recsys import retrieval
from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.cli import main
from recsys.config import CollaborativeConfig, Config
from recsys.data.dataset import Dataset
from recsys.data.world import make_world
from recsys.ensemble.recommender import HybridRecommender
from recsys.ensemble.updating import update
from recsys.errors import UsageError
from recsys.pipeline import build, read_source
from recsys.retrieval import ApproximateIndex


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A small demo world and a version of it."""
    folder = tmp_path_factory.mktemp("first")
    world = make_world(folder, scale=0.05)
    config = Config(collaborative=CollaborativeConfig(factors=8, iterations=3, features=("text",)))
    build(read_source(world.dataset), config, LocalBackend(), Models(folder / "models"))
    return folder


@pytest.fixture
def trained(first, tmp_path):
    """A copy of both."""
    for name in ("dataset", "models"):
        copytree(first / name, tmp_path / name)
    return Dataset(tmp_path / "dataset"), Models(tmp_path / "models")


def append(dataset, **tables):
    with dataset.transaction() as transaction:
        for table, rows in tables.items():
            columns = {name: [row[name] for row in rows] for name in rows[0]}
            transaction.append(table, [pa.table(columns)], source="new", fingerprint=table)


def updated(dataset, models, **options):
    source = read_source(dataset)
    return update(source.dataset, source.catalogue, source.events, models, **options)


def test_nothing_new_changes_nothing(trained):
    dataset, models = trained
    before = HybridRecommender.load(models.open())
    done = updated(dataset, models)
    after = HybridRecommender.load(models.open(done.version))
    assert (done.items, done.users, done.artists, done.refreshed) == (0, 0, 0, 0)
    assert done.blocks_reused == len(models.open(done.version).arrays)
    for user in list(after.catalogue.users)[:5]:
        assert after.recommend(user) == before.recommend(user)


def test_a_release_that_nobody_played_is_there_the_same_day(trained, monkeypatch, capsys):
    """By the command line; it stands where its artist does, and in someone's Discover Weekly."""
    dataset, models = trained
    before = HybridRecommender.load(models.open())
    loved = np.argsort(-before.listeners_of, kind="stable")[0]
    artist = before.catalogue.artists[int(before.catalogue.item_artist[loved])]
    fresh = [{"item_id": f"0new{n}", "artist_id": artist, "title": f"New {n}"} for n in range(3)]
    append(dataset, items=fresh)
    arguments = ["recsys", "update", str(dataset.folder.path), models.folder.path, "--json"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    done = json.loads(capsys.readouterr().out)
    assert done["items"] == 3 and done["users"] == 0 and done["blocks_reused"] > 5
    after = HybridRecommender.load(models.open())
    assert after.version == done["version"]
    rows = after.catalogue.items.rows([one["item_id"] for one in fresh])
    assert all(space[rows].any() for space in after.spaces.values())
    was, now = before.catalogue, after.catalogue
    same = was.items.rows(now.items.to_arrow())
    kept = same >= 0
    for name, vectors in before.spaces.items():
        np.testing.assert_array_equal(after.spaces[name][kept], vectors[same[kept]])
    plays = after.interactions.plays
    fans = np.flatnonzero(plays[:, [now.items.row(before.catalogue.items[loved])]].toarray())[:10]
    shown = {e.item_id for user in fans for e in after.weekly(now.users[user], "2026-W47")}
    assert shown & {one["item_id"] for one in fresh}


def test_new_listeners_and_events_are_solved_beside_the_items(trained):
    dataset, models = trained
    before = HybridRecommender.load(models.open())
    known, items = before.catalogue.users[3], [before.catalogue.items[n] for n in (5, 9, 14)]
    events = [
        {"user_id": user, "item_id": item, "kind": "stream", "value": 9.0}
        for user in ("a new one", known)
        for item in items
    ]
    append(dataset, events=events)
    done = updated(dataset, models)
    assert (done.users, done.refreshed, done.items) == (1, 1, 0)
    after = HybridRecommender.load(models.open(done.version))
    row = after.catalogue.users.row("a new one")
    evidence = after.interactions.evidence
    np.testing.assert_allclose(
        after.factors.user_factors[row], before.factors.fold_in(evidence[[row]])[0][0], atol=1e-5
    )
    other, was = after.catalogue.users.row(known), before.catalogue.users.row(known)
    assert (after.factors.user_factors[other] != before.factors.user_factors[was]).any()
    untouched = after.catalogue.users.row(before.catalogue.users[4])
    np.testing.assert_array_equal(
        after.factors.user_factors[untouched], before.factors.user_factors[4]
    )
    assert not {e.item_id for e in after.recommend("a new one")} & set(items)


def _ground(array):
    """Return what an array is a view of in the end."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array


def test_given_vectors_and_grown_graphs(trained, monkeypatch):
    dataset, models = trained
    monkeypatch.setattr(retrieval, "APPROXIMATE_FROM", 10)
    monkeypatch.setattr(retrieval, "_K", 10)
    source = read_source(dataset)
    config = Config.from_dict(models.open().facts["config"], source="test")
    bundle = models.open(build(source, config, LocalBackend(), models))
    assert bundle.group("index/text") and bundle.group("index/collaborative")
    before = HybridRecommender.load(bundle)
    index = before.ensemble.spaces["text"].index
    assert isinstance(index, ApproximateIndex)
    # Replicas of one machine have in memory once what is a file.
    for array in (*index.arrays.values(), before.ensemble.spaces["text"].vectors):
        assert array.size == 1 or isinstance(_ground(array), mmap.mmap)
    append(dataset, items=[{"item_id": "0new", "artist_id": None, "title": "New"}])
    vector = before.spaces["text"][7:8]
    with pytest.raises(UsageError, match=r"text vectors: want shape \(1, "):
        updated(dataset, models, given={"text": (["0new"], vector[:, :3])})
    done = updated(dataset, models, given={"text": (["0new"], vector)})
    after = HybridRecommender.load(models.open(done.version))
    row = after.catalogue.items.row("0new")
    graph = ApproximateIndex.from_arrays(models.open(done.version).group("index/text")).graph
    assert len(graph) == after.catalogue.n_items
    twin = after.catalogue.items.row(before.catalogue.items[7])
    alike = after.spaces["text"][graph[row][graph[row] >= 0]] @ vector[0]
    assert alike.max() == pytest.approx(float(vector[0] @ vector[0]), abs=1e-5)
    assert row in graph[twin] or alike[0] >= 0.99


def test_what_cannot_be_updated_is_named(trained):
    dataset, models = trained
    former = models.open()
    writer = models.write()
    for name, blocks in former.arrays.items():
        writer.add_blocks(name, blocks)
    writer.add("else/array", np.zeros(3))
    writer.note(**former.facts)
    writer.commit()
    with pytest.raises(UsageError, match="else/array cannot be updated; run `recsys train`"):
        updated(dataset, models)
