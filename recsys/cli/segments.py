"""recsys segments MODELS: the groups of listeners and what sets each apart."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from recsys.cli.console import print_json, print_table
from recsys.cli.options import AsJson, ModelsPath
from recsys.errors import UsageError

__all__ = ["command"]


def command(
    models: ModelsPath,
    k: Annotated[int, typer.Option("-k", help="Artists and terms of each group.")] = 5,
    user: Annotated[
        str | None, typer.Option(metavar="USER", help="Only the group of this listener.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the groups of listeners, by the artists and terms that set them apart."""
    from recsys.bundle import Models
    from recsys.ensemble.recommender import HybridRecommender
    from recsys.ensemble.segments import SEGMENT_COLUMNS, Segments, describe_segments

    if k < 1:
        raise UsageError(f"k: want 1 or more, got {k}")
    bundle = Models(models).open()
    recommender, segments = HybridRecommender.load(bundle), Segments.read(bundle)
    described = describe_segments(recommender, segments, k=k)
    if user is not None:
        own = int(segments.of_user[recommender.catalogue.users.require(user)])
        described = [one for one in described if one.number == own]
    if as_json:
        print_json({"segments": [asdict(one) for one in described]})
        return
    rows = [one.cells() for one in described]
    print_table("Listeners' groups", SEGMENT_COLUMNS, rows, numeric=SEGMENT_COLUMNS[:3])
