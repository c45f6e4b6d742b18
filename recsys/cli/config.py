"""recsys config (show | check): what every key is set to."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from recsys.cli.console import print_json
from recsys.cli.options import AsJson, ConfigFile, SetKeys
from recsys.config import load_config

__all__ = ["command"]


class Action(StrEnum):
    """What to do with the configuration."""

    show = "show"
    check = "check"


def command(
    action: Annotated[Action, typer.Argument(help="Print every key, or only check.")],
    config: ConfigFile = None,
    set_keys: SetKeys = None,
    as_json: AsJson = False,
) -> None:
    """Show the whole configuration as TOML that --config takes back, or check a file."""
    settings = load_config(config, set_keys or ())
    if as_json:
        print_json(settings.to_dict())
    elif action is Action.show:
        print(settings.to_toml(), end="")
    else:
        print(f"{config or 'defaults'}: every key is known and every value is usable")
