"""The search: what it writes, that it finds the better setting, what it refuses."""

from __future__ import annotations

import csv

import numpy as np
import pyarrow as pa
import pytest

from recsys.cluster import ray_session
from recsys.cluster.tune import tune
from recsys.config import CollaborativeConfig, Config, TuneConfig, load_config
from recsys.data.dataset import Dataset
from recsys.errors import ConfigError, InputError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """40 listeners of two scenes, 30 items each; a listener plays half of a scene."""
    rng = np.random.default_rng(0)
    users, items = [], []
    for user in range(40):
        for item in rng.permutation(30)[:15] + 30 * (user % 2):
            users.append(f"u{user}")
            items.append(f"i{item:02}")
    table = pa.table({"user_id": users, "item_id": items, "kind": ["stream"] * len(users)})
    dataset = Dataset(tmp_path_factory.mktemp("dataset"))
    with dataset.transaction() as transaction:
        transaction.append("events", [table], source="test", fingerprint="1")
    return dataset


def config(**changes):
    return Config(
        collaborative=CollaborativeConfig(factors=2, iterations=3, regularization=1.0),
        tune=TuneConfig(factors=(2, 3), **changes),
    )


def test_the_best_setting_is_written_and_can_be_read(dataset, tmp_path, capfd):
    with ray_session(num_cpus=2, object_store_bytes=100_000_000):
        best = tune(dataset, config(), tmp_path / "out", trials=2)
    assert best == tmp_path / "out" / "best.toml"
    with (tmp_path / "out" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = [float(row["ndcg@10"]) for row in rows]
    assert len(rows) == 2 and scores == sorted(scores, reverse=True) and scores[0] > 0.1
    chosen = load_config(best)
    assert chosen.collaborative.iterations == 3
    for key in ("regularization", "alpha", "factors"):
        assert float(rows[0][key]) == pytest.approx(getattr(chosen.collaborative, key))
    given = {(float(row["regularization"]), float(row["alpha"])) for row in rows}
    assert (1.0, 10.0) in given
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "accuracy@10"}, "want one of recall, ndcg"),
        ({"metric": "ndcg"}, "at a cut-off, such as ndcg@10"),
        ({"alpha": (3.0, 1.0)}, "alpha: want a range above 0"),
        ({"regularization": (0.0, 1.0)}, "regularization: want a range above 0"),
    ],
)
def test_what_cannot_be_searched_is_refused(dataset, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        tune(dataset, config(**changes), tmp_path, trials=1)


def test_a_tune_slice_without_anything_new_is_refused(tmp_path):
    table = pa.table({"user_id": ["u"], "item_id": ["i"], "kind": ["stream"]})
    dataset = Dataset(tmp_path / "dataset")
    with dataset.transaction() as transaction:
        transaction.append("events", [table], source="test", fingerprint="1")
    with pytest.raises(InputError, match="no listener loved anything new"):
        tune(dataset, config(), tmp_path / "out", trials=1)
