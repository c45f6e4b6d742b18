"""recsys recommend MODELS (USER | --all-users): lists of items that a listener never heard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.cli.console import print_json, print_list
from recsys.cli.options import AsJson, ModelsPath, tempo_range
from recsys.errors import UsageError
from recsys.progress import note, track

if TYPE_CHECKING:
    import pyarrow as pa

    from recsys.ensemble.recommender import HybridRecommender, Recommendation

__all__ = ["command"]

_BLOCK = 2048
"""Listeners whose lists are held at once."""


def command(
    models: ModelsPath,
    user: Annotated[str | None, typer.Argument(metavar="USER", help="Id of a listener.")] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Lists of all listeners.")] = False,
    k: Annotated[int, typer.Option("-k", help="Items in a list.")] = 30,
    kind: Annotated[
        str | None, typer.Option(help="Kind of item; by default the one most listened to.")
    ] = None,
    territory: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only what may be heard there, as HK.")
    ] = None,
    clean: Annotated[bool, typer.Option("--clean", help="Nothing marked explicit.")] = False,
    tempo: Annotated[
        str | None,
        typer.Option(metavar="LOW-HIGH", help="Beats a minute; half and double tempo count."),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(help="running, or morning, afternoon, evening, night: what is played then."),
    ] = None,
    diversity: Annotated[
        float | None, typer.Option(help="0 by score alone, 1 by variety alone; as trained.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="NAME:X,...", help="Factors of signals, as text:2,popularity:0."),
    ] = None,
    smooth: Annotated[
        bool, typer.Option("--smooth", help="Order by small steps in key and tempo.")
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(metavar="F.parquet", help="Write user_id, item_id, rank, score here."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print recommendations for USER, or write those of all: JSON Lines, or Parquet with --out."""
    from recsys.bundle import Models
    from recsys.ensemble.recommender import HybridRecommender

    if (user is None) == (not all_users):
        raise UsageError("recommend: give either USER or --all-users")
    recommender = HybridRecommender.load(Models(models).open())
    if not recommender.catalogue.n_users:
        raise UsageError(
            f"recommend: version {recommender.version} was trained without listeners; import "
            f"events and train again, or ask `recsys similar`"
        )
    if user is not None:
        recommender.catalogue.users.require(user)
    users = recommender.catalogue.users if user is None else [user]
    asked: dict[str, Any] = {
        "kind": kind,
        "territory": territory,
        "explicit": False if clean else None,
        "tempo": None if tempo is None else tempo_range(tempo),
        "context": context,
        "weights": None if weights is None else _factors(weights),
        "diversity": diversity,
    }
    if out is not None:
        if smooth:
            raise UsageError("recommend: --smooth orders what is printed; leave out --out")
        rows = _write(out, _tables(recommender, user, k, asked))
        note(f"{out}: {rows:,} rows for {len(users):,} listeners")
    elif as_json or user is None:
        for user_id in users:
            found = recommender.recommend(user_id, k, **asked)
            items = [one._asdict() for one in (recommender.smooth(found) if smooth else found)]
            print_json({"user_id": user_id, "items": items})
    else:
        found = recommender.recommend(user, k, **asked)
        _print(recommender, user, recommender.smooth(found) if smooth else found, k, asked)


def _is_rule(asked: tuple[str, Any]) -> bool:
    return asked[0] in ("territory", "explicit", "tempo", "context") and asked[1] is not None


def _factors(weights: str) -> dict[str, float]:
    pairs = (part.partition(":") for part in weights.split(","))
    try:
        return {name.strip(): float(number) for name, _, number in pairs}
    except ValueError:
        raise UsageError(f"--weights: want NAME:X,..., as text:2, got {weights!r}") from None


def _print(
    recommender: HybridRecommender,
    user: str,
    found: list[Recommendation],
    k: int,
    asked: dict[str, Any],
) -> None:
    wanted = asked["kind"] or recommender.default_kind
    if not found:
        rule = " that the rules allow" if any(map(_is_rule, asked.items())) else ""
        note(f"{user} has heard every {wanted}{rule}: nothing is left to recommend")
        return
    print_list(f"For {user}", found)
    if len(found) < k:
        cap = recommender.config.ensemble.max_per_artist
        rule = f" with at most {cap} an artist" if cap else ""
        note(f"{len(found)} of {k}: {user} has not heard any more of kind {wanted}{rule}")


def _tables(
    recommender: HybridRecommender, user: str | None, k: int, asked: dict[str, Any]
) -> Iterator[pa.Table]:
    """Yield the lists of one listener or of all, block by block."""
    import numpy as np
    import pyarrow as pa

    catalogue = recommender.catalogue
    chosen = np.arange(catalogue.n_users) if user is None else [catalogue.users.row(user)]
    user_ids, item_ids = catalogue.users.to_arrow(), catalogue.items.to_arrow()
    blocks = [np.asarray(chosen[at : at + _BLOCK]) for at in range(0, len(chosen), _BLOCK)]
    for users in track(blocks, "recommend"):
        items, scores = recommender.rank(users, k, **asked)
        listener, place = np.nonzero(items >= 0)
        columns: dict[str, Any] = {
            "user_id": user_ids.take(pa.array(users[listener])).cast(pa.string()),
            "item_id": item_ids.take(pa.array(items[listener, place])).cast(pa.string()),
            "rank": pa.array(place + 1, pa.int32()),
            "score": pa.array(scores[listener, place], pa.float64()),
        }
        yield pa.table(columns)


def _write(path: str, tables: Iterator[pa.Table]) -> int:
    """Write tables as one Parquet file, whole or not at all; return the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from recsys.storage import Folder

    schema = pa.schema(
        {"user_id": pa.string(), "item_id": pa.string(), "rank": pa.int32(), "score": pa.float64()}
    )
    parent, slash, name = path.rpartition("/")
    rows = 0
    with (
        Folder((parent or slash) or ".").writing(name) as stream,
        pq.ParquetWriter(stream, schema, compression="zstd") as writer,
    ):
        for table in tables:
            writer.write_table(table)
            rows += table.num_rows
    return rows
