"""Groups of one taste: found, told apart in words, and the same ones in the next version."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.cli import main
from recsys.config import CollaborativeConfig, Config
from recsys.data.world import make_world
from recsys.ensemble.segments import SegmentArtist, Segments, describe_segments, find_segments
from recsys.errors import BundleError
from recsys.pipeline import build, read_source


def scenes(rng, n=300, d=8):
    """Listeners of three tastes at right angles; the last ten are unknown."""
    taste = np.arange(n) % 3
    factors = np.eye(d)[taste] + 0.1 * rng.standard_normal((n, d))
    factors *= rng.lognormal(size=(n, 1))
    factors[-10:] = 0
    return factors.astype(np.float32), taste


def test_planted_tastes_are_found_and_strangers_left_out():
    factors, taste = scenes(np.random.default_rng(0))
    found = find_segments(factors, 3, seed=1)
    assert (found.of_user[-10:] == -1).all()
    pairs = set(zip(taste[:-10].tolist(), found.of_user[:-10].tolist()))
    assert len(pairs) == 3
    np.testing.assert_allclose(np.linalg.norm(found.centres, axis=1), 1, rtol=1e-5)


def test_numbers_stay_when_listeners_change():
    rng = np.random.default_rng(0)
    factors, _ = scenes(rng)
    first = find_segments(factors, 3, seed=1)
    moved = (factors + 0.05 * rng.standard_normal(factors.shape) * (factors != 0)).astype(
        np.float32
    )
    again = find_segments(moved[::-1], 9, seed=5, former=first.centres)
    assert (again.of_user[::-1] == first.of_user).mean() > 0.98
    # A group without listeners keeps its number for those who come back.
    without = np.where((first.of_user == 0)[:, None], 0, factors)
    left = find_segments(without, 3, former=first.centres)
    assert set(left.of_user.tolist()) == {-1, 1, 2}
    np.testing.assert_array_equal(left.centres[0], first.centres[0])


def test_few_listeners_are_few_groups():
    factors, _ = scenes(np.random.default_rng(0), 60)
    assert len(find_segments(factors, 12).centres) == 2
    nobody = find_segments(np.zeros((4, 3), np.float32), 12)
    assert nobody.of_user.tolist() == [-1] * 4


def test_a_group_is_described_by_what_sets_it_apart(recommender):
    users = recommender.catalogue.users
    of_user = np.full(len(users), -1, np.int32)
    for user, group in (("ann", 0), ("bob", 0), ("cyd", 0), ("dan", 1), ("eve", 1)):
        of_user[users.row(user)] = group
    segments = Segments(np.eye(3, 4, dtype=np.float32), of_user)
    lively, loud = describe_segments(recommender, segments)
    assert (lively.number, lively.n_listeners, loud.share) == (0, 3, 0.4)
    assert [artist.artist_id for artist in lively.artists] == ["a", "b"]
    assert loud.artists == [SegmentArtist("c", "The Cs", 1.0)]
    assert set(lively.terms) == {"dreamy", "lo-fi"} and loud.terms == ["loud"]


def test_in_the_next_version_and_on_the_command_line(tmp_path, monkeypatch, capsys):
    world = make_world(tmp_path, scale=0.1)
    config = Config(collaborative=CollaborativeConfig(factors=8, iterations=3))
    models = Models(tmp_path / "models")
    source = read_source(world.dataset)
    first, second = (
        Segments.read(models.open(build(source, config, LocalBackend(), models))) for _ in range(2)
    )
    assert len(first.centres) > 1
    both = (first.of_user >= 0) & (second.of_user >= 0)
    assert (first.of_user == second.of_user)[both].mean() > 0.8
    monkeypatch.setattr(sys, "argv", ["recsys", "segments", str(tmp_path / "models"), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    groups = json.loads(capsys.readouterr().out)["segments"]
    assert sum(group["n_listeners"] for group in groups) == (second.of_user >= 0).sum()
    assert all(group["artists"][0]["name"] for group in groups)


def test_a_version_without_groups_says_so(recommender, tmp_path):
    writer = Models(tmp_path).write()
    writer.note(trained=[])
    with pytest.raises(BundleError, match="has no groups of listeners"):
        Segments.read(Models(tmp_path).open(writer.commit()))
