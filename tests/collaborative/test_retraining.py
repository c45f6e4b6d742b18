"""A retraining lies where the version before it lay, and is no worse for having started there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.collaborative.factors import Factors
from recsys.config import CollaborativeConfig, Config
from recsys.data.catalogue import read_catalogue
from recsys.data.dataset import Dataset
from recsys.data.interactions import build_interactions, read_events
from recsys.pipeline import Source, build
from recsys.progress import report_to

FACTORS = 8


def source_of(folder, *, n_items=60, seed=0, n_plays=1500, prefix="i"):
    """A source of 80 listeners with tastes in four groups of items."""
    rng = np.random.default_rng(seed)
    users = rng.integers(0, 80, n_plays)
    items = 4 * rng.integers(0, n_items // 4, n_plays) + (users + (rng.random(n_plays) < 0.2)) % 4
    table = pa.table(
        {
            "user_id": [f"u{user:02}" for user in users],
            "item_id": [f"{prefix}{item:02}" for item in items],
            "kind": ["stream"] * n_plays,
        }
    )
    dataset = Dataset(folder)
    with dataset.transaction() as transaction:
        transaction.append("events", [table], source="test", fingerprint="1")
    catalogue = read_catalogue(dataset)
    return Source(dataset, catalogue, read_events(dataset, catalogue))


def config_of(**changes):
    settings = CollaborativeConfig(factors=FACTORS, iterations=15, num_threads=1, alpha=3.0)
    return Config(collaborative=replace(settings, **changes))


def trained(source, models, **changes):
    version = build(source, config_of(**changes), LocalBackend(), models, only=["collaborative"])
    return Factors.read(models.open(version))


def loss_of(factors, source):
    """Return the objective over all pairs, in float64, under the factors' own configuration."""
    config = factors.config
    r = build_interactions(source.events, source.catalogue, Config().interactions).evidence
    r = r.toarray().astype(float)
    x, y = factors.user_factors.astype(float), factors.item_factors.astype(float)
    error = (r > 0) - x @ y.T - factors.user_biases[:, None] - factors.item_biases
    return ((1 + config.alpha * r) * error**2).sum() + config.regularization * (
        (x**2).sum() + (y**2).sum()
    )


@pytest.fixture
def week(tmp_path):
    """The dataset of one week, and that of the next, with six items more, which sort in between."""
    return source_of(tmp_path / "first"), source_of(tmp_path / "next", n_items=66, seed=1)


def test_a_retraining_lies_where_the_version_before_lay(week, tmp_path):
    first, following = week
    models = Models(tmp_path / "models")
    former = trained(first, models)
    rows = following.catalogue.items.rows(first.catalogue.items.to_arrow())
    assert len(following.catalogue.items) > len(rows)

    def moved(**changes):
        factors = trained(following, models, **changes)
        models.activate(models.versions()[0])
        gap = factors.item_factors[rows] - former.item_factors
        return np.linalg.norm(gap) / np.linalg.norm(former.item_factors)

    assert moved(seed=5) < 0.5
    again = np.full(len(following.catalogue.items), -1)
    again[rows] = np.arange(len(rows))
    factors = trained(following, models)
    turned = factors.aligned_to(former, again)
    np.testing.assert_allclose(turned.item_factors, factors.item_factors, atol=1e-5)
    models.activate(models.versions()[0])
    assert moved(seed=5, warm_start=False) > 1.0


def test_one_sweep_is_enough_where_nothing_changed(week, tmp_path):
    models = Models(tmp_path / "models")
    first = trained(week[0], models)
    again = trained(week[0], models, iterations=1)
    cold = trained(week[0], models, iterations=1, warm_start=False)
    best = loss_of(first, week[0])
    assert loss_of(again, week[0]) < 1.01 * best < 0.98 * loss_of(cold, week[0])


def test_items_that_are_new_are_learned_as_well_as_from_the_start(week, tmp_path):
    first, following = week
    models = Models(tmp_path / "models")
    trained(first, models)
    warm = trained(following, models)
    cold = trained(following, models, warm_start=False)
    assert loss_of(warm, following) < 1.005 * loss_of(cold, following)


def test_dimensions_that_had_died_out_come_back(week, tmp_path):
    first, _ = week
    models = Models(tmp_path / "models")
    dead = trained(first, models, regularization=1e6)
    assert np.abs(dead.item_factors).max() < 1e-9
    warm = trained(first, models, regularization=0.5, iterations=8)
    cold = trained(first, models, regularization=0.5, iterations=8, warm_start=False)
    assert loss_of(warm, first) < 1.005 * loss_of(cold, first)


def test_items_of_which_none_was_known_are_learned_from_the_start(week, tmp_path):
    models = Models(tmp_path / "models")
    trained(week[0], models)
    other = source_of(tmp_path / "other", prefix="other")
    warm = trained(other, models)
    cold = trained(other, models, warm_start=False)
    assert loss_of(warm, other) < 1.005 * loss_of(cold, other)


def test_vectors_of_another_length_are_no_start(week, tmp_path):
    models, fresh = Models(tmp_path / "models"), Models(tmp_path / "fresh")
    trained(week[0], models, factors=5)
    np.testing.assert_array_equal(
        trained(week[0], models).item_factors, trained(week[0], fresh).item_factors
    )


class Lines:
    """A reporter that keeps the notes."""

    def __init__(self):
        self.notes = []

    def note(self, line):
        self.notes.append(line)

    def step(self, task, done, total, detail):
        pass

    def measure(self, task, figures):
        pass


def test_a_damaged_version_stops_no_training(week, tmp_path):
    models = Models(tmp_path / "models")
    trained(week[0], models)
    block = models.open().arrays["collaborative/item_factors"][0]
    (tmp_path / "models" / block.file).write_bytes(b"")
    lines = Lines()
    with report_to(lines):
        trained(week[0], models, regularization=9.0)
    assert [line for line in lines.notes if line.startswith("collaborative starts afresh: ")]
