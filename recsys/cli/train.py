"""recsys train DATASET MODELS: train what the dataset has data for into a new version."""

from __future__ import annotations

from typing import Annotated

import typer

from recsys import progress
from recsys.cli.console import JsonReporter, print_json
from recsys.cli.options import AsJson, ConfigFile, DatasetPath, ModelsPath, SetKeys, Workers
from recsys.config import load_config

__all__ = ["command"]


def command(
    dataset: DatasetPath,
    models: ModelsPath,
    workers: Workers = 1,
    cores: Annotated[int, typer.Option(min=1, help="Cores of each Ray actor.")] = 1,
    config: ConfigFile = None,
    set_keys: SetKeys = None,
    only: Annotated[
        str, typer.Option(metavar="NAMES", help="Models to train, separated by commas.")
    ] = "collaborative,text,audio",
    sharded: Annotated[
        bool,
        typer.Option("--sharded", help="Let workers read the log, so that no process holds it."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a training that was killed had got to.")
    ] = False,
    judged: Annotated[
        bool,
        typer.Option(
            "--judged/--unjudged",
            help="Where another recipe serves, let the new version serve only if its recipe does "
            "not lose to that one on the latest events; not of --sharded.",
        ),
    ] = True,
    figures: Annotated[
        bool, typer.Option("--figures", help="Say progress as JSON lines on stderr, with figures.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train what DATASET has data for into a new version in MODELS and let it serve."""
    from recsys.bundle import Models
    from recsys.cluster.scale import build_sharded
    from recsys.cluster.session import backend_of
    from recsys.data.dataset import Dataset
    from recsys.evaluation.gate import challenge
    from recsys.pipeline import Content, build, check_names, read_source

    settings = load_config(config, set_keys or ())
    known = Dataset.existing(dataset)
    kept = Models(models)
    names = [name.strip() for name in only.split(",")]
    check_names(names)
    reporter = JsonReporter() if figures else progress.current()
    verdict = None
    with progress.report_to(reporter), backend_of(workers, num_cpus=cores) as backend:
        if sharded:
            version = build_sharded(known, settings, backend, kept, only=names, resume=resume)
        else:
            content = Content(read_source(known), settings, names, backend=backend)
            verdict = challenge(content, kept) if judged else None
            version = build(
                content.source,
                settings,
                backend,
                kept,
                only=names,
                activate=verdict is None or verdict.passed,
                resume=resume,
                content=content,
            )
    facts = kept.open(version).facts
    active = kept.active() == version
    if as_json:
        print_json({"version": version, "active": active, **facts})
        return
    if verdict is not None:
        print(verdict.sentence())
    place = "active" if active else "kept but not active"
    print(f"{version} is {place} in {models}; trained {', '.join(facts['trained'])}")
    for name, reason in facts["left_out"].items():
        print(f"left out {name}: {reason}")
