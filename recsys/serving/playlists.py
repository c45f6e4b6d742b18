"""A list in the formats of music players: JSPF and M3U.

Enters: a title and recommendations, and where the recordings lie if that is known. Leaves: text.
JSPF is XSPF (xspf.org) in JSON; M3U is the extended form, UTF-8. An item whose recording lies
nowhere has the place ``urn:recsys:item:<id>``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from recsys.ensemble.recommender import Recommendation

__all__ = ["NO_FILES", "jspf", "m3u"]

NO_FILES: Mapping[str, Path] = MappingProxyType({})


def jspf(title: str, items: Sequence[Recommendation], files: Mapping[str, Path] = NO_FILES) -> str:
    """Return a JSPF document; the reasons are the tracks' annotations.

    Parameters
    ----------
    files
        By item id, the recordings that a player can open.
    """
    tracks = [
        {
            **({"location": [files[item.item_id].as_uri()]} if item.item_id in files else {}),
            "identifier": [_urn(item)],
            "title": item.title or item.item_id,
            **({"creator": item.artist} if item.artist else {}),
            **({"annotation": ". ".join(item.reasons)} if item.reasons else {}),
            "trackNum": item.rank,
        }
        for item in items
    ]
    playlist = {"title": title, "creator": "recsys", "track": tracks}
    return json.dumps({"playlist": playlist}, ensure_ascii=False)


def m3u(title: str, items: Sequence[Recommendation], files: Mapping[str, Path] = NO_FILES) -> str:
    """Return an extended M3U document; `files` is as in `jspf`."""
    lines = ["#EXTM3U", f"#PLAYLIST:{_line(title)}"]
    for item in items:
        name = " - ".join(filter(None, [item.artist, item.title or item.item_id]))
        lines += [f"#EXTINF:-1,{_line(name)}", _place(item, files)]
    return "\n".join(lines) + "\n"


def _place(item: Recommendation, files: Mapping[str, Path]) -> str:
    if item.item_id not in files:
        return _urn(item)
    file = files[item.item_id]
    return str(file) if str(file).isprintable() else file.as_uri()


def _line(text: str) -> str:
    """Return `text` on one line: a title's line break must not begin an entry."""
    return " ".join(text.split())


def _urn(item: Recommendation) -> str:
    return "urn:recsys:item:" + quote(item.item_id, safe="")
