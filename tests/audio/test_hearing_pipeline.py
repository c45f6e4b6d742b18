"""`recsys train` with sound: the networks learn, join the audio space, and draw new items."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys.audio.answers import unpacked
from recsys.backend import LocalBackend
from recsys.bundle import Bundle, Models
from recsys.cli import main
from recsys.collaborative.curvature import Curvature
from recsys.collaborative.factors import Factors
from recsys.config import CollaborativeConfig, Config
from recsys.data.world import World, make_world, synthesise
from recsys.pipeline import MODEL_NAMES, Content, Hearing, read_source
from scripts import draw_filters

SMALL = (
    "network.epochs=2", "network.folds=2", "network.filters=[8, 8]", "network.pools=[2, 2]",
    "network.dense=[8]", "collaborative.factors=8", "collaborative.iterations=4",
)  # fmt: skip
Train = Callable[..., Bundle]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("world"), scale=0.06)
    synthesise(made, duration_s=3.0)
    new = pa.table({"item_id": ["new"], "audio_uri": ["../audio/t00001.flac"]})
    with made.dataset.transaction() as transaction:
        transaction.append("items", [new], source="new", fingerprint="new")
    return made


@pytest.fixture
def train(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Run `recsys train` with settings and open what it made."""

    def run(*settings: str) -> Bundle:
        chosen = [part for one in (*SMALL, *settings) for part in ("--set", one)]
        places = [world.folder / "dataset", tmp_path / "models"]
        arguments = ["train", "--unjudged", *places, *chosen]
        monkeypatch.setattr(sys, "argv", ["recsys", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        assert not done.value.code
        return Models(tmp_path / "models").open()

    return run


def test_a_training_is_named_by_the_dataset_that_it_leaves_when_it_has_heard(
    tmp_path: Path,
) -> None:
    """Else the key of its checkpoint would not be found again."""
    world = make_world(tmp_path, scale=0.06)
    synthesise(world, duration_s=3.0)
    config, unheard = Config(), world.dataset.fingerprint()
    hearing = Hearing(world.dataset, config, LocalBackend())
    assert hearing.fingerprint(["collaborative", "text"]) == unheard
    known = hearing.fingerprint(MODEL_NAMES)
    assert known == world.dataset.fingerprint() != unheard
    assert Hearing(world.dataset, config, LocalBackend()).fingerprint(MODEL_NAMES) == known
    drawn = config.override(['collaborative.features=["audio"]'])
    assert Hearing(world.dataset, drawn, LocalBackend()).wanted(["collaborative"])
    content = Content(read_source(world.dataset), config, hearing=hearing)
    assert content.afresh(content.source).heard is hearing.heard


def test_networks_join_the_audio_space_are_kept_and_drawn(
    train: Train, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = train()
    picture = tmp_path / "filters.png"
    places = [world.folder / "dataset", tmp_path / "models", picture]
    drawing = ["draw_filters", *map(str, places), "--filters", "2"]
    monkeypatch.setattr(sys, "argv", drawing)
    draw_filters.main()
    assert picture.read_bytes().startswith(b"\x89PNG")
    config = Config.from_dict(bundle.facts["config"])
    networks = unpacked(bundle.array("audio/networks"), config.network)
    assert len(networks) == 2
    assert networks[0].direction.out_features == 8
    plain = train("network.enabled=false")
    assert "audio/networks" not in plain
    monkeypatch.setattr(sys, "argv", drawing)
    with pytest.raises(SystemExit, match="no network"):
        draw_filters.main()
    width = bundle.array("audio/item_vectors").shape[1]
    assert width == plain.array("audio/item_vectors").shape[1] + 8
    (folder,) = (tmp_path / "models" / "training").iterdir()
    kept = {path.name for path in folder.iterdir()}
    assert kept == {
        "curves.csv", "curves.png", "fold0.safetensors", "fold1.safetensors", "tensorboard",
    }  # fmt: skip


def test_what_networks_hear_draws_items_that_nobody_played(train: Train) -> None:
    silent = train("collaborative.warm_start=false")
    drawn = train("collaborative.warm_start=false", 'collaborative.features=["audio"]')
    row = drawn.ids("catalogue/items", kind="item").row("new")
    assert drawn.array("audio/item_vectors")[row].any()
    assert not silent.array("collaborative/item_factors")[row].any()
    assert drawn.array("collaborative/item_factors")[row].any()


def test_the_weighted_loss_is_reached_by_configuration(train: Train) -> None:
    bundle = train('network.loss="weighted"')
    assert json.loads(json.dumps(bundle.facts["config"]))["network"]["loss"] == "weighted"
    assert "audio/networks" in bundle


def test_the_curvature_is_that_of_the_objective(train: Train) -> None:
    from recsys.data.arrays import read_csr

    bundle = train("network.enabled=false")
    factors = Factors.read(bundle)
    evidence = read_csr(bundle, "interactions/evidence")
    settings: CollaborativeConfig = factors.config
    column = int(evidence.indices[0])
    bent = Curvature(factors, evidence)(np.array([column]))[0]
    confidence = np.full(evidence.shape[0], settings.unobserved_weight)
    stored = evidence[:, [column]].toarray()[:, 0]
    confidence[stored != 0] = 1 + settings.alpha * np.abs(stored[stored != 0])
    users = factors.user_factors.astype(float)
    np.testing.assert_allclose(bent, (users * confidence[:, None]).T @ users, rtol=1e-4)
