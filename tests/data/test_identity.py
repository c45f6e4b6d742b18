from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.arrays import Tags, Texts
from recsys.data.identity import Ids, normalise_title, recordings
from recsys.errors import NotFoundError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(TEXT))
def test_rows_and_ids_are_inverse_and_in_byte_order(strings):
    ids = Ids.from_strings(strings, kind="item")
    assert list(ids) == sorted(set(strings), key=str.encode)
    assert [ids.row(i) for i in ids] == list(range(len(ids)))
    assert ids.rows([*strings, None])[-1] == -1
    assert [ids[row] for row in ids.rows(strings)] == strings


def test_an_unknown_id_names_the_nearest():
    ids = Ids.from_strings(["radiohead", "radio dept", "zz top"], kind="artist")
    assert ids.row("radiohead!") == -1
    with pytest.raises(NotFoundError, match="'radiohead'") as caught:
        ids.require("radiohaed")
    assert caught.value.nearest[0] == "radiohead"


@given(st.lists(st.none() | TEXT))
def test_texts_keep_their_order_and_nulls(strings):
    texts = Texts.from_arrow(pa.array(strings, pa.string()))
    assert list(texts) == [s or None for s in strings]


@given(st.lists(st.none() | st.lists(st.none() | TEXT, max_size=4)))
def test_tags_keep_the_lists(lists):
    tags = Tags.from_arrow(pa.array(lists, pa.list_(pa.string())))
    assert list(tags) == [[w for w in words or [] if w is not None] for words in lists]


def test_titles_are_normalised():
    titles = pa.array(["  Ｈello -- World!", "hello world", "!!!", "", " ", None, "Ünder (Live)"])
    expected = ["hello world", "hello world", "!!!", None, None, None, "ünder live"]
    assert normalise_title(titles).to_pylist() == expected


def found(**columns):
    n = max(map(len, columns.values()))
    strings = {k: pa.array(columns.get(k, [None] * n), pa.string()) for k in KEYS}
    return recordings(
        **strings,
        artist=np.array(columns.get("artist", [-1] * n), np.int32),
        duration_s=np.array(columns.get("duration_s", [np.nan] * n), np.float32),
    )


KEYS = ("isrc", "mbid", "title")


def test_equal_isrc_or_mbid_is_one_recording_and_chains_connect():
    same = found(
        isrc=["US-S1Z-99-00001", "uss1z9900001", None, "", ""], mbid=[None, "m", "M", None, None]
    )
    assert same[0] == same[1] == same[2]
    assert len({same[0], same[3], same[4]}) == 3


def test_artist_title_and_duration_within_two_seconds_is_one_recording():
    same = found(
        title=["Song", "song!", "Song", "Song", "Song", None],
        artist=[0, 0, 0, 1, 0, 0],
        duration_s=[100, 102, 104.5, 100, np.nan, 100],
    )
    assert same[0] == same[1]
    assert len(set(same[[0, 2, 3, 4, 5]].tolist())) == 5


def test_unknown_artists_agree_with_nobody():
    same = found(title=["Song", "Song"], artist=[-1, -1], duration_s=[100, 100])
    assert same[0] != same[1]
