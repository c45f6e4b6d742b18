"""recsys evaluate DATASET: measure every model on the events it has not seen."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.console import print_json, print_table
from recsys.cli.options import AsJson, ConfigFile, DatasetPath, SetKeys, Workers
from recsys.config import Config, load_config
from recsys.progress import note

if TYPE_CHECKING:
    from recsys.data.dataset import Dataset
    from recsys.data.world import Truth
    from recsys.evaluation.report import Report

__all__ = ["command", "print_report"]


def command(
    dataset: DatasetPath,
    config: ConfigFile = None,
    set_keys: SetKeys = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="REPORT", help="Folder for report.json, report.md, report.html."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODELS", help="Only judge: may this recipe replace the one active in MODELS?"
        ),
    ] = None,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Train on all but the latest events of DATASET and measure every model on those.

    With --against two recipes are compared; exit code 1 says that the new one loses by more than
    evaluation.margin.
    """
    from recsys.cluster.session import backend_of
    from recsys.data.dataset import Dataset
    from recsys.evaluation.protocol import evaluate

    settings = load_config(config, set_keys or ())
    source = Dataset.existing(dataset)
    if against is not None:
        _judge(source, settings, against, workers, as_json)
        return
    with backend_of(workers) as backend:
        report = evaluate(source, settings, backend, truth=_planted(dataset))
    if out is not None:
        report.write(out)
        note(f"{out}: report.json, report.md and report.html")
    if as_json:
        print_json(report.to_dict())
    else:
        print_report(report)


def _judge(source: Dataset, settings: Config, against: str, workers: int, as_json: bool) -> None:
    from recsys.bundle import Models
    from recsys.cluster.session import backend_of
    from recsys.evaluation.gate import judge
    from recsys.pipeline import Content, read_source

    old = Models(against).open().config
    with backend_of(workers) as backend:
        verdict = judge(Content(read_source(source), settings, backend=backend), old)
    if as_json:
        print_json(asdict(verdict))
    else:
        print(verdict.sentence())
    if not verdict.passed:
        raise typer.Exit(1)


def print_report(report: Report) -> None:
    """Print a report as a table."""
    heads, rows = report.columns(brief=True), report.rows(brief=True)
    caption = "\n".join([*report.summary(), *report.notes])
    print_table("Evaluation", heads, rows, numeric=heads[1:], caption=caption)


def _planted(dataset: str) -> Truth | None:
    """Return what was planted where the dataset is a demo world's, which keeps it beside it."""
    from recsys.data.world import World

    folder = Path(dataset).absolute()
    if "://" in dataset or not (folder.parent / "truth" / "truth.json").exists():
        return None
    return World.open(folder.parent).truth
