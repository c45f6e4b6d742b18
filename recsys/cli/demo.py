"""recsys demo: the whole way once, on a world whose truth is known."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.console import print_table

if TYPE_CHECKING:
    from recsys.bundle import Models
    from recsys.config import Config

__all__ = ["command"]

_CLIP_S = 10.0
"""Seconds of sound made of each track."""


def command(
    dir: Annotated[Path, typer.Option("--dir", metavar="D", help="Folder of the demo.")] = Path(
        "demo"
    ),
    no_serve: Annotated[bool, typer.Option("--no-serve", help="End after printing.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Which world.")] = 0,
    scale: Annotated[float, typer.Option(min=0.02, help="Size; 1 is 1,000 listeners.")] = 1.0,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to serve on.")] = 8000,
) -> None:
    """Make the demo world, train all, evaluate, print a Discover Weekly, serve."""
    from recsys.backend import LocalBackend
    from recsys.bundle import Models
    from recsys.cli.evaluate import print_report
    from recsys.config import Config
    from recsys.data.world import make_world, synthesise
    from recsys.evaluation.protocol import evaluate
    from recsys.pipeline import Content, build, read_source
    from recsys.progress import note

    config = Config()
    note(f"1/5 the world of seed {seed}, in {dir}")
    world = make_world(dir, seed=seed, scale=scale)
    note("2/5 its sound")
    synthesise(world, duration_s=_CLIP_S, workers=os.cpu_count() or 1)
    note("3/5 training on every event")
    models = Models(dir / "models")
    source = read_source(world.dataset)
    content = Content(source, config)
    build(source, config, LocalBackend(), models, content=content)
    note("4/5 evaluation on events that the models have not seen")
    report = evaluate(world.dataset, config, LocalBackend(), truth=world.truth, content=content)
    note("5/5 a Discover Weekly")
    listener = world.truth.user_ids[0]
    _print_weekly(models, config, listener)
    print_report(report)
    if not no_serve:
        from recsys.serving.local import serve_models

        serve_models(dir / "models", port=port, dataset=dir / "dataset", example=listener)


def _print_weekly(models: Models, config: Config, listener: str) -> None:
    from recsys.ensemble.recommender import HybridRecommender
    from recsys.ensemble.weekly import week_of

    week = week_of(datetime.now(UTC).date())
    recommender = HybridRecommender.load(models.open(), config=config.ensemble)
    rows = [
        (r.rank, r.title, r.artist, f"{r.score:.4f}", "; ".join(r.reasons))
        for r in recommender.weekly(listener, week)
    ]
    columns = ("rank", "title", "artist", "score", "reasons")
    title = f"Discover Weekly of {listener}, {week}"
    print_table(title, columns, rows, numeric=("rank", "score"))
