"""The network learns what can be heard, and never from the artist for whom it answers."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.audio import answers, training
from recsys.audio.answers import answer, packed, unpacked
from recsys.audio.checkpoints import Checkpoint
from recsys.audio.network import AUXILIARY, TEMPO_CLASSES_BPM, SoundNetwork
from recsys.audio.training import Targets, learn
from recsys.config import NetworkConfig
from recsys.errors import ConfigError, InputError
from recsys.storage import Folder

SMALL = NetworkConfig(
    filters=(12, 16), pools=(2, 2), dense=(24,), crop_frames=24, epochs=12, patience=12,
    folds=2, batch_size=16, dropout=0.1, learning_rate=0.01, device="cpu",
)  # fmt: skip
N, F, MELS = 120, 4, 8


def songs(seed: int = 0) -> tuple[list[np.ndarray], Targets]:
    """Return recordings whose four kinds of movement in time tell the direction of the factors."""
    random = np.random.default_rng(seed)
    kind = random.integers(F, size=N)
    bands = []
    for one in kind.tolist():
        frames = random.integers(30, 50)
        rises = (np.arange(frames) % (2 + one) == 0).astype(float)[:, None]  # once in 2 to 5 frames
        level = random.uniform(0.2, 1) * np.ones(MELS) * 20
        bands.append((-60 + rises * level + random.normal(0, 2, (frames, MELS))).astype(np.float16))
    factors = np.eye(F)[kind] * random.uniform(1, 2, (N, 1)) + random.normal(0, 0.1, (N, F))
    classes = {name: random.integers(-1, n, size=N) for name, n in AUXILIARY.items()}
    targets = Targets(
        factors=factors.astype(np.float32),
        biases=random.normal(0, 1, N).astype(np.float32),
        weights=np.ones(N, np.float32),
        artist=(np.arange(N) // 3).astype(np.int32),
        classes=classes,
    )
    return bands, targets


def cosine(said: np.ndarray, factors: np.ndarray) -> float:
    lengths = np.linalg.norm(said, axis=1) * np.linalg.norm(factors, axis=1)
    return float(((said * factors).sum(axis=1) / lengths).mean())


def test_what_can_be_heard_is_learned_and_curves_are_drawn(tmp_path: Path) -> None:
    bands, targets = songs()
    learned = learn(bands, targets, SMALL, Folder(tmp_path))
    assert learned is not None
    assert cosine(learned.answers.directions, targets.factors) > 0.8
    assert learned.answers.lengths.min() >= 0
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["fold"] for row in rows} == {"0", "1"}
    first, last = float(rows[0]["validation_loss"]), float(rows[11]["validation_loss"])
    assert last < 0.7 * first
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "tensorboard").iterdir())


def test_no_network_answers_for_an_artist_it_has_met() -> None:
    bands, targets = songs()
    few = replace(SMALL, epochs=2)
    plain = learn(bands, targets, few)
    # Other factors of one artist change what is said of others, and nothing of that artist.
    mine = targets.artist == 7
    factors = targets.factors.copy()
    factors[mine] = factors[mine][:, ::-1]
    changed = learn(bands, replace(targets, factors=factors), few)
    assert plain is not None and changed is not None
    difference = np.abs(changed.answers.directions - plain.answers.directions).max(axis=1)
    assert difference[mine].max() == 0 < difference[~mine].max()


def test_items_that_nobody_played_get_the_mean_of_all_networks() -> None:
    bands, targets = songs()
    cold = (targets.artist >= 36) | (np.arange(N) % 10 == 0)  # new artists, and new of known ones
    factors = np.where(cold[:, None], 0, targets.factors).astype(np.float32)
    few = replace(SMALL, epochs=3)
    learned = learn(bands, replace(targets, factors=factors), few)
    assert learned is not None
    each = [answer(network, bands, few).directions for network in learned.networks]
    np.testing.assert_allclose(
        learned.answers.directions[cold], np.mean(each, axis=0)[cold], atol=1e-5
    )
    again = unpacked(packed(learned.networks), few)
    for before, after in zip(each, again, strict=True):
        np.testing.assert_array_equal(answer(after, bands, few).directions, before)


def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bands, targets = songs()
    few = replace(SMALL, epochs=4)
    whole = learn(bands, targets, few)
    save = Checkpoint.save

    def killed(self, state, network, optimizer):
        save(self, state, network, optimizer)
        if state.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        learn(bands, targets, few, Folder(tmp_path))
    monkeypatch.setattr(Checkpoint, "save", save)
    passes = []
    one_pass = training._pass
    monkeypatch.setattr(
        training, "_pass", lambda *given: (passes.append(given[2].epoch), one_pass(*given))
    )
    resumed = learn(bands, targets, few, Folder(tmp_path))
    assert whole is not None and resumed is not None
    assert sorted(passes) == [2, 2, 3, 3]
    np.testing.assert_allclose(resumed.answers.directions, whole.answers.directions, atol=1e-6)

    other = replace(few, filters=(8, 16))
    with pytest.raises(InputError, match=r"fold0\.safetensors: not a state of this training"):
        learn(bands, targets, other, Folder(tmp_path))


def test_training_stops_early_at_its_best(tmp_path: Path) -> None:
    bands, targets = songs()
    shuffled = np.random.default_rng(0).permutation(targets.factors)
    hopeless = replace(targets, factors=shuffled)
    learned = learn(bands, hopeless, replace(SMALL, epochs=40, patience=2), Folder(tmp_path))
    assert learned is not None
    rows = (tmp_path / "curves.csv").read_text().splitlines()[1:]
    assert len(rows) < 2 * 40


def test_the_weighted_loss_cares_for_what_bends_it() -> None:
    bands, targets = songs()
    bent = np.diag([100.0, 1.0, 1.0, 1.0]).astype(np.float32)
    bending = replace(targets, curvature=lambda rows: np.repeat(bent[None], len(rows), axis=0))
    few = replace(SMALL, epochs=6)
    plain = learn(bands, targets, few)
    weighted = learn(bands, bending, replace(few, loss="weighted"))
    assert plain is not None and weighted is not None
    unit = targets.factors / np.linalg.norm(targets.factors, axis=1, keepdims=True)

    def missed(learned: training.Learned, column: int) -> float:
        return float(((learned.answers.directions - unit)[:, column] ** 2).mean())

    assert missed(weighted, 1) > missed(plain, 1)


def test_short_recordings_go_round_and_long_ones_are_covered() -> None:
    assert answers._starts(10, 24).tolist() == [0]
    assert answers._starts(24, 24).tolist() == [0]
    starts = answers._starts(100, 24)
    assert starts[0] == 0 and starts[-1] == 76 and np.diff(starts).max() <= 24
    assert answers.crop(np.arange(3)[:, None], 0, 7)[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_heads_and_shapes() -> None:
    published = NetworkConfig(
        filters=(256, 256, 256, 512), pools=(4, 2, 2, 1), dense=(2048, 2048), crop_frames=599
    )
    assert SoundNetwork.least_frames(published) < 599
    with torch.device("meta"):
        network = SoundNetwork(128, 40, published)
        said = network(torch.zeros(2, 128, 599))
    assert said.direction.shape == (2, 40) and said.size.shape == (2, 2)
    assert said.auxiliary["tempo"].shape == (2, len(TEMPO_CLASSES_BPM) + 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pools": (2,)}, "want one of each per convolution"),
        ({"crop_frames": 5}, "network.crop_frames: want at least 13"),
        ({"folds": 1}, "network.folds: want 2 or more"),
        ({"validation": 0.0}, "network.validation: want above 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes: dict, said: str) -> None:
    bands, targets = songs()
    with pytest.raises(ConfigError, match=said):
        learn(bands, targets, replace(SMALL, **changes))


def test_too_few_artists_give_no_network() -> None:
    bands, targets = songs()
    assert learn(bands, replace(targets, artist=np.zeros(N, np.int32)), SMALL) is None
