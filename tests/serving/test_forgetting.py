"""A deleted listener leaves every file; everybody else's lists stay as they were."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

from recsys.backend import LocalBackend
from recsys.bundle import Models, write_block
from recsys.config import Config
from recsys.data.arrays import Texts, read_csr, write_csr
from recsys.data.dataset import Dataset
from recsys.data.identity import Ids
from recsys.data.importers import import_source
from recsys.data.tombstones import buried, tombstone
from recsys.data.world import World, make_world
from recsys.ensemble.recommender import HybridRecommender
from recsys.errors import NotFoundError
from recsys.pipeline import build, read_source
from recsys.serving import forgetting

CONFIG = Config().override(["collaborative.factors=8", "collaborative.iterations=3"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A tiny world with a version, a weekly list and a rejected row of a listener."""
    world = make_world(tmp_path / "world", seed=0, scale=0.05)
    source = tmp_path / "more.csv"
    user = _busiest(world)
    good = "".join(f"{user},t0000{n % 10},stream,1\n" for n in range(25))
    source.write_text(f"user_id,item_id,kind,value\n{good}{user},t00001,nonsense,1\n")
    import_source("events", source, world.dataset)
    models = Models(world.folder / "models")
    build(read_source(world.dataset), CONFIG, LocalBackend(), models)
    HybridRecommender.load(models.open()).weekly(user, "2026-W47")
    return world


def _busiest(world: World) -> str:
    counts = world.dataset.read("events", ["user_id"])["user_id"].value_counts().to_pylist()
    return str(max(counts, key=lambda entry: (entry["counts"], entry["values"]))["values"])


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recsys", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_forget_takes_a_listener_out_of_every_file(world: World) -> None:
    models, user = Models(world.folder / "models"), _busiest(world)
    before = HybridRecommender.load(models.open())
    others = [id for id in before.catalogue.users if id != user][:5]
    lists = {id: before.recommend(id, 5) for id in others}
    n_users = len(before.catalogue.users)
    files = [p for p in world.folder.rglob("*") if p.is_file() and "truth" not in p.parts]
    named = [p for p in files if user.encode() in p.read_bytes() and p.suffix != ".parquet"]
    assert any("blocks" in p.parts for p in named) and any("rejects" in p.parts for p in named)

    done = run("forget", world.folder / "dataset", world.folder / "models", user, "--json")
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert receipt["pending"] == []
    assert {"events", "weekly lists", "trained versions", "dataset"} <= set(receipt["done"])

    for file in world.folder.rglob("*"):
        if file.is_file() and "truth" not in file.parts:
            assert user.encode() not in file.read_bytes(), file
    again = Dataset(world.folder / "dataset")
    assert user not in again.read("events", ["user_id"])["user_id"].to_pylist()
    assert user not in again.read("collections", ["owner_id"])["owner_id"].to_pylist()
    models.verify()
    after = HybridRecommender.load(models.open())
    assert len(after.catalogue.users) == n_users - 1
    with pytest.raises(NotFoundError):
        after.recommend(user, 5)
    for id, wanted in lists.items():
        got = after.recommend(id, 5)
        # How many play an item together is counted anew, so popularity may break ties otherwise.
        assert {one.item_id for one in got} & {one.item_id for one in wanted}
        row, former = after.catalogue.users.row(id), before.catalogue.users.row(id)
        np.testing.assert_array_equal(
            after.interactions.evidence[[row]].toarray(),
            before.interactions.evidence[[former]].toarray(),
        )
        np.testing.assert_array_equal(
            after.factors.user_factors[row], before.factors.user_factors[former]
        )
    start, end = after.interactions.plays.indptr[[0, 1]]
    assert len(after.interactions.last_played) == after.interactions.plays.nnz
    assert end > start


def test_training_honours_tombstones(world: World, tmp_path: Path) -> None:
    """Even where an import brings the listener's rows again."""
    user = _busiest(world)
    done = run("forget", world.folder / "dataset", world.folder / "models", user)
    assert done.returncode == 0, done.stderr
    assert f"{user} is deleted" in done.stdout
    source = tmp_path / "again.csv"
    source.write_text(f"user_id,item_id,kind\n{user},t00001,stream\nsomeone,t00001,stream\n")
    dataset = Dataset(world.folder / "dataset")
    import_source("events", source, dataset)
    read = read_source(dataset)
    assert read.catalogue.users.row(user) < 0 <= read.catalogue.users.row("someone")
    version = build(read, CONFIG, LocalBackend(), Models(world.folder / "models"))
    users = Models(world.folder / "models").open(version).ids("catalogue/users", kind="user")
    assert users.row(user) < 0


def test_an_unknown_listener_and_folder_are_named(world: World, tmp_path: Path) -> None:
    nobody = run("forget", world.folder / "dataset", world.folder / "models", "nobody")
    assert nobody.returncode == 1 and "no user 'nobody'" in nobody.stderr
    nowhere = run("forget", world.folder / "dataset", tmp_path / "none", "nobody")
    assert nowhere.returncode == 1 and "recsys train" in nowhere.stderr


