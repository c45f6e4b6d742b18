"""recsys experiment MODELS (start NAME V | status | stop | report): two versions side by side."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.cli.console import print_json, print_table
from recsys.cli.options import AsJson, ModelsPath
from recsys.errors import UsageError

if TYPE_CHECKING:
    from recsys.serving.experiment import Outcome

__all__ = ["command"]


class Action(StrEnum):
    """What to do with the experiment."""

    start = "start"
    status = "status"
    stop = "stop"
    report = "report"


def command(
    models: ModelsPath,
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.status,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Of the experiment; a report's default: this one."),
    ] = None,
    version: Annotated[
        str | None, typer.Argument(metavar="V", help="The version to try against the active one.")
    ] = None,
    share: Annotated[float, typer.Option(help="Share of the listeners who get it.")] = 0.5,
    events: Annotated[
        str | None, typer.Option(metavar="URL", help="Event store; default: beside the versions.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a share of the listeners be answered by version V, and report what they played."""
    from recsys.bundle import Models
    from recsys.serving import experiment as trial

    kept = Models(models)
    now = trial.running(kept.folder) if action is not Action.stop else None
    if action is Action.start:
        if name is None or version is None:
            raise UsageError("experiment start: give NAME and V; see `recsys models MODELS list`")
        now = trial.start(kept, name, version, share)
    if action is Action.stop:
        trial.stop(kept)
    if action is not Action.report:
        if as_json:
            print_json({"experiment": None if now is None else asdict(now)})
        else:
            print("no experiment runs" if now is None else _line(now))
        return
    name = name or (None if now is None else now.name)
    if name is None:
        raise UsageError("experiment report: no experiment runs; give its NAME")
    outcomes, difference = trial.report(_counts(models, events, name))
    if as_json:
        print_json({"name": name, **_plain(outcomes, difference)})
    else:
        _print(name, outcomes, difference)


def _counts(models: str, events: str | None, name: str) -> Any:
    from recsys.data.eventstore import EventStore
    from recsys.serving.app import default_events

    url = events or default_events(models)
    if url is None:
        raise UsageError("experiment report: versions in a bucket; give --events URL")
    store = EventStore(url)
    try:
        return store.variants(name)
    finally:
        store.close()


def _line(now: Any) -> str:
    return f"{now.name}: {now.share:.0%} of the listeners get {now.version} since {now.started_at}"


def _plain(outcomes: list[Outcome], difference: tuple[float, float, float]) -> dict[str, Any]:
    """Return JSON without NaN, which no JSON knows."""

    def known(value: Any) -> Any:
        return None if isinstance(value, float) and value != value else value

    rows = [{k: known(v) for k, v in asdict(outcome).items()} for outcome in outcomes]
    names = ("difference", "low", "high")
    return {
        "variants": rows,
        "treatment_minus_control": dict(zip(names, map(known, difference), strict=True)),
    }


def _print(name: str, outcomes: list[Outcome], difference: tuple[float, float, float]) -> None:
    rows = [
        (o.variant, o.listeners, o.exposures, o.plays, _rate(o.rate), _span(o.low, o.high))
        for o in outcomes
    ]
    columns = ("variant", "listeners", "exposures", "plays", "plays per exposure", "95 %")
    middle, low, high = difference
    told = f"treatment - control: {_rate(middle)} ({_span(low, high)})"
    print_table(name, columns, rows, numeric=columns[1:], caption=told)


def _rate(value: float) -> str:
    return f"{value:.4f}" if value == value else "unknown"


def _span(low: float, high: float) -> str:
    return f"{low:.4f} to {high:.4f}" if low == low else "too few listeners"
