"""``recsys import FORMAT SOURCE DATASET``: read a source into a dataset."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from recsys.data.dataset import Dataset
from recsys.data.importers import NAMES, ImportResult, import_source

__all__ = ["command"]


def command(
    format: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}, audio.")],
    source: Annotated[str, typer.Argument(help="A file or folder; the address of a database.")],
    dataset: Annotated[str, typer.Argument(help="Folder or bucket; made where it is not there.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Read a source into a dataset: all of it, or nothing. Twice is the same as once.

    "audio" takes a folder of recordings; a file that cannot be read is set aside with its reason.
    """
    if format == "audio":
        from recsys.audio.importing import import_audio

        result = import_audio(source, Dataset(dataset))
    else:
        result = import_source(format, source, Dataset(dataset))
    if as_json:
        print(json.dumps(dataclasses.asdict(result)))
    else:
        _show(result)


def _show(result: ImportResult) -> None:
    console = Console()
    if result.unchanged:
        console.print("The dataset has this source already; nothing changed.")
        return
    table = Table("table", "rows added")
    table.columns[1].justify = "right"
    for name, rows in result.rows.items():
        table.add_row(name, f"{rows:,}")
    console.print(table)
    for remark, n in result.remarks.items():
        console.print(f"{n:,} x {remark}", markup=False, highlight=False, soft_wrap=True)
    if result.private:
        console.print(f"{result.private:,} private rows dropped")
    if result.rejected:
        console.print(
            f"{result.rejected:,} bad rows set aside in {result.rejects_file}", soft_wrap=True
        )
        for reason, n in result.reasons.items():
            console.print(f"  {n:,} x {reason}", markup=False, highlight=False, soft_wrap=True)
