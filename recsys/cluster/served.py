"""What a served version wants besides factors, from workers who hold these.

Enters: a finished training, what was taken in. Leaves: blocks of the groups of listeners, of the
index of items, and the lists that people made, as `recsys.pipeline.build` makes them: exactly
so, but that the centres of the groups are found on a sample where there are very many listeners.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.backend import Backend, in_batches
from recsys.bundle import Block, read_block, write_block
from recsys.cluster.intake import Intake
from recsys.collaborative.shards import CHUNK, Latent
from recsys.collaborative.trained import Trained
from recsys.config import SegmentsConfig
from recsys.data.catalogue import Catalogue
from recsys.data.collections import Collections, read_collections
from recsys.data.dataset import Dataset
from recsys.data.identity import Ids
from recsys.data.interactions import Interactions
from recsys.ensemble.segments import find_segments
from recsys.errors import WorkersLostError
from recsys.pipeline import note_exact
from recsys.progress import note
from recsys.retrieval import APPROXIMATE_FROM, catalogue_index
from recsys.storage import Folder

__all__ = ["linked", "lists_of", "segments_of"]

Floats = NDArray[np.float32]

_SAMPLE = 100_000
"""Listeners by whom the centres of groups are found."""
_MOST_LINKED = 5_000_000
"""Items of which one worker may hold all vectors, and a graph over them."""


def segments_of(
    trained: Trained, config: SegmentsConfig, backend: Backend, path: str
) -> dict[str, list[Block]]:
    """Let the workers write the group of each of their listeners; return the blocks."""
    sizes = backend.gather(backend.map(_n_rows, trained.users))
    every = max(1, -(-sum(sizes) // _SAMPLE))
    sample = np.concatenate(backend.gather(backend.map(_sampled, trained.users, shared=(every,))))
    centres = find_segments(sample, config.groups, seed=config.seed).centres
    blocks = backend.gather(backend.map(_grouped, trained.users, shared=(centres, path)))
    return {
        "segments/centres": [write_block(Folder(path), centres)],
        "segments/of_user": blocks,
    }


def _n_rows(users: Latent) -> int:
    return len(users.factors)


def _sampled(users: Latent, every: int) -> Floats:
    return users.factors[::every]


def _grouped(users: Latent, centres: Floats, path: str) -> Block:
    """Put each listener to the nearest centre, a few at a time."""
    groups = np.empty(len(users.factors), np.int32)
    for a in range(0, len(groups), CHUNK):
        rows = users.factors[a : a + CHUNK]
        nearest = np.argmax(rows @ centres.T, axis=1)
        groups[a : a + CHUNK] = np.where(rows.any(axis=1), nearest, -1)
    return write_block(Folder(path), groups)


def linked(arrays: dict[str, list[Block]], backend: Backend, path: str) -> dict[str, list[Block]]:
    """Let one worker store the index of a large catalogue; return its arrays by name.

    The workers are emptied for it. Nothing where the search serves better exact, or has to be.
    """
    factors, biases = arrays["collaborative/item_factors"], arrays["collaborative/item_biases"]
    n_items = sum(block.shape[0] for block in factors)
    if n_items < APPROXIMATE_FROM:
        return {}
    if n_items > _MOST_LINKED:
        note(f"collaborative: {n_items:,} items are too many for one worker to link; search exact")
        return {}
    backend.renew()
    index: dict[str, list[Block]] = {}
    for _, found in in_batches(backend, _linked, [(factors, biases)], size=1, shared=(path,)):
        if isinstance(found, WorkersLostError):
            note(f"collaborative: workers died of linking the items ({found}); search stays exact")
            return {}
        index, recall = found
        if not index:
            note_exact("collaborative", recall)
    return index


def _linked(
    jobs: list[tuple[list[Block], list[Block]]], path: str
) -> tuple[dict[str, list[Block]], float]:
    ((factors, biases),) = jobs
    folder = Folder(path)
    vectors, heights = (
        np.concatenate([read_block(folder, block) for block in blocks])
        for blocks in (factors, biases)
    )
    index, recall = catalogue_index(vectors, heights)
    found = {} if index is None else index.arrays
    return {
        f"index/collaborative/{part}": [write_block(folder, array)] for part, array in found.items()
    }, recall


def lists_of(dataset: Dataset, taken: Intake, backend: Backend) -> Collections:
    """Return the lists as they can have been at the last event, listeners' own by their owners."""
    catalogue = taken.catalogue
    if not dataset.count("collections"):
        return Collections.none(catalogue.n_items)
    released = (catalogue.released_at <= taken.latest) | (taken.latest == 0)
    known = backend.scatter([catalogue] * backend.n_workers)
    first = backend.scatter(taken.user_bounds[:-1].tolist())
    parts = (taken.interactions, taken.users, known, first)
    shared = (dataset.folder.address, released)
    found = backend.gather(backend.map(_own_lists, *parts, shared=shared))
    whole: Collections = read_collections(dataset, catalogue)
    editors = whole.as_of(csr_array(np.zeros((0, catalogue.n_items), np.int8)), released)
    owner = np.maximum.reduce([whole.owner, *(owners for owners, _ in found)])
    items: Any = editors.items
    for _, own in found:
        items = items + own
    items = csr_array(items, dtype=np.float32)
    items.sort_indices()
    return replace(whole, owner=owner, items=items)


def _own_lists(
    interactions: Interactions,
    users: Ids,
    catalogue: Catalogue,
    first: int,
    path: str,
    released: NDArray[np.bool_],
) -> tuple[NDArray[np.int32], csr_array]:
    """Return (n_lists,) the owner where that is one of this worker's, and these lists' items."""
    lists = read_collections(Dataset(path), replace(catalogue, users=users))
    ours = np.flatnonzero(lists.owner >= 0)
    few = replace(lists, owner=lists.owner[ours], items=lists.items[ours])
    places = csr_array(
        (np.ones(len(ours), np.float32), (ours, np.arange(len(ours)))),
        shape=(len(lists), len(ours)),
    )
    owner = lists.owner.copy()
    owner[ours] += np.int32(first)
    return owner, csr_array(places @ few.as_of(interactions.heard, released).items)
