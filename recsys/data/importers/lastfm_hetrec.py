"""lastfm-hetrec: the Last.fm data of HetRec 2011, a folder of tab-separated files.

user_artists.dat (userID, artistID, weight = streams) becomes untimed stream events, artists.dat the
artists; the artist is the item here. user_taggedartists.dat with tags.dat (ISO-8859-1), where they
are, become each artist's labels, the most given first: of who gave which tag nothing is kept.
Cantador, Brusilovsky, Kuflik, "2nd workshop on information heterogeneity and fusion in
recommender systems", RecSys 2011.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys import progress
from recsys.data.importers.door import Admitted, Door
from recsys.data.importers.format import Format, derived, found_in
from recsys.data.importers.reading import Layout, RawRows, delimited, opened

__all__ = ["FORMAT"]

_PLAYS, _ARTISTS, _TAGGED, _TAGS = (
    "user_artists.dat",
    "artists.dat",
    "user_taggedartists.dat",
    "tags.dat",
)
_MAX_LABELS = 20


def _files(source: Path) -> list[Path]:
    found = found_in(source, [_PLAYS, _ARTISTS], "lastfm-hetrec")
    tags = [source / _TAGGED, source / _TAGS]
    return [*found, *tags] if all(path.is_file() for path in tags) else found


def _read(files: list[Path], door: Door) -> Iterator[Admitted]:
    plays, artists, *tags = files
    labels = _labels(tags, door) if tags else {}
    for raw in _rows(artists, door):
        named = door.admit("artists", raw.renamed({"id": "artist_id", "name": "name"}))
        yield named
        ids = named.rows.column("artist_id")
        given = [labels.pop(id, None) for id in ids.to_pylist()]
        yield derived(
            "items",
            {
                "item_id": ids,
                "kind": "artist",
                "title": named.rows.column("name"),
                "artist_id": ids,
                "labels": pa.array(given, pa.list_(pa.string())),
            },
        )
    if labels:
        progress.note(f"{_TAGGED}: tags of {len(labels):,} artists that {_ARTISTS} lacks: left out")
    columns = {"userid": "user_id", "artistid": "item_id", "weight": "value"}
    for raw in _rows(plays, door):
        yield door.admit("events", raw.renamed(columns, kind="stream"))


def _rows(path: Path, door: Door, encoding: str = "utf-8") -> Iterator[RawRows]:
    with opened(path) as stream:
        layout = Layout(delimiter="\t", quoted=False, encoding=encoding)
        yield from delimited(stream, path.name, layout, door.refuse)


def _labels(files: list[Path], door: Door) -> dict[str, list[str]]:
    """Return each artist's tags, those of most listeners first."""
    tagged, tags = files
    words: dict[str, str] = {}
    for raw in _rows(tags, door, "latin-1"):
        pairs = zip(raw["tagid"].to_pylist(), raw["tagvalue"].to_pylist(), strict=True)
        words |= {tag: word.strip() for tag, word in pairs}
    counted = []
    for raw in _rows(tagged, door):
        known = np.array(pc.is_in(raw["tagid"], pa.array(list(words), pa.string())), bool)
        raw = door.set_aside(raw, ~known, f"tagID: want one of {_TAGS}")
        counted.append(pa.table({"artist": raw["artistid"], "tag": raw["tagid"]}))
    counts = pa.concat_tables(counted).group_by(["artist", "tag"]).aggregate([([], "count_all")])
    order = [("artist", "ascending"), ("count_all", "descending"), ("tag", "ascending")]
    labels: dict[str, list[str]] = {}
    for row in counts.sort_by(order).to_pylist():
        mine = labels.setdefault(row["artist"], [])
        if len(mine) < _MAX_LABELS:
            mine.append(words[row["tag"]])
    return labels


FORMAT = Format(name="lastfm-hetrec", files=_files, read=_read, snapshot=True)
"""The importer."""
