"""lastfm-360k: streams of artists by 360,000 Last.fm users, one tab-separated file.

usersha1-artmbid-artname-plays.tsv (SHA-1 of the user, MusicBrainz id of the artist, artist's name,
streams), or the folder with it. The artist is the item; an artist without a MusicBrainz id is known
by ``name:`` and the name. What the profile file says of the users is not read. Celma, "Music
Recommendation and Discovery in the Long Tail", Springer 2010.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.importers.door import Admitted, Door
from recsys.data.importers.format import FirstSeen, Format, derived, file_of
from recsys.data.importers.reading import Layout, delimited, opened

__all__ = ["FORMAT"]

_LAYOUT = Layout(columns=("user_id", "mbid", "name", "value"), delimiter="\t", quoted=False)
_SHA1 = r"^[0-9a-f]{40}$"


def _files(source: Path) -> list[Path]:
    return [file_of(source, "usersha1-artmbid-artname-plays.tsv", "lastfm-360k")]


def _read(files: list[Path], door: Door) -> Iterator[Admitted]:
    seen = FirstSeen()
    with opened(files[0]) as stream:
        for raw in delimited(stream, files[0].name, _LAYOUT, door.refuse):
            stray = pc.invert(pc.match_substring_regex(raw["user_id"], _SHA1))
            raw = door.set_aside(raw, np.array(stray, bool), "user_id: want a SHA-1")
            mbid, name = raw["mbid"], pc.utf8_trim_whitespace(raw["name"])
            named = pc.binary_join_element_wise("name:", name, "")
            ids = pc.if_else(pc.equal(name, ""), "", named)
            ids = pc.if_else(pc.equal(mbid, ""), ids, mbid)
            kind = pa.repeat(pa.scalar("stream"), len(ids))
            events = {"user_id": raw["user_id"], "item_id": ids, "value": raw["value"]}
            admitted = door.admit("events", raw.having(events | {"kind": kind}))
            yield admitted
            good = pa.array(admitted.good)
            ids, name, mbid = (column.filter(good) for column in (ids, name, mbid))
            new = seen.rows(ids)
            ids, name, mbid = ids.take(new), name.take(new), mbid.take(new)
            name = pc.if_else(pc.equal(name, ""), ids, name)
            mbid = pc.if_else(pc.equal(mbid, ""), pa.scalar(None, pa.string()), mbid)
            yield derived("artists", {"artist_id": ids, "name": name, "mbid": mbid})
            items = {"item_id": ids, "kind": "artist", "title": name, "artist_id": ids}
            yield derived("items", items)


FORMAT = Format(name="lastfm-360k", files=_files, read=_read, snapshot=True)
"""The importer."""
