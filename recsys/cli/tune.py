"""recsys tune DATASET OUT: search lambda, alpha and factor count."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys.cli.options import ConfigFile, DatasetPath, SetKeys
from recsys.config import load_config

__all__ = ["command"]


def command(
    dataset: DatasetPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the report.")],
    trials: Annotated[int, typer.Option(min=1, help="Settings to try.")] = 20,
    config: ConfigFile = None,
    set_keys: SetKeys = None,
) -> None:
    """Search lambda, alpha and factor count on the tune slice; write OUT/best.toml."""
    from recsys.cluster.session import ray_session
    from recsys.cluster.tune import tune
    from recsys.data.dataset import Dataset

    settings = load_config(config, set_keys or ())
    with ray_session():
        best = tune(Dataset.existing(dataset), settings, out, trials=trials)
    print(f"{best}: give it to `recsys train --config`")
