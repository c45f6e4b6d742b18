"""A version from a log that no process could hold: workers read, train and write their shares.

Enters: a dataset, a `Config`, a `Backend`. Leaves: a version in `Models`, as
`recsys.pipeline.build` makes it, array for array. The driver holds the catalogue of items and
artists and what is known of them; listeners, their events, their matrices and all factors stay with
the workers, who write their blocks into the version. What it leaves out, it says: it starts afresh,
no blend is learned, and no network.

Memory: `worker_bytes` is what a worker may take, and `scripts/scale_run.py` holds it against a run.
With E events, U listeners, N entries of the evidence on the largest worker, n_users and n_items
rows in all, w = 4 (padded f + 1), it is 380 MB for an empty worker and the larger of

    taking in   160 E + 120 N + 100 n_users      while events are summed up
    training    60 N + w (own rows + largest block + half of the larger side)
    linking     1600 n_items      one worker, of a large catalogue (`recsys.cluster.served`)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.backend import Backend
from recsys.bundle import Block, Bundle, Models, write_block
from recsys.cluster.intake import Intake, take_in
from recsys.cluster.served import linked, lists_of, segments_of
from recsys.collaborative import als
from recsys.collaborative.checkpoints import Checkpoints
from recsys.collaborative.kernels import padded
from recsys.collaborative.routes import Sharded
from recsys.collaborative.trained import Trained
from recsys.config import Config
from recsys.data.catalogue import Catalogue
from recsys.data.collections import Collections
from recsys.data.dataset import Dataset
from recsys.data.events import no_events
from recsys.data.identity import Ids
from recsys.data.interactions import Interactions
from recsys.errors import ConfigError, UsageError
from recsys.pipeline import (
    MODEL_NAMES,
    Content,
    Hearing,
    Source,
    assemble,
    check_names,
    training_key,
)
from recsys.progress import note
from recsys.storage import Folder

__all__ = ["build_sharded", "worker_bytes"]

Arrays = dict[str, list[Block]]


def build_sharded(
    dataset: Dataset,
    config: Config,
    backend: Backend,
    models: Models,
    *,
    only: Collection[str] = MODEL_NAMES,
    activate: bool = True,
    resume: bool = False,
) -> str:
    """Train what `dataset` has data for and return the name of the new version.

    Arguments and errors as in `recsys.pipeline.build`; all workers must reach the dataset and the
    models.
    """
    _check(config, only)
    hearing = Hearing(dataset, config, backend)
    key = training_key(["sharded", hearing.fingerprint(only)], config)
    _note_limits(config, only, models, hearing)
    writer = models.write()
    checkpoints = Checkpoints(
        f"{models.folder.address}/checkpoints/{key}",
        every=config.collaborative.checkpoint_every,
        resume=resume,
    )
    taken: Intake | None = None

    def content_of(catalogue: Catalogue) -> Content:
        source = Source(dataset, catalogue, no_events())
        return Content(source, config, backend=backend, hearing=hearing)

    def load(workers: Backend) -> Sharded:
        nonlocal taken
        taken = None  # what was held before must not outlive its workers
        taken, evidence = take_in(
            dataset, config, workers, lambda known: content_of(known).features()
        )
        return evidence

    path = models.folder.address

    def finish(step: als.Step) -> tuple[Intake, Trained, Arrays, Collections]:
        assert taken is not None
        trained = als.finish(step, config.collaborative, backend)
        arrays = trained.store(backend, path) | _stored(taken, backend, path)
        if taken.n_entries:
            arrays |= segments_of(trained, config.segments, backend, path)
        return taken, trained, arrays, lists_of(dataset, taken, backend)

    taken, trained, arrays, lists = als.minimise(
        load, config.collaborative, backend, finish, checkpoints=checkpoints
    )
    n_users = int(taken.user_bounds[-1])
    for name, blocks in arrays.items():
        writer.add_blocks(name, blocks)
    taken.catalogue.write(writer, without=("users",))
    lists.write(writer)

    def collaborative() -> str:
        if not taken.n_entries:
            return "no events on items"
        trained.note(writer)
        for name, blocks in linked(arrays, backend, path).items():
            writer.add_blocks(name, blocks)
        return ""

    counts = {"users": n_users, "events": taken.n_events}
    content = content_of(taken.catalogue)
    version = assemble(content, collaborative, writer, only=only, activate=activate, counts=counts)
    checkpoints.clear()
    return version


def _check(config: Config, only: Collection[str]) -> None:
    """Raise UsageError or ConfigError for what cannot be had of a log that nobody holds."""
    check_names(only)
    if "collaborative" not in only:
        raise UsageError("--sharded trains the collaborative model; name it in --only, or drop it")
    blend = config.ensemble.blend
    if blend not in ("auto", "fusion"):
        raise ConfigError(
            f"ensemble.blend: {blend} is learned from the whole log in one process; "
            f"take fusion, or train without --sharded"
        )


def _note_limits(config: Config, only: Collection[str], models: Models, hearing: Hearing) -> None:
    """Say what a build in one process would do besides."""
    if config.collaborative.warm_start and models.versions():
        note("collaborative starts afresh: --sharded goes on from no version")
    if config.ensemble.blend == "auto" and set(MODEL_NAMES) <= set(only):
        note("blend: fusion; --sharded learns none")
    if config.network.enabled and hearing.wanted(only) and hearing.heard:
        note("network left out: --sharded trains none")


def worker_bytes(bundle: Bundle, n_workers: int) -> float:
    """Return what the largest of `n_workers` may have taken to make a version, by the formula."""
    counts = bundle.facts["counts"]
    width = 4 * (padded(bundle.facts["collaborative"]["config"]["factors"]) + 1)
    entries = bundle.arrays["interactions/evidence/data"]
    share = max(block.shape[0] for block in entries) / sum(block.shape[0] for block in entries)
    blocks = [bundle.arrays[f"collaborative/{side}_factors"] for side in ("user", "item")]
    largest = [max(block.shape[0] for block in side) for side in blocks]
    summing_up = 160 * share * counts["events"] + 120 * max(block.shape[0] for block in entries)
    taking_in = summing_up + 100 * counts["users"]
    half = max(counts["users"], counts["items"]) / 2
    rows = sum(largest) + max(largest) + half
    training = 60 * max(block.shape[0] for block in entries) + width * rows
    linking = 1600 * counts["items"] * ("index/collaborative/links" in bundle)
    return float(380e6 + max(taking_in, training, linking))


def _stored(taken: Intake, backend: Backend, path: str) -> Arrays:
    """Let the workers write the listeners' ids and the interactions."""
    sizes: list[dict[str, int]] = backend.gather(
        backend.map(_sizes, taken.interactions, taken.users)
    )
    before = [
        {"workers": n} | {name: sum(s[name] for s in sizes[:n]) for name in size}
        for n, size in enumerate(sizes)
    ]
    written = backend.gather(
        backend.map(
            _written, taken.interactions, taken.users, backend.scatter(before), shared=(path,)
        )
    )
    arrays = {name: [blocks[name] for blocks in written] for name in written[0]}
    # One moment for all, from which decay counts back.
    arrays["interactions/counted_at"] = arrays["interactions/counted_at"][:1]
    n_users, folder = int(taken.user_bounds[-1]), Folder(path)
    for field in fields(Interactions):
        if field.type == "csr_array":
            artists = field.name == "follows"
            width = taken.catalogue.n_artists if artists else taken.catalogue.n_items
            shape = write_block(folder, np.array([n_users, width], np.int64))
            arrays[f"interactions/{field.name}/shape"] = [shape]
    return arrays


