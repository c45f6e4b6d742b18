"""The demo world: the same for everyone, consistent with itself, and with something to find."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.data.dataset import Dataset
from recsys.data.tables import EVENT_KINDS, TABLES
from recsys.data.world import World, make_world
from recsys.data.world.listeners import N_MONTHS, make_listeners
from recsys.data.world.music import DAY_MS, END_MS, START_MS, make_music
from recsys.data.world.names import WORDS
from recsys.data.world.plays import make_log
from recsys.data.world.scenes import AXES, SCENES
from recsys.errors import InputError

SEED, SCALE = 3, 0.2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), seed=SEED, scale=SCALE)


@pytest.fixture(scope="module")
def tables(world: World) -> dict[str, pd.DataFrame]:
    return {name: world.dataset.read(name).to_pandas() for name in TABLES}


def digest(folder: Path) -> str:
    """Hash the content of all tables and of what was planted."""
    world, state = World.open(folder), sha256()
    for name in TABLES:
        state.update(repr(world.dataset.read(name).to_pydict()).encode())
    state.update(np.round(world.truth.item_taste, 4).tobytes())
    return state.hexdigest()


def test_a_seed_gives_the_same_world_in_every_process(tmp_path: Path) -> None:
    code = (
        "import sys; from recsys.data.world import make_world;"
        "make_world(sys.argv[1], seed=5, scale=0.02)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there")], check=True, env=environment
    )
    make_world(tmp_path / "here", seed=5, scale=0.02)
    make_world(tmp_path / "other", seed=6, scale=0.02)
    assert digest(tmp_path / "here") == digest(tmp_path / "there")
    assert digest(tmp_path / "here") != digest(tmp_path / "other")


def test_the_world_is_frozen(tmp_path: Path) -> None:
    # Claims of quality rest on these worlds. Whoever changes them must measure every claim anew.
    world = make_world(tmp_path, seed=0, scale=0.02)
    state = sha256()
    for name in ("events", "items", "artists", "documents", "collections"):
        state.update(repr(world.dataset.read(name).to_pydict()).encode())
    assert state.hexdigest()[:16] == "91fba1ae64abecb4"


def test_making_it_twice_opens_it_and_another_world_is_refused(tmp_path: Path) -> None:
    first = make_world(tmp_path, seed=1, scale=0.02)
    before = first.dataset.fingerprint()
    assert make_world(tmp_path, seed=1, scale=0.02).dataset.fingerprint() == before
    with pytest.raises(InputError, match=r"seed 1, scale 0\.02"):
        make_world(tmp_path, seed=2, scale=0.02)
    with pytest.raises(InputError, match="no demo world here"):
        World.open(tmp_path / "nowhere")
    (tmp_path / "truth" / "truth.json").unlink()  # as after a kill before the truth was written
    with pytest.raises(InputError, match="another dataset"):
        make_world(tmp_path, seed=2, scale=0.02)
    assert make_world(tmp_path, seed=1, scale=0.02).dataset.fingerprint() == before


def test_every_reference_is_known_and_every_time_is_possible(
    tables: dict[str, pd.DataFrame],
) -> None:
    events, items = tables["events"], tables["items"].set_index("item_id")
    assert set(events.kind) <= set(EVENT_KINDS)
    assert events.event_id.is_unique
    assert events["at"].is_monotonic_increasing
    milliseconds = events["at"].astype("int64")
    assert milliseconds.between(START_MS, END_MS - 1).all()
    assert set(items.artist_id) <= set(tables["artists"].artist_id)
    of_artist = events.kind.isin(["artist_visit", "follow"])
    assert events.item_id.isna().equals(of_artist)
    assert set(events.artist_id.dropna()) <= set(tables["artists"].artist_id)
    played = events[events.kind.isin(["stream", "skip"])].drop(columns="artist_id")
    played = played.merge(items.drop(columns="kind"), left_on="item_id", right_index=True)
    assert played.title.notna().all()
    assert (played["at"] >= played.available_from).all()
    assert not (played["at"] >= played.available_until).any()
    assert (played.ms_played <= played.duration_s * 1000).all()
    assert (played[played.kind == "skip"].ms_played < 30_000).all()
    assert played.organic.mean() == pytest.approx(0.88, abs=0.04)
    assert played[~played.organic].context.eq("radio").all()


def test_private_sessions_are_dropped_at_the_door_and_counted(world: World) -> None:
    music, listeners = make_music(seed=SEED, scale=SCALE), make_listeners(seed=SEED, scale=SCALE)
    log = make_log(music, listeners, seed=SEED)
    assert 0 < log.private.sum() == world.truth.private_rows
    assert world.dataset.count("events") == len(log) - world.truth.private_rows
    assert "private" not in TABLES["events"].schema.names
    stored = world.dataset.read("events").to_pandas()
    stored_rows = set(zip(stored.user_id, stored["at"].astype("int64"), strict=True))
    hidden = np.flatnonzero(log.private & np.isin(log.kind, ["stream", "skip"]))
    secret = {(listeners.user_ids[log.user[row]], int(log.at_ms[row])) for row in hidden}
    assert len(stored_rows & secret) <= 0.001 * len(secret)  # public plays of the very same moment


def test_the_truth_is_a_distribution_over_what_can_be_played(
    world: World, tables: dict[str, pd.DataFrame]
) -> None:
    truth, items = world.truth, tables["items"].set_index("item_id")
    assert truth.item_ids == sorted(items.index)
    assert truth.user_ids == sorted(truth.user_ids)
    assert truth.preference.dtype == np.float32
    np.testing.assert_allclose(truth.preference.sum(axis=1), 1, rtol=1e-4)
    there = items.loc[truth.item_ids]
    end = pd.Timestamp(END_MS, unit="ms", tz="UTC")
    gone = (there.available_from >= end) | (there.available_until <= end)
    assert 0 < gone.sum() < 0.1 * len(there)
    assert np.array_equal(truth.preference.max(axis=0) == 0, gone.to_numpy())
    podcast = (there.kind == "podcast").to_numpy()
    assert np.array_equal(np.isnan(truth.tempo_bpm), podcast)
    assert np.array_equal(truth.beats_per_bar == 0, podcast)
    assert set(truth.beats_per_bar[~podcast].tolist()) == {3, 4, 6}


def test_the_oracle_knows_what_will_be_played_and_popularity_only_a_little(
    world: World, tables: dict[str, pd.DataFrame]
) -> None:
    truth = world.truth
    plays = tables["events"].query("kind == 'stream' and organic")
    user = pd.Index(truth.user_ids).get_indexer(plays.user_id)
    item = pd.Index(truth.item_ids).get_indexer(plays.item_id)
    cut = int(0.9 * len(plays))
    heard = np.zeros(truth.preference.shape, bool)
    heard[user[:cut], item[:cut]] = True
    later = np.zeros_like(heard)
    later[user[cut:], item[cut:]] = True
    later &= ~heard

    def found(scores: np.ndarray) -> float:
        best = np.argsort(-np.where(heard, -1, scores), axis=1, kind="stable")[:, :10]
        return float(np.take_along_axis(later, best, axis=1).sum())

    popularity = np.broadcast_to(heard.sum(axis=0), heard.shape)
    random = np.random.default_rng(0).random(heard.shape)
    assert found(truth.preference) > 2.5 * found(popularity)
    assert found(truth.preference) > 4 * found(random)


def test_tastes_drift_over_the_year() -> None:
    listeners = make_listeners(seed=0, scale=0.2)
    unit = listeners.tastes / np.linalg.norm(listeners.tastes, axis=-1, keepdims=True)
    kept = (unit[:, 0] * unit[:, N_MONTHS - 1]).sum(axis=-1)
    assert 0.05 < (kept < 0.5).mean() < 0.3, "some tastes are given up"
    assert (kept > 0.8).mean() > 0.5, "most stay near"
    np.testing.assert_allclose(listeners.shares.sum(axis=-1), 1)


def test_some_listeners_are_new_and_some_releases_unplayed(
    tables: dict[str, pd.DataFrame],
) -> None:
    streams = tables["events"].query("kind == 'stream'")
    plays = streams.user_id.value_counts()
    assert (plays < 5).sum() >= 2 and plays.max() > 5 * plays.median()
    items = tables["items"]
    fresh = items[items.released_at.astype("int64") >= END_MS - 35 * DAY_MS]
    counts = streams.item_id.value_counts().reindex(fresh.item_id).fillna(0)
    assert len(fresh) >= 10 and (counts == 0).sum() >= 3 and (counts < 5).mean() > 0.2
    written = set(tables["documents"].artist_ids.dropna().explode())
    artists = set(fresh[fresh.kind == "track"].artist_id)
    assert len(artists & written) >= 0.8 * len(artists)
    pages = tables["documents"]
    late = pages[pages.published_at.astype("int64") >= END_MS - 42 * DAY_MS]
    named = [late.text.str.contains(title, regex=False).any() for title in fresh.title]
    assert np.mean(named) > 0.5


def test_singles_are_the_same_recording_under_a_second_id(
    world: World, tables: dict[str, pd.DataFrame]
) -> None:
    items = tables["items"].set_index("item_id").loc[world.truth.item_ids]
    groups = items.groupby(np.asarray(world.truth.item_recording))
    twins = [group for _, group in groups if len(group) > 1]
    assert len(twins) == round(40 * SCALE)
    same_code = [pair.isrc.notna().all() and pair.isrc.nunique() == 1 for pair in twins]
    assert 0.3 < np.mean(same_code) < 0.7
    for pair in twins:
        assert pair.artist_id.nunique() == 1 and pair.title.nunique() == 1
        assert np.ptp(pair.duration_s) <= 2
    codes = items.isrc.dropna()
    assert codes.duplicated().sum() == sum(same_code), "nobody else shares a code"


def test_names_are_ambiguous_on_purpose(tables: dict[str, pd.DataFrame]) -> None:
    names = tables["artists"].name
    assert names.duplicated().any()
    ordinary = set(names) & set(WORDS["names"]["ordinary"])
    assert ordinary
    noise = tables["documents"][tables["documents"].url.str.contains("dailythings")]
    assert noise.artist_ids.isna().all() and len(noise) >= 6
    assert noise.text.str.contains("|".join(WORDS["names"]["ordinary"])).any()


def test_pages_have_spam_copies_foreign_tongues_and_unknown_subjects(
    tables: dict[str, pd.DataFrame],
) -> None:
    pages = tables["documents"]
    assert pages.published_at.astype("int64").between(START_MS, END_MS - 1).all()
    site = pages.url.str.extract(r"//([^.]+)\.example")[0]
    assert len(site.unique()) == sum(map(len, WORDS["sites"].values()))
    spam = pages[site == "hot-tracks-4-free"]
    assert spam.artist_ids.str[0].nunique() == 1 and len(spam) >= 10
    copies = pages[site == "musicmirror"].text.str.removesuffix(" Read more here.")
    assert copies.isin(pages.text).all()
    assert pages[site == "klang"].text.str.contains("Album|disco|album").any()
    assert 0.3 < pages.artist_ids.isna().mean() < 0.6
    names = tables["artists"].set_index("artist_id").name
    known = pages[pages.artist_ids.notna()]
    about = (names[ids[0]] in title + text for ids, title, text in
             zip(known.artist_ids, known.title, known.text, strict=True))  # fmt: skip
    assert np.mean(list(about)) > 0.95
    assert not pages.text.str.contains(r"[{}]").any()


def test_writers_choose_words_by_where_an_artist_lies(
    world: World, tables: dict[str, pd.DataFrame]
) -> None:
    truth = world.truth
    row = {id: place for place, id in enumerate(truth.artist_ids)}
    text = [""] * len(row)
    pages = tables["documents"]
    for ids, page in zip(pages.artist_ids, pages.text, strict=True):
        if ids is not None:
            text[row[ids[0]]] += " " + page
    written = np.array([len(said) > 500 for said in text])
    correlations = []
    for place, axis in enumerate(AXES):
        high = np.array([sum(said.count(word) for word in axis.high.phrases) for said in text])
        low = np.array([sum(said.count(word) for word in axis.low.phrases) for said in text])
        lean = (high - low) / (high + low + 1)
        taste = truth.artist_taste[:, place]
        correlations.append(np.corrcoef(lean[written], taste[written])[0, 1])
    assert np.mean(correlations[6:]) > 0.45 > np.mean(correlations[:6]) > 0.05


def test_collections_are_editors_and_listeners(tables: dict[str, pd.DataFrame]) -> None:
    lists, items = tables["collections"], set(tables["items"].item_id)
    editors = lists[lists.owner_id.isna()]
    assert len(editors) == len(SCENES) + 1
    assert set(lists.item_ids.explode().dropna()) <= items
    adds = tables["events"].query("kind == 'playlist_add'")
    for owner, members in lists.dropna(subset="owner_id").set_index("owner_id").item_ids.items():
        assert list(members) == list(adds[adds.user_id == owner].item_id)


def test_a_scaled_world_keeps_its_shape(tmp_path: Path) -> None:
    tiny = make_world(tmp_path, seed=0, scale=0.001)
    assert tiny.dataset.count("items") == 66
    assert len(tiny.truth.user_ids) == 30
    assert isinstance(tiny.dataset, Dataset) and tiny.dataset.count("events") > 1000
