"""recsys serve MODELS: answer over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from recsys.cli.options import ConfigFile, ModelsPath, SetKeys
from recsys.config import load_config

__all__ = ["command"]


def command(
    models: ModelsPath,
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    config: ConfigFile = None,
    set_keys: SetKeys = None,
) -> None:
    """Answer over HTTP from the active version in MODELS until Ctrl-C; follow its changes."""
    from recsys.serving.local import serve_models

    settings = load_config(config, set_keys or ())
    serve_models(models, host=host, port=port, config=settings.serving)
