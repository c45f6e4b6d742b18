"""The protocol on a small demo world, and its truth by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.config import CollaborativeConfig, Config, EnsembleConfig, EvaluationConfig
from recsys.data.collections import Collections
from recsys.data.dataset import Dataset
from recsys.data.interactions import Events, newly_loved, read_events
from recsys.data.slices import split
from recsys.data.world import World, make_world
from recsys.ensemble.recommender import HybridRecommender
from recsys.errors import InputError, LeakError
from recsys.evaluation import leaks
from recsys.evaluation.gate import judge
from recsys.evaluation.protocol import Trial, evaluate, measure
from recsys.evaluation.report import Report
from recsys.pipeline import Content, build, read_source

Run = Callable[..., tuple[int, str, str]]

CONFIG = Config(collaborative=CollaborativeConfig(factors=8, iterations=5))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), scale=0.1)


@pytest.fixture(scope="module")
def report(world: World) -> Report:
    return evaluate(world.dataset, CONFIG, LocalBackend(), truth=world.truth)


def test_every_ranker_is_measured_at_both_cut_offs(report: Report):
    assert list(report.rankers) == [
        "random",
        "popularity",
        "recent popularity",
        "artist mean",
        "collaborative",
        "text",
        "artists",
        "collections",
        "hybrid",
        "as served",
        "oracle",
    ]
    for figures in report.rankers.values():
        for metric in ("recall", "ndcg", "map", "mrr", "hit_rate", "coverage"):
            assert all(0 <= figures[f"{metric}@{k}"] <= 1 for k in (10, 30))
        assert figures["novelty@10"] > 0


def test_the_order_that_must_hold(report: Report):
    """Planted tastes beat models, models beat popularity, popularity beats chance."""
    ndcg = {name: figures["ndcg@30"] for name, figures in report.rankers.items()}
    assert ndcg["oracle"] == max(ndcg.values())
    assert ndcg["random"] == min(ndcg.values())
    assert ndcg["hybrid"] > ndcg["popularity"]
    assert report.rankers["oracle"]["of_oracle@10"] == 1
    share = ndcg["text"] / ndcg["oracle"]
    assert report.rankers["text"]["of_oracle@30"] == pytest.approx(share)


def test_listeners_are_counted(report: Report, world: World):
    source = read_source(world.dataset)
    assert report.n_listeners + report.n_left_out == source.catalogue.n_users
    assert report.n_listeners > 0
    assert sum(report.n_events.values()) == len(source.events)
    assert report.left_out == {"audio": "no readable recordings"}


def test_repeatable(report: Report, world: World):
    assert evaluate(world.dataset, CONFIG, LocalBackend(), truth=world.truth) == report


def test_a_draw_of_listeners(world: World):
    few = replace(CONFIG, evaluation=EvaluationConfig(max_users=7))
    drawn = evaluate(world.dataset, few, LocalBackend())
    assert drawn.n_listeners == 7
    assert "oracle" not in drawn.rankers
    assert all("of_oracle@30" not in figures for figures in drawn.rankers.values())


def test_written_and_printed(report: Report, tmp_path: Path):
    report.write(tmp_path / "report")
    assert json.loads((tmp_path / "report/report.json").read_text()) == report.to_dict()
    text = (tmp_path / "report/report.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    rows = rows[: 2 + len(report.rankers)]
    assert [row.split(" | ")[0].strip("| ") for row in rows[2:]] == list(report.rankers)
    assert {len(row.split(" | ")) for row in rows} == {len(report.columns())}
    assert f"{report.rankers['hybrid']['ndcg@10']:.4f}" in text


def test_what_has_no_value_is_empty(report: Report):
    holed = replace(report, rankers={"random": report.rankers["random"] | {"mrr@30": math.nan}})
    assert holed.to_dict()["rankers"]["random"]["mrr@30"] is None
    assert "" in holed.rows()[0]
    json.dumps(holed.to_dict(), allow_nan=False)


def loved_later(recommender: HybridRecommender, events: Events) -> csr_array:
    return newly_loved(
        events,
        recommender.catalogue,
        CONFIG.interactions,
        heard=recommender.interactions.heard,
        eligible=recommender.eligible(),
    )


def test_no_ranker_is_told_of_the_test_slice(world: World, tmp_path: Path):
    """An evaluation version knows no pair that only the test slice has."""
    source = read_source(world.dataset)
    slices = split(source.events, CONFIG.slices)
    kept = np.sort(np.concatenate([slices.base, slices.tune, slices.blend]))
    models = Models(tmp_path)
    past = replace(source, events=source.events.take(kept))
    recommender = HybridRecommender.load(models.open(build(past, CONFIG, LocalBackend(), models)))
    later = source.events.take(slices.test)
    loved = loved_later(recommender, later)
    assert loved.nnz
    assert (loved * recommender.interactions.heard).nnz == 0
    assert recommender.interactions.last_played.max() < later.at.min()


HOUR = 3_600_000
EARLIER = 1_700_000_000_000


def dataset_of(folder: Path, events: list[dict]) -> Dataset:
    items = [
        {"item_id": "old", "isrc": "R1", "kind": "track"},
        {"item_id": "old-again", "isrc": "R1", "kind": "track"},
        {"item_id": "new", "isrc": "R2", "kind": "track"},
        {"item_id": "new-again", "isrc": "R2", "kind": "track"},
        {"item_id": "skipped", "kind": "track"},
        {"item_id": "visited", "kind": "track", "artist_id": "artist"},
        {"item_id": "talk", "kind": "episode"},
    ]
    for item in items:
        item.setdefault("artist_id", None)
        item.setdefault("isrc", None)
    dataset = Dataset(folder)
    with dataset.transaction() as transaction:
        for table, rows in (("items", items), ("events", events)):
            content = pa.Table.from_pylist(rows)
            transaction.append(table, [content], source="test", fingerprint=table)
    return dataset


def event(item: str | None, hour: int, **more: object) -> dict:
    at = EARLIER + hour * HOUR
    row = {"user_id": "ann", "item_id": item, "artist_id": None, "kind": "stream", "value": 1.0}
    return row | {"at": pa.scalar(at, pa.timestamp("ms", tz="UTC")).as_py()} | more


def test_truth_by_hand(tmp_path: Path):
    """Neither what was heard before nor other releases of it, skips, episodes or visits count."""
    past = [event("old", 0)]
    later = [
        event("old-again", 1),
        event("new-again", 2),
        event("new", 3),
        event("skipped", 4, kind="skip"),
        event(None, 5, kind="artist_visit", artist_id="artist"),
        event("talk", 6),
    ]
    source = read_source(dataset_of(tmp_path / "dataset", [*past, *later]))
    events = read_events(source.dataset, source.catalogue)
    models = Models(tmp_path / "models")
    before = replace(source, events=events.take(np.arange(1)))
    recommender = HybridRecommender.load(models.open(build(before, CONFIG, LocalBackend(), models)))
    loved = loved_later(recommender, events.take(np.arange(1, 7)))
    items = recommender.catalogue.items
    assert [items[int(row)] for row in loved.indices] == ["new"]


def test_nothing_new_in_the_test_slice(tmp_path: Path):
    dataset = dataset_of(tmp_path / "dataset", [event("old", hour) for hour in range(20)])
    with pytest.raises(InputError, match="no listener loved anything new"):
        evaluate(dataset, CONFIG, LocalBackend())


@pytest.fixture(scope="module")
def trial(world: World) -> Trial:
    return measure(Content(read_source(world.dataset), CONFIG), CONFIG, LocalBackend())


def test_a_truth_that_repeats_is_refused(trial: Trial):
    ensemble = trial.recommender.ensemble
    heard = ensemble.interactions.heard
    leaks.check_truth(ensemble, newly := csr_array(heard.shape, dtype=np.int8))
    assert newly.nnz == 0
    with pytest.raises(LeakError, match="pairs of the truth were heard before"):
        leaks.check_truth(ensemble, heard[:, :])


def test_lists_that_repeat_are_refused(trial: Trial):
    ensemble, users = trial.recommender.ensemble, trial.users
    leaks.check_lists(ensemble, users, trial.lists)
    again = trial.lists["hybrid"].copy()
    again[0, 0] = ensemble.interactions.heard[users[[0]]].indices[0]
    with pytest.raises(LeakError, match="hybrid: 1 entries were heard before"):
        leaks.check_lists(ensemble, users, {"hybrid": again})
    twice = trial.lists["text"].copy()
    twice[0, 0] = twice[0, 1]
    with pytest.raises(LeakError, match="text: a recording stands twice"):
        leaks.check_lists(ensemble, users, {"text": twice})


def test_a_version_that_knows_what_comes_later_is_refused(trial: Trial, world: World):
    ensemble, source = trial.recommender.ensemble, read_source(world.dataset)
    none = Collections.none(source.catalogue.n_items)
    leaks.check_past(ensemble, none, source.events.take(trial.slices.test))
    with pytest.raises(LeakError, match="a play of the version lies after"):
        leaks.check_past(ensemble, none, source.events.take(trial.slices.blend))
    # The table of collections has no times: as it stands it knows of the test slice.
    assert source.collections is not None
    with pytest.raises(LeakError, match="a playlist holds what its owner had not heard"):
        leaks.check_past(ensemble, source.collections, source.events.take(trial.slices.test))


def test_a_learned_blend_is_measured_beside_the_other_rungs(world: World, tmp_path: Path):
    learned = replace(CONFIG, ensemble=EnsembleConfig(blend="trees", blend_fewest=20))
    report = evaluate(world.dataset, learned, LocalBackend(), truth=world.truth)
    assert {"fusion", "logistic", "hybrid"} <= set(report.rankers)
    assert report.blend == "trees"
    assert set(report.ladder) >= {"collaborative", "fusion", "logistic", "trees"}
    assert set(report.differences) == set(report.rankers) - {"hybrid"}
    assert report.parts["cold items (nobody played)"]["listeners"] > 0
    report.write(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("<svg") == 3
    assert f"{report.rankers['hybrid']['ndcg@30']:.4f}" in page


def test_the_gate_lets_pass_what_does_not_lose(world: World):
    source = read_source(world.dataset)
    worse = replace(
        CONFIG, ensemble=EnsembleConfig(collaborative=0, text=0, artists=0, popularity=1)
    )
    strict = replace(CONFIG, evaluation=replace(CONFIG.evaluation, margin=0.0))
    same = judge(Content(source, strict), CONFIG)
    assert same.passed
    assert same.difference.mean == 0
    verdict = judge(Content(source, worse), CONFIG)
    assert not verdict.passed
    assert verdict.new < verdict.old
    assert "does not pass" in verdict.sentence()
    assert judge(Content(source, CONFIG), worse).passed


def test_a_worse_recipe_is_kept_but_does_not_serve(run: Run, world: World, tmp_path: Path):
    """By the command line: the same recipe is not judged, a worse one not let in, unless told."""
    train = ["train", world.dataset.folder.path, tmp_path]
    train += ["--set", "collaborative.factors=8", "--set", "collaborative.iterations=5"]
    worse = ["--set", "ensemble.popularity=1"]
    for name in ("collaborative", "text", "artists"):
        worse += ["--set", f"ensemble.{name}=0"]

    def said(*more: str) -> str:
        code, out, _ = run(*train, *more)
        assert code == 0
        return out

    models = Models(str(tmp_path))
    assert "is active" in said()
    again = said("--set", "collaborative.num_threads=1")
    assert "is active" in again
    assert "the new recipe" not in again
    serving = models.active()
    verdict = said(*worse)
    assert "the new recipe does not pass" in verdict
    assert "is kept but not active" in verdict
    assert models.active() == serving
    assert len(models.versions()) == 3
    assert "is active" in said(*worse, "--unjudged")
