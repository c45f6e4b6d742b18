"""recsys models MODELS (list | activate V | rollback | verify): which version serves."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from recsys.bundle import Models
from recsys.cli.console import print_json, print_table
from recsys.cli.options import AsJson, ModelsPath
from recsys.errors import UsageError

__all__ = ["command"]


class Action(StrEnum):
    """What to do with the versions."""

    list = "list"
    activate = "activate"
    rollback = "rollback"
    verify = "verify"


def command(
    models: ModelsPath,
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.list,
    version: Annotated[
        str | None, typer.Argument(metavar="V", help="The version to activate or verify.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the trained versions, let another one serve, or check what is stored."""
    kept = Models(models)
    takes_version = action in (Action.activate, Action.verify)
    if version is not None and not takes_version:
        raise UsageError(f"models {action}: takes no version, got {version!r}")
    if action is Action.list:
        _list(kept, as_json=as_json)
        return
    if action is Action.verify:
        checked = kept.open(version).version
        n_blocks = kept.verify(checked)
        if as_json:
            print_json({"version": checked, "blocks": n_blocks})
        else:
            print(f"{checked}: all {n_blocks} blocks are as they were written")
        return
    if action is Action.rollback:
        active = kept.rollback()
    elif version is None:
        raise UsageError("models activate: name the version; see `recsys models MODELS list`")
    else:
        kept.activate(version)
        active = version
    if as_json:
        print_json({"active": active})
    else:
        print(f"{active} is active in {models}")


def _list(kept: Models, *, as_json: bool) -> None:
    summaries = kept.summaries()
    active = kept.active() if kept.folder.exists("ACTIVE") else None
    if as_json:
        print_json({"active": active, "versions": [vars(summary) for summary in summaries]})
        return
    if not summaries:
        kept.active()  # raises, and says what to do
    print_table(
        f"Versions in {kept.folder.path}",
        ["", "version", "made", "trained", "users", "items", "problem"],
        [
            [
                "active" if summary.version == active else "",
                summary.version,
                summary.made_at,
                ", ".join(summary.trained),
                summary.counts.get("users"),
                summary.counts.get("items"),
                summary.problem,
            ]
            for summary in summaries
        ],
        numeric=["users", "items"],
    )
