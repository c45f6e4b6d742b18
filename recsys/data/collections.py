"""Lists that people made: editors' collections and listeners' own playlists.

Enters: the collections table. Leaves: `Collections`, as plain arrays that a version keeps. The
table has no times, so what a list held at an earlier moment is bounded from the events: a
listener's playlist counts with the items that its owner had heard by then, an editors' list with
those that were released.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.data.arrays import ArraySink, ArraySource, Texts, read_csr, write_csr
from recsys.data.catalogue import Catalogue
from recsys.data.dataset import Dataset

__all__ = ["Collections", "read_collections"]


@dataclass(frozen=True)
class Collections:
    """Who put what together."""

    titles: Texts
    """(n,)"""
    owner: NDArray[np.int32]
    """(n,) user row; -1 for an editor, -2 for a listener without events."""
    items: csr_array
    """(n, n_items) float32 ones, sorted."""

    def __len__(self) -> int:
        return len(self.owner)

    def as_of(self, heard: csr_array, released: NDArray[np.bool_]) -> Collections:
        """Return the lists without what cannot have been in them yet.

        Parameters
        ----------
        heard
            (n_users, n_items) what each listener knew at that moment.
        released
            (n_items,) whether each item was out.
        """
        by_listener = self.owner >= 0
        whose = np.where(by_listener, self.owner, 0)
        own = csr_array(self.items.multiply(heard[whose] if heard.shape[0] else self.items))
        own.data[:] = 1
        theirs = csr_array(self.items.multiply(released[None, :].astype(np.float32)))
        known = _rows_where(by_listener, own) + _rows_where(self.owner == -1, theirs)
        kept = csr_array(known, dtype=np.float32)
        kept.eliminate_zeros()
        kept.sort_indices()
        return replace(self, items=kept)

    def write(self, sink: ArraySink) -> None:
        """Store every array under ``collections/``."""
        self.titles.write(sink, "collections/titles")
        sink.add("collections/owner", self.owner)
        write_csr(sink, "collections/items", self.items)

    @classmethod
    def read(cls, source: ArraySource) -> Collections:
        """Read what `write` stored; arrays stay memory-mapped."""
        return cls(
            Texts.read(source, "collections/titles"),
            source.array("collections/owner"),
            read_csr(source, "collections/items"),
        )

    @classmethod
    def none(cls, n_items: int) -> Collections:
        """Return no lists."""
        texts = Texts(np.zeros(1, np.int64), np.zeros(0, np.uint8))
        empty = csr_array(np.zeros((0, n_items), np.float32))
        return cls(texts, np.zeros(0, np.int32), empty)


def read_collections(dataset: Dataset, catalogue: Catalogue) -> Collections:
    """Read all collections; items that the catalogue lacks are left out."""
    table = dataset.read("collections")
    if not table.num_rows:
        return Collections.none(catalogue.n_items)
    lists = table["item_ids"].combine_chunks()
    rows = catalogue.items.rows(pc.list_flatten(lists))
    parents = np.asarray(pc.list_parent_indices(lists), np.int64)
    known = rows >= 0
    shape = (table.num_rows, catalogue.n_items)
    ones = np.ones(int(known.sum()), np.float32)
    items = csr_array((ones, (parents[known], rows[known])), shape=shape)
    items.sum_duplicates()
    items.data[:] = 1
    owner_ids = table["owner_id"]
    owner = catalogue.users.rows(owner_ids)
    has_owner = np.asarray(pc.is_valid(owner_ids))
    owner = np.where(has_owner, np.where(owner >= 0, owner, -2), -1).astype(np.int32)
    return Collections(Texts.from_arrow(table["title"].cast(pa.string())), owner, items)


def _rows_where(chosen: NDArray[np.bool_], matrix: csr_array) -> csr_array:
    """Return the matrix with all other rows empty."""
    kept = matrix.copy()
    kept.data = matrix.data * np.repeat(chosen, np.diff(matrix.indptr))
    return kept
