"""Options that several commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "ConfigFile", "DatasetPath", "ModelsPath", "SetKeys", "Workers"]

DatasetPath = Annotated[str, typer.Argument(metavar="DATASET", help="Folder or bucket of tables.")]
ModelsPath = Annotated[str, typer.Argument(metavar="MODELS", help="Folder of trained versions.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML configuration.")
]
SetKeys = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STAGE.KEY=VALUE", help="Override one key; may be repeated."),
]
Workers = Annotated[
    int, typer.Option(min=1, help="Processes that share the work; above 1 they are Ray actors.")
]
