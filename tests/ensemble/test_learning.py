"""Climbing the ladder on pairs whose rule is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import Models
from recsys.config import EnsembleConfig
from recsys.ensemble.blend import Blend, ReciprocalRank
from recsys.ensemble.features import FEATURES, SIGNALS
from recsys.ensemble.learned import GROUP, read_blender, write_blender
from recsys.ensemble.learning import Lesson, climb

M, N = 120, 80  # listeners, candidates of each
SOURCES = ("text", "popularity")
FUSION = ReciprocalRank({"text": 1.0, "popularity": 1.0})


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    """Love follows the text z-score and the artist's evidence; places in the sources are noise."""
    random = np.random.default_rng(0)
    listener = np.repeat(np.arange(M), N)
    features = random.normal(size=(M * N, len(FEATURES))).astype(np.float32)
    rule = 2 * features[:, FEATURES.index("text.z")]
    rule += features[:, FEATURES.index("artists.evidence")]
    loved = rule + random.logistic(size=M * N) > 5.0
    signals = 1 / (60 + random.integers(1, N, (M * N, 2)))
    n_loved = np.maximum(np.bincount(listener, loved, M).astype(np.int64), 1)
    union = Blend(listener, np.tile(np.arange(N, dtype=np.int32), M), signals)
    return Lesson(union, features, loved.astype(np.float32), n_loved, SOURCES)


def test_what_is_learned_ranks_better_for_those_held_out(lesson: Lesson):
    ladder = climb(lesson, FUSION, EnsembleConfig(), seed=0)
    assert list(ladder.ndcg) == [*SOURCES, "fusion", "logistic", "trees"]
    assert ladder.ndcg["logistic"] > 2 * ladder.ndcg["fusion"]
    assert ladder.ndcg["trees"] > 2 * ladder.ndcg["fusion"]
    # Trees cost more, so they must be worth it.
    worth = ladder.ndcg["trees"] > 1.02 * ladder.ndcg["logistic"]
    assert ladder.blender is ladder.rungs["trees" if worth else "logistic"]
    assert ladder.n_listeners == M


@pytest.mark.parametrize("kind", ["logistic", "trees"])
def test_the_configured_rung_is_taken_and_kept(lesson: Lesson, kind, tmp_path: Path):
    ladder = climb(lesson, FUSION, EnsembleConfig(blend=kind), seed=0)
    blender = ladder.blender
    assert blender is not None
    assert blender.kind == kind
    writer = Models(tmp_path).write()
    write_blender(blender, writer)
    bundle = Models(tmp_path).open(writer.commit())
    shares = blender.shares(lesson.union, lambda: lesson.features)
    kept = read_blender(bundle)
    assert kept is not None
    assert np.array_equal(kept.shares(lesson.union, lambda: lesson.features), shares)
    assert kept.probability(0.5) == blender.probability(0.5)


@pytest.mark.parametrize("kind", ["logistic", "trees"])
def test_a_share_is_of_its_own_features(lesson: Lesson, kind):
    rung = climb(lesson, FUSION, EnsembleConfig(), seed=0).rungs[kind]
    moved = lesson.features.copy()
    moved[:, SIGNALS.index("text") == GROUP] += 1
    before = rung.shares(lesson.union, lambda: lesson.features)
    after = rung.shares(lesson.union, lambda: moved)
    changed = [name for name, c in zip(SIGNALS, (before != after).any(axis=0)) if c]
    assert changed == ["text"]


@pytest.mark.parametrize("kind", ["logistic", "trees"])
def test_a_probability_is_how_often_it_was_loved(lesson: Lesson, kind):
    rung = climb(lesson, FUSION, EnsembleConfig(), seed=0).rungs[kind]
    scores = rung.shares(lesson.union, lambda: lesson.features).sum(axis=1)
    told = np.array([rung.probability(score) for score in scores])
    loved = lesson.gain > 0
    assert told.mean() == pytest.approx(loved.mean(), rel=0.2)
    sure = told > 0.5
    assert loved[sure].mean() == pytest.approx(told[sure].mean(), abs=0.12)


def test_from_too_few_nothing_is_learned(lesson: Lesson):
    ladder = climb(lesson, FUSION, EnsembleConfig(blend_fewest=M + 1), seed=0)
    assert ladder.blender is None
    assert ladder.ndcg == {}


def test_where_learning_gains_nothing_fusion_stays(lesson: Lesson):
    """Features that say nothing, beside a source that knows."""
    random = np.random.default_rng(1)
    noise = random.normal(size=lesson.features.shape).astype(np.float32)
    signals = np.stack([0.01 * lesson.gain, 0 * lesson.gain], axis=1)
    known = replace(lesson, features=noise, union=replace(lesson.union, signals=signals))
    ladder = climb(known, FUSION, EnsembleConfig(), seed=0)
    assert ladder.ndcg["fusion"] > 0.8
    assert ladder.blender is None


def test_another_programs_features_are_not_taken_for_ours(lesson: Lesson, tmp_path: Path):
    blender = climb(lesson, FUSION, EnsembleConfig(blend="logistic"), seed=0).blender
    assert blender is not None
    writer = Models(tmp_path).write()
    write_blender(blender, writer)
    writer.note(blend={"kind": "logistic", "offset": 0.0, "features": ["other"]})
    assert read_blender(Models(tmp_path).open(writer.commit())) is None
