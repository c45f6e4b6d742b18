"""recsys playlist MODELS SEED...: what to play after some items, or a radio of artists."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from recsys.cli.console import print_json, print_list
from recsys.cli.options import AsJson, ModelsPath, PlayableFrom, files_of, tempo_range
from recsys.errors import UsageError
from recsys.progress import note

__all__ = ["command"]


class Format(StrEnum):
    """Of a playlist file."""

    jspf = "jspf"
    m3u = "m3u"


def command(
    models: ModelsPath,
    seeds: Annotated[
        list[str] | None, typer.Argument(metavar="SEED...", help="Ids of items to go on from.")
    ] = None,
    artists: Annotated[
        list[str] | None,
        typer.Option("--artist", metavar="ID", help="A radio of this artist; may be repeated."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Items in the list.")] = 30,
    tempo: Annotated[
        str | None,
        typer.Option(metavar="LOW-HIGH", help="Beats a minute; half and double tempo count."),
    ] = None,
    smooth: Annotated[
        bool, typer.Option("--smooth", help="Order by small steps in key and tempo.")
    ] = False,
    format: Annotated[
        Format | None, typer.Option("--format", help="Print a playlist file instead of a table.")
    ] = None,
    dataset: PlayableFrom = None,
    as_json: AsJson = False,
) -> None:
    """Print what goes on from SEEDs, or from artists: a continuation, a radio."""
    from recsys.bundle import Models
    from recsys.ensemble.playlist import go_on
    from recsys.ensemble.recommender import HybridRecommender
    from recsys.serving.playlists import jspf, m3u

    if as_json and format is not None:
        raise UsageError("playlist: give either --json or --format")
    recommender = HybridRecommender.load(Models(models).open())
    made = go_on(
        recommender,
        seeds or (),
        k,
        artists=artists or (),
        smooth=smooth,
        tempo=None if tempo is None else tempo_range(tempo),
    )
    title = f"After {', '.join([*(seeds or ()), *(artists or ())])}"
    if as_json:
        print_json({"items": [one._asdict() for one in made]})
    elif format is not None:
        text = {Format.jspf: jspf, Format.m3u: m3u}[format](title, made, files_of(dataset))
        print(text, end="" if text.endswith("\n") else "\n")
    else:
        print_list(title, made)
        if len(made) < k:
            note(f"{len(made)} of {k}: nothing else may be listed here")
