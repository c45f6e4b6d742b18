"""movielens: star ratings of films, in the layouts of 100k, 1M / 10M and latest.

A folder with u.data and u.item, with ratings.dat and movies.dat, or with ratings.csv and
movies.csv. Ratings become timed rating events (value = stars), films items of kind movie with their
genres as labels. Harper, Konstan, "The MovieLens datasets", ACM TiiS 5 (2015) 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.importers.door import Admitted, Door
from recsys.data.importers.format import Format
from recsys.data.importers.reading import Layout, RawRows, delimited, opened
from recsys.errors import InputError

__all__ = ["FORMAT"]

_RATING = ("userid", "movieid", "rating", "timestamp")
_FILM = ("movieid", "title", "genres")
_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_NO_GENRES = "(no genres listed)"
_LAYOUTS = {
    "ratings.csv": ("movies.csv", Layout(delimiter=","), Layout(delimiter=",")),
    "ratings.dat": (
        "movies.dat",
        Layout(columns=_RATING, delimiter="::", quoted=False),
        Layout(columns=_FILM, delimiter="::", quoted=False, encoding="latin-1"),
    ),
    "u.data": (
        "u.item",
        Layout(columns=_RATING, delimiter="\t", quoted=False),
        Layout(
            columns=("movieid", "title", "released", "video", "url", *_GENRES),
            delimiter="|",
            quoted=False,
            encoding="latin-1",
        ),
    ),
}


def _files(source: Path) -> list[Path]:
    for ratings, (films, _, _) in _LAYOUTS.items():
        if (source / ratings).is_file() and (source / films).is_file():
            return [source / ratings, source / films]
    wanted = " or ".join(f"{ratings} and {films}" for ratings, (films, *_) in _LAYOUTS.items())
    raise InputError(f"{source}: movielens wants a folder with {wanted}")


def _read(files: list[Path], door: Door) -> Iterator[Admitted]:
    ratings, films = files
    _, rating_layout, film_layout = _LAYOUTS[ratings.name]
    for raw in _rows(films, film_layout, door):
        yield door.admit("items", _film(raw))
    names = {"userid": "user_id", "movieid": "item_id", "rating": "value", "timestamp": "at"}
    for raw in _rows(ratings, rating_layout, door):
        yield door.admit("events", raw.renamed(names, kind="rating"))


def _rows(path: Path, layout: Layout, door: Door) -> Iterator[RawRows]:
    with opened(path) as stream:
        yield from delimited(stream, path.name, layout, door.refuse)


def _film(raw: RawRows) -> RawRows:
    """Return rows of the items table; the year stands at the end of a film's title."""
    titles = pc.utf8_trim_whitespace(raw["title"])
    years = pc.struct_field(pc.extract_regex(titles, r"\((?P<year>\d{4})\)$"), "year")
    if "genres" in raw.columns.schema.names:
        genres = pc.if_else(pc.equal(raw["genres"], _NO_GENRES), "", raw["genres"])
    else:
        flags = zip(*(raw[name].to_pylist() for name in _GENRES), strict=True)
        named = ("|".join(g for g, flag in zip(_GENRES, row) if flag == "1") for row in flags)
        genres = pa.array(named, pa.string())
    kind = pa.repeat(pa.scalar("movie"), len(titles))
    columns = {"item_id": raw["movieid"], "title": titles, "kind": kind}
    return raw.having(columns | {"released_at": years, "labels": genres})


FORMAT = Format(name="movielens", files=_files, read=_read, snapshot=True)
"""The importer."""
