"""recsys tune DATASET OUT: search the settings that tune.space names."""

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
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the search that was broken off in OUT.")
    ] = False,
    config: ConfigFile = None,
    set_keys: SetKeys = None,
) -> None:
    """Search lambda, alpha, factor count and whatever tune.space names on the tune slice.

    Writes OUT/best.toml, OUT/trials.csv and OUT/report.html.
    """
    from recsys.cluster.session import ray_session
    from recsys.cluster.tune import tune
    from recsys.data.dataset import Dataset

    settings = load_config(config, set_keys or ())
    with ray_session():
        best = tune(Dataset.existing(dataset), settings, out, trials=trials, resume=resume)
    print(f"{best}: give it to `recsys train --config`")
    print(f"{out / 'report.html'}: what was tried")