def test_every_array_with_a_row_per_listener_is_known(world: World) -> None:
    """A model that keeps something for each listener must be named in forgetting.py."""
    bundle = Models(world.folder / "models").open()
    n_users = len(bundle.ids("catalogue/users", kind="user"))
    handled = {"catalogue/users/offsets", *forgetting._BY_USER}
    for name, beside in forgetting._MATRICES.items():
        handled |= {f"{name}/indptr", *beside}
    for name, blocks in bundle.arrays.items():
        rows = sum(block.shape[0] for block in blocks)
        assert rows not in (n_users, n_users + 1) or name in handled, name


def test_ids_are_buried_by_their_hash() -> None:
    gone = buried(pa.array(["a", None, "b", "a"]), {tombstone("a")})
    assert gone.tolist() == [True, False, False, True]
    assert buried(pa.array([], pa.string()), {tombstone("a")}).tolist() == []
    encoded = pa.array(["b", "a", None]).dictionary_encode()
    assert buried(encoded, {tombstone("a")}).tolist() == [False, True, False]


@pytest.mark.parametrize("gone", ["ann", "bob", "cyd"])
def test_lists_of_a_deleted_listener_go_and_other_owners_keep_theirs(
    tmp_path: Path, gone: str
) -> None:
    models, users = Models(tmp_path), ["ann", "bob", "cyd"]
    writer = models.write()
    writer.add_ids("catalogue/users", Ids.from_strings(users, kind="user"))
    owners = ["bob", "editor", "cyd", "ann", "stranger"]
    numbers = {"editor": -1, "stranger": -2}
    rows = [users.index(owner) if owner in users else numbers[owner] for owner in owners]
    writer.add("collections/owner", np.array(rows, np.int32))
    titles = ["bob's", "editor's", "cyd's", None, "stranger's"]
    Texts.from_arrow(pa.array(titles)).write(writer, "collections/titles")
    items = csr_array(np.array([[1, 0], [0, 1], [1, 1], [1, 0], [0, 0]], np.float32))
    write_csr(writer, "collections/items", items)
    version = writer.commit()
    assert forgetting.forget_in(models, version, {tombstone(gone)}) == 1
    bundle, left = models.open(version), [user for user in users if user != gone]
    assert list(bundle.ids("catalogue/users", kind="user")) == left
    kept = [place for place, owner in enumerate(owners) if owner != gone]
    found = bundle.array("collections/owner").tolist()
    assert found == [
        left.index(owners[n]) if owners[n] in left else numbers[owners[n]] for n in kept
    ]
    assert list(Texts.read(bundle, "collections/titles")) == [titles[n] for n in kept]
    np.testing.assert_array_equal(
        read_csr(bundle, "collections/items").toarray(), items.toarray()[kept]
    )
    assert forgetting.forget_in(models, version, {tombstone(gone)}) == 0
    models.verify()


def test_what_lies_beside_a_listener_stays_beside_them(tmp_path: Path) -> None:
    """Rows in several blocks, and values beside the entries of a matrix."""
    models = Models(tmp_path)
    writer = models.write()
    users = ["ann", "bob", "cyd", "dan", "eve"]
    writer.add_ids("catalogue/users", Ids.from_strings(users, kind="user"))
    folder, factors = models.folder, np.arange(10, dtype=np.float32).reshape(5, 2)
    blocks = [write_block(folder, factors[:2]), write_block(folder, factors[2:4])]
    writer.add_blocks("collaborative/user_factors", [*blocks, write_block(folder, factors[4:])])
    writer.add("collaborative/user_biases", np.arange(5, dtype=np.float32))
    plays = csr_array(np.array([[1, 2], [0, 3], [4, 5], [0, 0], [6, 0]], np.float32))
    write_csr(writer, "interactions/plays", plays)
    writer.add("interactions/streamed", 10 * plays.data)
    writer.add("interactions/last_played", (100 * plays.data).astype(np.int64))
    writer.note(counts={"users": 5, "items": 2})
    version = writer.commit()

    assert forgetting.forget_in(models, version, {tombstone("ann"), tombstone("eve")}) == 2
    bundle, kept = models.open(version), [1, 2, 3]
    assert list(bundle.ids("catalogue/users", kind="user")) == ["bob", "cyd", "dan"]
    np.testing.assert_array_equal(bundle.array("collaborative/user_factors"), factors[kept])
    assert bundle.arrays["collaborative/user_factors"][1] == blocks[1]
    assert bundle.array("collaborative/user_biases").tolist() == kept
    after = read_csr(bundle, "interactions/plays")
    np.testing.assert_array_equal(after.toarray(), plays.toarray()[kept])
    np.testing.assert_array_equal(bundle.array("interactions/streamed"), 10 * after.data)
    np.testing.assert_array_equal(bundle.array("interactions/last_played"), 100 * after.data)
    assert bundle.facts["counts"] == {"users": 3, "items": 2}
