"""recsys weekly MODELS OUT: every listener's Discover Weekly as files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from recsys.cli.options import ModelsPath, PlayableFrom, Workers, files_of
from recsys.errors import UsageError

if TYPE_CHECKING:
    from recsys.bundle import Models

__all__ = ["command"]

_FORMATS = ("parquet", "jspf", "m3u")


def command(
    models: ModelsPath,
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder or bucket to write to.")],
    week: Annotated[
        str | None, typer.Option(metavar="2026-W47", help="ISO week; default: this one.")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", metavar="NAMES", help="Of parquet, jspf, m3u; with commas.")
    ] = "parquet",
    workers: Workers = 1,
    adventurous: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of unknown artists; default: as trained."),
    ] = None,
    dataset: PlayableFrom = None,
) -> None:
    """Write every listener's 30 items of a week; lists made earlier stay as they were."""
    from recsys.bundle import Models
    from recsys.cluster.session import backend_of
    from recsys.ensemble.bulk import all_weekly
    from recsys.ensemble.weekly import week_of, weeks_before

    formats = [name.strip() for name in format.split(",")]
    unknown = [name for name in formats if name not in _FORMATS]
    if unknown:
        raise UsageError(f"--format: want some of {', '.join(_FORMATS)}, got {unknown[0]!r}")
    week = week or week_of(datetime.now(UTC).date())
    weeks_before(week, 1)
    kept = Models(models)
    version = kept.open().version
    with backend_of(workers) as backend:
        n_new = all_weekly(kept, version, week, backend, adventurous=adventurous)
    n_lists = _write(kept, version, week, out, formats, files_of(dataset))
    print(f"{n_lists:,} lists of {week} in {out}, {n_new:,} made now")


def _write(
    models: Models,
    version: str,
    week: str,
    out: str,
    formats: list[str],
    files: Mapping[str, Path],
) -> int:
    """Write the lists in every format and return how many were not empty."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from recsys.data.catalogue import Catalogue
    from recsys.ensemble.bulk import lists_of_week
    from recsys.ensemble.recommender import Recommendation
    from recsys.ensemble.weekly import Shelf
    from recsys.serving.playlists import jspf, m3u
    from recsys.storage import Folder

    texts = {"jspf": jspf, "m3u": m3u}
    folder, catalogue = Folder(out), Catalogue.read(models.open(version))
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    columns: dict[str, list[object]] = {name: [] for name, _ in _COLUMNS}
    n_lists = 0
    for kept in lists_of_week(Shelf(models.folder), catalogue, week, now_ms=now_ms):
        items = [Recommendation(**item) for item in kept.items]
        n_lists += bool(items)
        for item in items:
            row = (kept.user_id, week, item.rank, item.item_id, item.score, kept.version)
            for values, value in zip(columns.values(), row, strict=True):
                values.append(value)
        for name in formats:
            if name in texts and items:
                title = f"Discover Weekly of {kept.user_id}, {week}"
                file = f"{week}/{quote(kept.user_id, safe='')[:120]}.{name}"
                folder.write(file, texts[name](title, items, files).encode())
    if "parquet" in formats:
        schema = pa.schema([(name, pa.type_for_alias(type)) for name, type in _COLUMNS])
        with folder.writing(f"{week}.parquet") as stream:
            pq.write_table(pa.table(columns, schema), stream, compression="zstd")
    return n_lists


_COLUMNS = (
    ("user_id", "string"),
    ("week", "string"),
    ("rank", "int32"),
    ("item_id", "string"),
    ("score", "double"),
    ("version", "string"),
)