def _sizes(interactions: Interactions, users: Ids) -> dict[str, int]:
    """Return how many entries and bytes this worker's arrays have."""
    sizes = {"users": len(users.content)}
    for field in fields(Interactions):
        value = getattr(interactions, field.name)
        sizes[field.name] = len(value) if isinstance(value, np.ndarray) else value.nnz
    return sizes


def _written(
    interactions: Interactions, users: Ids, before: dict[str, int], path: str
) -> dict[str, Block]:
    """Write one worker's arrays, offsets moved behind those of the workers before it."""
    folder = Folder(path)

    def behind(offsets: NDArray[Any], name: str) -> NDArray[np.int64]:
        return offsets[min(before["workers"], 1) :].astype(np.int64) + before[name]

    arrays: dict[str, NDArray[Any]] = {
        "catalogue/users/offsets": behind(users.offsets, "users"),
        "catalogue/users/content": users.content,
    }
    for field in fields(Interactions):
        name, value = f"interactions/{field.name}", getattr(interactions, field.name)
        if isinstance(value, np.ndarray):
            arrays[name] = value
        else:
            arrays[f"{name}/indptr"] = behind(value.indptr, field.name)
            arrays[f"{name}/indices"] = value.indices.astype(np.int32, copy=False)
            arrays[f"{name}/data"] = value.data
    return {name: write_block(folder, array) for name, array in arrays.items()}
