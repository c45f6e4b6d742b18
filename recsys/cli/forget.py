"""recsys forget DATASET MODELS [USER]: delete a listener everywhere; prints the receipt."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from recsys.cli.console import print_json
from recsys.cli.options import AsJson, DatasetPath, ModelsPath
from recsys.errors import NotFoundError, UsageError

__all__ = ["command"]


def command(
    dataset: DatasetPath,
    models: ModelsPath,
    user: Annotated[
        str | None,
        typer.Argument(metavar="USER", help="Id; without one, what is pending is finished."),
    ] = None,
    events: Annotated[
        str | None, typer.Option(metavar="URL", help="Event store; default: beside the versions.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Delete USER from DATASET, every version in MODELS, weekly lists and the event store."""
    from recsys.bundle import Models
    from recsys.data.dataset import Dataset
    from recsys.data.eventstore import EventStore
    from recsys.serving.app import default_events
    from recsys.serving.forgetting import Forgetting

    url = events or default_events(models)
    if url is None:
        raise UsageError("forget: versions in a bucket; give --events URL")
    source, kept = Dataset.existing(dataset), Models(models)
    kept.versions() or kept.active()  # raises, and says what to do
    store = EventStore(url)
    try:
        work = Forgetting(kept, store, source)
        if user is not None:
            if not work.known(user):
                raise NotFoundError("user", user)
            work.forget(user)
        work.finish()
        receipt = None if user is None else work.receipt(user)
    finally:
        store.close()
    if as_json:
        print_json({"user_id": user, **(asdict(receipt) if receipt else {})})
    elif receipt is None:
        print("every deletion is finished")
    else:
        print(f"{user} is deleted: {'; '.join(receipt.done)}")
        for part in receipt.pending:
            print(f"pending: {part}")
