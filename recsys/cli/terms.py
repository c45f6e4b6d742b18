"""recsys terms MODELS ARTIST: what is said of an artist."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import typer

from recsys.cli.console import print_json, print_table
from recsys.cli.options import AsJson, ModelsPath

__all__ = ["command"]

_ARTISTS = "artists"
_INCHES_A_TERM = 0.25

Scores = list[tuple[str, float]]


def command(
    models: ModelsPath,
    artist: Annotated[str, typer.Argument(metavar="ARTIST", help="An artist's id or name.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Terms of each type.")] = 10,
    as_json: AsJson = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw them: png, svg or pdf by its name.")
    ] = None,
) -> None:
    """Print an artist's weightiest terms of each type, and who is discussed alongside."""
    from recsys.bundle import Models
    from recsys.data.catalogue import Catalogue
    from recsys.text.model import TextModel

    bundle = Models(models).open()
    catalogue = Catalogue.read(bundle)
    row = catalogue.find_artist(artist)
    model = TextModel.read(bundle)
    alongside = model.companions(row, k)
    artist_id, name = catalogue.artists[row], catalogue.artist_name(row)
    named = [(catalogue.artist_name(other), score) for other, score in alongside]
    said = model.table(row, k)
    table = {"n2": said["n2"], "np": said["np"], "adj": said["adj"], _ARTISTS: named} | said
    if plot is not None:
        _draw(name, table, plot)
    if as_json:
        listed: dict[str, list[dict[str, object]]] = {
            kind: [{"term": term, "score": score} for term, score in scores]
            for kind, scores in table.items()
        }
        for entry, (other, _) in zip(listed[_ARTISTS], alongside, strict=True):
            entry["artist_id"] = catalogue.artists[other]
        print_json({"artist_id": artist_id, "name": name, "terms": listed})
        return
    cells = zip_longest(
        *([(term, f"{score:.4f}") for term, score in scores] for scores in table.values()),
        fillvalue=("", ""),
    )
    print_table(
        f"What is said of {name}",
        [heading for kind in table for heading in (kind, "score")],
        [[cell for pair in line for cell in pair] for line in cells],
        numeric=("score",),
    )


def _draw(name: str, table: dict[str, Scores], path: Path) -> None:
    """Draw one panel of bars for each type."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from recsys.errors import InputError

    longest = max(len(scores) for scores in table.values())
    figure = Figure(figsize=(4 * len(table), 1 + _INCHES_A_TERM * max(longest, 1)))
    FigureCanvasAgg(figure)
    for panel, (kind, scores) in zip(figure.subplots(1, len(table)), table.items(), strict=True):
        # A dollar sign begins a formula in matplotlib.
        panel.barh([term.replace("$", r"\$") for term, _ in scores], [score for _, score in scores])
        panel.invert_yaxis()
        panel.set_title(kind)
    figure.suptitle(f"What is said of {name}".replace("$", r"\$"))
    figure.tight_layout()
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise InputError(f"--plot {path}: {error}") from error
