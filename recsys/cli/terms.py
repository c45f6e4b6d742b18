"""recsys terms MODELS ARTIST: what is said of an artist."""

from __future__ import annotations

from typing import Annotated

import typer

from recsys.cli.console import print_json, print_table
from recsys.cli.options import AsJson, ModelsPath

__all__ = ["command"]


def command(
    models: ModelsPath,
    artist: Annotated[str, typer.Argument(metavar="ARTIST", help="An artist's id or name.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Terms to print.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Print the artist's weightiest terms with their scores."""
    from recsys.bundle import Models
    from recsys.data.catalogue import Catalogue
    from recsys.text.model import TextModel

    bundle = Models(models).open()
    catalogue = Catalogue.read(bundle)
    row = catalogue.find_artist(artist)
    terms = TextModel.read(bundle).top_terms(row, k)
    artist_id, name = catalogue.artists[row], catalogue.artist_name(row)
    if as_json:
        listed = [{"term": term, "score": score} for term, score in terms]
        print_json({"artist_id": artist_id, "name": name, "terms": listed})
        return
    rows = [(term, f"{score:.4f}") for term, score in terms]
    print_table(f"What is said of {name}", ("term", "score"), rows, numeric=("score",))
