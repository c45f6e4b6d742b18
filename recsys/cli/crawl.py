"""recsys crawl SEEDS DATASET: polite crawl into the documents table."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys.cli.console import print_json, print_table
from recsys.cli.options import AsJson, ConfigFile, DatasetPath, SetKeys
from recsys.config import load_config

__all__ = ["command"]

_EVERYWHERE = ("0.0.0.0/0", "::/0")
_SHOWN = 20


def command(
    seeds: Annotated[Path, typer.Argument(help="Text file: one address a line; # comments.")],
    dataset: DatasetPath,
    depth: Annotated[
        int | None, typer.Option(min=0, help="Links followed from a seed page, on its own host.")
    ] = None,
    max_pages: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    contact: Annotated[
        str | None, typer.Option(help="Where site owners reach you; part of the user agent.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Fetch from private and loopback addresses too.")
    ] = False,
    state: Annotated[
        Path | None, typer.Option(help="Folder of the crawl's memory; default DATASET/crawl.")
    ] = None,
    config: ConfigFile = None,
    set_keys: SetKeys = None,
    as_json: AsJson = False,
) -> None:
    """Crawl pages, feeds and sitemaps politely into the documents table; again for what changed."""
    from recsys.data.dataset import Dataset
    from recsys.text.crawl import crawl, read_seeds

    given: dict[str, Any] = {"depth": depth, "max_pages": max_pages, "contact": contact}
    given["allowed_networks"] = _EVERYWHERE if allow_private else None
    given = {key: value for key, value in given.items() if value is not None}
    settings = replace(load_config(config, set_keys or ()).crawl, **given)
    report = crawl(read_seeds(seeds), Dataset(dataset), settings, state=state)
    if as_json:
        print_json(asdict(report))
        return
    print_table(
        f"{report.documents} documents from {report.requests} requests",
        ("addresses", "what became of them"),
        [(count, outcome) for outcome, count in report.outcomes.items()],
        numeric=("addresses",),
    )
    for address, outcome, reason in report.problems[:_SHOWN]:
        print(f"{outcome}: {address}: {reason}")
    if (more := len(report.problems) - _SHOWN) > 0:
        print(f"... and {more} more; --json lists all")
