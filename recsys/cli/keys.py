"""recsys keys MODELS (create NAME | list | revoke NAME): who may ask a server."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from recsys.cli.console import print_json, print_table
from recsys.cli.options import AsJson, ModelsPath
from recsys.errors import UsageError

__all__ = ["command"]


class Action(StrEnum):
    """What to do with the keys."""

    create = "create"
    list = "list"
    revoke = "revoke"


def command(
    models: ModelsPath,
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.list,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Name of the key.")] = None,
    scopes: Annotated[
        str, typer.Option(metavar="NAMES", help="Of read, write, admin; with commas.")
    ] = "read,write",
    as_json: AsJson = False,
) -> None:
    """Create, list or revoke API keys. A new key is printed once and kept as a hash only."""
    from recsys.serving.security import KeyRing
    from recsys.storage import Folder

    ring = KeyRing(Folder(models))
    if action is Action.list:
        rows = [(key.name, ", ".join(key.scopes), key.made_at) for key in ring.keys]
        if as_json:
            print_json([{"name": n, "scopes": s.split(", "), "made_at": m} for n, s, m in rows])
        else:
            print_table(f"Keys of {models}", ["name", "scopes", "made"], rows)
        return
    if name is None:
        raise UsageError(f"keys {action}: name the key")
    if action is Action.revoke:
        ring.revoke(name)
        print_json({"revoked": name}) if as_json else print(f"{name} is revoked")
        return
    secret = ring.create(name, [scope.strip() for scope in scopes.split(",")])
    print_json({"name": name, "key": secret}) if as_json else print(secret)
