"""Options that several commands share, written once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from recsys.errors import UsageError

__all__ = [
    "AsJson",
    "ConfigFile",
    "DatasetPath",
    "ModelsPath",
    "PlayableFrom",
    "SetKeys",
    "Workers",
    "files_of",
    "tempo_range",
]

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
PlayableFrom = Annotated[
    str | None,
    typer.Option(
        "--dataset", metavar="D", help="Name the recordings of this dataset in playlist files."
    ),
]


def files_of(dataset: str | None) -> Mapping[str, Path]:
    """Return the recordings of a dataset by item id; none without a dataset."""
    from recsys.data.dataset import Dataset
    from recsys.serving.clips import recordings

    if dataset is None:
        return {}
    return {id: file.resolve() for id, file in recordings(Dataset.existing(dataset)).items()}


def tempo_range(tempo: str) -> tuple[float, float]:
    """Return the lowest and highest beats a minute of a ``--tempo``."""
    low, dash, high = tempo.partition("-")
    try:
        return float(low), float(high if dash else low)
    except ValueError:
        raise UsageError(f"--tempo: want LOW-HIGH, as 160-180, got {tempo!r}") from None
