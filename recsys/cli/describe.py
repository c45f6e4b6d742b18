"""``recsys describe DATASET``: counts, density, time range, problems found."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from recsys.data.dataset import Dataset
from recsys.data.describe import describe

__all__ = ["command"]


def command(
    dataset: Annotated[str, typer.Argument(help="The dataset's folder or bucket.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Say what a dataset holds and what may be wrong with it."""
    found = describe(Dataset.existing(dataset))
    if as_json:
        print(json.dumps(found))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    table = Table(show_header=False)
    for name in ("users", "items", "artists", "pairs"):
        table.add_row(name, f"{found[name]:,}")
    table.add_row("density", f"{found['density']:.4%}")
    table.add_row("events", _counts(found["events"]))
    table.add_row("events per user", _counts(found["events_per_user"]))
    table.add_row("items by kind", _counts(found["item_kinds"]))
    table.add_row("stored rows", _counts(found["tables"]))
    if found["first_event"]:
        table.add_row("time", f"{found['first_event']} to {found['last_event']}")
    table.add_row("untimed", f"{found['untimed_share']:.1%}")
    table.add_row("recommended", f"{found['recommended_share']:.1%}")
    table.add_row("sources", "\n".join(found["sources"]))
    console = Console()
    console.print(table)
    for problem in found["problems"]:
        console.print(f"! {problem}", markup=False, highlight=False, soft_wrap=True)


def _counts(counts: dict[str, float]) -> str:
    return ", ".join(f"{name} {n:,.10g}" for name, n in counts.items() if n) or "none"
