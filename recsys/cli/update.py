"""recsys update DATASET MODELS: what is new since the last training, into a new version."""

from __future__ import annotations

from dataclasses import asdict

from recsys.cli.console import print_json
from recsys.cli.options import AsJson, DatasetPath, ModelsPath

__all__ = ["command"]


def command(dataset: DatasetPath, models: ModelsPath, as_json: AsJson = False) -> None:
    """Bring new items, artists, listeners, events and documents into a new version, untrained."""
    from recsys.bundle import Models
    from recsys.data.dataset import Dataset
    from recsys.ensemble.updating import update
    from recsys.pipeline import read_source

    source = read_source(Dataset.existing(dataset))
    done = update(source.dataset, source.catalogue, source.events, Models(models))
    if as_json:
        print_json(asdict(done))
        return
    print(
        f"{done.version} is active in {models}: {done.items:,} new items, "
        f"{done.artists:,} artists, {done.users:,} listeners; {done.refreshed:,} listeners have "
        f"new events; {done.blocks_reused:,} arrays are those of the version before"
    )
