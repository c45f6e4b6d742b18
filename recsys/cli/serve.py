"""recsys serve MODELS: answer over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from recsys.cli.options import ConfigFile, ModelsPath, SetKeys
from recsys.config import load_config

__all__ = ["command"]


def command(
    models: ModelsPath,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than loopback it wants API keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    events: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Event store; default: SQLite beside the versions."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="D", help="What was trained on: for clips and for deletions."),
    ] = None,
    config: ConfigFile = None,
    set_keys: SetKeys = None,
) -> None:
    """Answer over HTTP from the active version in MODELS until Ctrl-C; follow its changes."""
    from recsys.serving.local import serve_models

    settings = load_config(config, set_keys or ())
    serve_models(
        models, host=host, port=port, config=settings.serving, events=events, dataset=dataset
    )
