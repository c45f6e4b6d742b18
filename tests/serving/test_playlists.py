"""Playlist files say what the list says, and nothing that a title smuggles in."""

from __future__ import annotations

import json
from pathlib import Path

from recsys.ensemble.recommender import Recommendation
from recsys.serving.playlists import jspf, m3u

LIST = [
    Recommendation(
        1, "a/b 🎵", "Line\n#EXTINF:-1,forged\r\nhttp://x", "Ärt", 0.5, {}, ["One", "Two"]
    ),
    Recommendation(2, "plain", None, None, 0.4, {}, []),
]


def test_m3u_keeps_one_entry_per_item() -> None:
    assert m3u("My\nweek", LIST).splitlines() == [
        "#EXTM3U",
        "#PLAYLIST:My week",
        "#EXTINF:-1,Ärt - Line #EXTINF:-1,forged http://x",
        "urn:recsys:item:a%2Fb%20%F0%9F%8E%B5",
        "#EXTINF:-1,plain",
        "urn:recsys:item:plain",
    ]


def test_recordings_that_a_player_can_open_are_named() -> None:
    files = {"plain": Path("/music/a b.flac"), "a/b 🎵": Path("/music/line\nbreak.flac")}
    assert m3u("My week", LIST, files).splitlines()[3::2] == [
        "file:///music/line%0Abreak.flac",
        "/music/a b.flac",
    ]
    first, second = json.loads(jspf("My week", LIST, files))["playlist"]["track"]
    assert first["location"] == ["file:///music/line%0Abreak.flac"]
    assert second["location"] == ["file:///music/a%20b.flac"]
    assert second["identifier"] == ["urn:recsys:item:plain"]


def test_jspf_leaves_out_what_is_unknown() -> None:
    playlist = json.loads(jspf("My week", LIST))["playlist"]
    assert playlist["title"] == "My week"
    first, second = playlist["track"]
    assert first["title"] == LIST[0].title
    assert first["creator"] == "Ärt"
    assert first["annotation"] == "One. Two"
    assert second == {"identifier": ["urn:recsys:item:plain"], "title": "plain", "trackNum": 2}
