"""taste-profile: the Echo Nest Taste Profile, streams of Million Song Dataset songs.

train_triplets.txt (user, song, streams; tab-separated), or the folder with it. Where the folder
has unique_tracks.txt (track<SEP>song<SEP>artist<SEP>title), the songs that were streamed get their
title and artist; an artist is known by ``name:`` and the name. McFee, Bertin-Mahieux, Ellis,
Lanckriet, "The Million Song Dataset challenge", WWW 2012.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.importers.door import Admitted, Door
from recsys.data.importers.format import FirstSeen, Format, derived, file_of
from recsys.data.importers.reading import Layout, RawRows, delimited, opened

__all__ = ["FORMAT"]

_TRIPLETS = Layout(columns=("user_id", "item_id", "value"), delimiter="\t", quoted=False)
_TRACKS = Layout(columns=("track", "song", "artist", "title"), delimiter="<SEP>", quoted=False)


def _files(source: Path) -> list[Path]:
    triplets = file_of(source, "train_triplets.txt", "taste-profile")
    tracks = source / "unique_tracks.txt"
    return [triplets, tracks] if tracks.is_file() else [triplets]


def _read(files: list[Path], door: Door) -> Iterator[Admitted]:
    triplets, *tracks = files
    names = {name: name for name in ("user_id", "item_id", "value")}
    streamed = FirstSeen()
    for raw in _rows(triplets, _TRIPLETS, door):
        admitted = door.admit("events", raw.renamed(names, kind="stream"))
        yield admitted
        streamed.rows(admitted.rows.column("item_id"))
    songs, artists = FirstSeen(), FirstSeen()
    for path in tracks:
        for raw in _rows(path, _TRACKS, door):
            heard = pa.array([song in streamed for song in raw["song"].to_pylist()], pa.bool_())
            yield from _described(raw.columns.filter(heard), songs, artists)


def _described(tracks: pa.RecordBatch, songs: FirstSeen, artists: FirstSeen) -> Iterator[Admitted]:
    """Yield the songs and artists that `tracks` are the first to name."""
    tracks = tracks.take(songs.rows(tracks.column("song")))
    name = pc.utf8_trim_whitespace(tracks.column("artist"))
    ids = pc.binary_join_element_wise("name:", name, "")
    ids = pc.if_else(pc.equal(name, ""), pa.scalar(None, pa.string()), ids)
    items = {"item_id": tracks.column("song"), "title": tracks.column("title")}
    yield derived("items", items | {"artist_id": ids, "kind": "track"})
    new = artists.rows(ids)
    yield derived("artists", {"artist_id": ids.take(new), "name": name.take(new)})


def _rows(path: Path, layout: Layout, door: Door) -> Iterator[RawRows]:
    with opened(path) as stream:
        yield from delimited(stream, path.name, layout, door.refuse)


FORMAT = Format(name="taste-profile", files=_files, read=_read, snapshot=True)
"""The importer."""
