"""From labels, texts and sounds of a dataset to vectors of tracks that nobody has played yet."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import rankdata

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.cli import main
from recsys.cli.console import ConsoleReporter
from recsys.collaborative.checks import checked_features
from recsys.collaborative.factors import Factors
from recsys.config import AudioConfig, CollaborativeConfig, Config, TextConfig
from recsys.data.arrays import Tags
from recsys.data.interactions import build_interactions
from recsys.data.world import World, make_world, synthesise
from recsys.errors import InputError
from recsys.pipeline import Content, Source, build, read_source
from recsys.progress import report_to


@dataclass(frozen=True)
class Withheld:
    """A demo world of which a fifth of the tracks lose all their events."""

    world: World
    source: Source
    cold: np.ndarray
    loved: np.ndarray
    """(n_users, n_cold) bool, by the events that were taken away."""


@pytest.fixture(scope="module")
def withheld(tmp_path_factory):
    world = make_world(tmp_path_factory.mktemp("world"), scale=0.1)
    source = read_source(world.dataset)
    tracks = np.flatnonzero(source.catalogue.of_kind("track"))
    cold = np.sort(np.random.default_rng(0).choice(tracks, len(tracks) // 5, replace=False))
    evidence = build_interactions(source.events, source.catalogue, Config().interactions).evidence
    loved = evidence[:, cold].toarray() > 0
    about = source.events.item
    # Visits and follows speak for all of an artist's items, so they would warm the cold ones.
    kept = (about >= 0) & ~np.isin(about, cold)
    return Withheld(world, replace(source, events=source.events.take(kept)), cold, loved)


def config_of(*features, **changes):
    settings = CollaborativeConfig(factors=16, iterations=8, features=features, num_threads=1)
    return Config(collaborative=replace(settings, **changes))


def trained(withheld, folder, *features):
    version = build(
        withheld.source,
        config_of(*features),
        LocalBackend(),
        Models(folder),
        only=["collaborative"],
    )
    return Models(folder).open(version)


def area_under_curve(factors, withheld):
    """Return the chance that a cold track a listener loved is ranked above one they did not."""
    scores = factors.user_factors @ factors.item_factors[withheld.cold].T
    areas = []
    for own, loved in zip(scores, withheld.loved, strict=True):
        n, m = loved.sum(), (~loved).sum()
        if n and m:
            areas.append((rankdata(own)[loved].sum() - n * (n + 1) / 2) / (n * m))
    return np.mean(areas)


@pytest.mark.parametrize(("features", "least"), [(("text",), 0.75), (("labels",), 0.6)])
def test_tracks_without_plays_are_ranked_by_what_is_known_of_them(
    withheld, tmp_path, features, least
):
    without = Factors.read(trained(withheld, tmp_path))
    assert without.feature_map is None
    assert not without.item_factors[withheld.cold].any()
    bundle = trained(withheld, tmp_path, *features)
    assert bundle.facts["trained"] == ["collaborative"], "text was an ingredient only"
    assert area_under_curve(Factors.read(bundle), withheld) > least
    assert area_under_curve(without, withheld) == pytest.approx(0.5)


def test_the_command_line_takes_features(withheld, tmp_path, monkeypatch, capsys):
    arguments = [
        "train",
        str(withheld.world.dataset.folder.path),
        str(tmp_path),
        "--only=collaborative,text",
        "--set=collaborative.features=['text', 'labels']",
        "--set=collaborative.iterations=2",
    ]
    monkeypatch.setattr(sys, "argv", ["recsys", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    assert not done.value.code
    assert "trained collaborative, text" in capsys.readouterr().out
    bundle = Models(tmp_path).open()
    factors = Factors.read(bundle)
    n_labels = len(read_source(withheld.world.dataset).catalogue.labels.vocabulary)
    n_columns = bundle.array("text/item_vectors").shape[1] + n_labels
    assert factors.feature_map.shape == (n_columns, factors.config.factors)
    assert factors.config.features == ("text", "labels")


def test_columns_are_text_audio_and_labels_each_of_unit_length(withheld):
    catalogue = withheld.source.catalogue
    synthesise(withheld.world, [catalogue.items[int(i)] for i in withheld.cold[:6]], duration_s=1.5)
    config = replace(
        config_of("labels", "audio", "text"),
        text=TextConfig(dimensions=8),
        audio=AudioConfig(dimensions=3),
    )
    content = Content(withheld.source, config)
    features = content.features()
    assert features.shape == (catalogue.n_items, 8 + 3 + len(catalogue.labels.vocabulary))
    np.testing.assert_array_equal(features[:, :8], content.text.item_vectors)
    np.testing.assert_array_equal(features[:, 8:11], content.audio.item_vectors)
    tagged = catalogue.labels.matrix().toarray() > 0
    np.testing.assert_array_equal(features[:, 11:] > 0, tagged)
    lengths = np.linalg.norm(features[:, 11:], axis=1)
    np.testing.assert_allclose(lengths, tagged.any(axis=1), atol=1e-6)


def test_more_labels_than_fit_are_projected(withheld):
    n_items = withheld.source.catalogue.n_items
    words = np.random.default_rng(0).integers(0, 900, (n_items, 20)).astype(str)
    tags = Tags.from_arrow(_lists(words))
    catalogue = replace(withheld.source.catalogue, labels=tags)
    rows = Content(replace(withheld.source, catalogue=catalogue), config_of("labels")).features()
    given = tags.matrix().toarray()
    given /= np.linalg.norm(given, axis=1, keepdims=True)
    assert given.shape[1] > 512 >= rows.shape[1]
    # There are fewer items than columns, so that nothing is lost.
    np.testing.assert_allclose(rows @ rows.T, given @ given.T, atol=1e-4)


def test_what_the_dataset_lacks_is_said_and_left_out(withheld, capsys):
    nothing = Tags.from_arrow(_lists([[] for _ in range(withheld.source.catalogue.n_items)]))
    catalogue = replace(withheld.source.catalogue, labels=nothing)
    source = replace(withheld.source, catalogue=catalogue)
    with report_to(ConsoleReporter()):
        assert Content(source, config_of("labels")).features() is None
    assert "collaborative: no labels to take features from" in capsys.readouterr().err
    assert Content(withheld.source, config_of()).features() is None


def test_no_more_columns_than_the_training_takes(withheld):
    wide = np.ones((withheld.source.catalogue.n_items, 512), np.float32)
    content = Content(withheld.source, config_of("text", "labels"))
    content.__dict__["text"] = replace(content.text, item_vectors=wide)
    with pytest.raises(InputError, match=r"at most 512\), got \(\d+, 513"):
        checked_features(content.features(), len(wide))


def _lists(rows):
    return pa.array([list(row) for row in rows], pa.list_(pa.string()))
