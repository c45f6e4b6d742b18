"""A list in the formats of music players: JSPF and M3U.

Enters: a title and recommendations. Leaves: text. JSPF is XSPF (xspf.org) in JSON; M3U is the
extended form, UTF-8. An item has no address here, so its place is ``urn:recsys:item:<id>``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from recsys.ensemble.recommender import Recommendation

__all__ = ["jspf", "m3u"]


def jspf(title: str, items: Sequence[Recommendation]) -> str:
    """Return a JSPF document; the reasons are the tracks' annotations."""
    tracks = [
        {
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


def m3u(title: str, items: Sequence[Recommendation]) -> str:
    """Return an extended M3U document."""
    lines = ["#EXTM3U", f"#PLAYLIST:{_line(title)}"]
    for item in items:
        name = " - ".join(filter(None, [item.artist, item.title or item.item_id]))
        lines += [f"#EXTINF:-1,{_line(name)}", _urn(item)]
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    """Return `text` on one line: a title's line break must not begin an entry."""
    return " ".join(text.split())


def _urn(item: Recommendation) -> str:
    return "urn:recsys:item:" + quote(item.item_id, safe="")
