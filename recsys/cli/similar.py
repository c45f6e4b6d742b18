"""recsys similar MODELS (item|artist|user) (ID | --all): nearest neighbours by any model."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.console import print_json, print_table
from recsys.cli.options import AsJson, ModelsPath
from recsys.errors import UsageError
from recsys.progress import note

if TYPE_CHECKING:
    from recsys.ensemble.recommender import HybridRecommender

__all__ = ["command"]

_BLOCK = 512
"""Rows searched at once."""


class Kind(StrEnum):
    """What is compared."""

    item = "item"
    artist = "artist"
    user = "user"


class By(StrEnum):
    """Whose vectors compare it."""

    collaborative = "collaborative"
    text = "text"
    audio = "audio"
    hybrid = "hybrid"


def command(
    models: ModelsPath,
    kind: Annotated[Kind, typer.Argument(help="What ID names.")],
    id: Annotated[str | None, typer.Argument(metavar="ID")] = None,
    all_ids: Annotated[bool, typer.Option("--all", help="Neighbours of every id.")] = False,
    k: Annotated[int, typer.Option("-k", help="Neighbours wanted.")] = 10,
    by: Annotated[By, typer.Option(help="The model that compares; hybrid: all.")] = By.hybrid,
    as_json: AsJson = False,
) -> None:
    """Print the nearest items, artists or listeners; JSON Lines with --all.

    Items by audio come with what the two recordings share: tempo, key, metre.
    """
    from recsys.bundle import Models
    from recsys.ensemble.recommender import HybridRecommender

    if (id is None) == (not all_ids):
        raise UsageError("similar: give either ID or --all")
    recommender = HybridRecommender.load(Models(models).open())
    if id is None:
        _print_all(recommender, kind.value, k, by.value)
        return
    found = recommender.similar(kind.value, id, k, by=by.value)
    heard = kind is Kind.item and by is By.audio
    why = [recommender.in_common(id, other) if heard else "" for other, _ in found]
    if as_json:
        pairs = [
            {"id": other, "score": score} | ({"why": shared} if heard else {})
            for (other, score), shared in zip(found, why, strict=True)
        ]
        print_json({"kind": kind, "id": id, "similar": pairs})
    elif not found:
        note(f"{kind} {id!r} has no neighbours by {by}")
    else:
        columns = ["rank", "id", "name", "score", *(["why"] if heard else [])]
        rows = [
            [place, other, _name(recommender, kind, other), f"{score:.4f}", *([shared] * heard)]
            for place, ((other, score), shared) in enumerate(zip(found, why, strict=True), start=1)
        ]
        print_table(f"Like {kind} {id}, by {by}", columns, rows, numeric=("rank", "score"))


def _print_all(recommender: HybridRecommender, kind: str, k: int, by: str) -> None:
    import numpy as np

    catalogue = recommender.catalogue
    ids = {"item": catalogue.items, "artist": catalogue.artists, "user": catalogue.users}[kind]
    for start in range(0, len(ids), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(ids)))
        found, scores = recommender.neighbours(kind, rows, k, by=by)
        for row, others, values in zip(rows.tolist(), found.tolist(), scores.tolist(), strict=True):
            pairs = [
                {"id": ids[other], "score": score}
                for other, score in zip(others, values, strict=True)
                if other >= 0
            ]
            print_json({"kind": kind, "id": ids[row], "similar": pairs})


def _name(recommender: HybridRecommender, kind: str, id: str) -> str:
    catalogue = recommender.catalogue
    if kind == "user":
        return ""
    if kind == "artist":
        return catalogue.artist_name(catalogue.artists.row(id))
    return catalogue.title(catalogue.items.row(id))
