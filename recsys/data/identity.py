"""External string ids <-> dense row numbers.

An `Ids` is a sorted array of distinct UTF-8 strings: the row of an id is its place in the array.
Kept as two plain arrays (offsets and bytes), so that it can be memory-mapped and searched without
reading it. Row numbers never leave the process; ids never enter a kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.errors import NotFoundError, nearest

__all__ = ["Ids"]


class Ids(Sequence[str]):
    """Sorted distinct ids; ``ids[row]`` is an id, ``ids.row(id)`` a row.

    Parameters
    ----------
    offsets
        (n + 1,) int64; id `row` is ``content[offsets[row]:offsets[row + 1]]``.
    content
        (bytes,) uint8, the UTF-8 text of all ids, in ascending byte order.
    kind
        What is identified, for messages: ``user``, ``item``, ``artist``.
    """

    def __init__(
        self, offsets: NDArray[np.int64], content: NDArray[np.uint8], *, kind: str = "id"
    ) -> None:
        self.offsets = offsets
        self.content = content
        self.kind = kind

    @classmethod
    def from_strings(cls, ids: Iterable[str] | pa.Array | pa.ChunkedArray, *, kind: str) -> Ids:
        """Sort and deduplicate `ids`; nulls are dropped."""
        if not isinstance(ids, pa.Array | pa.ChunkedArray):
            ids = pa.array(ids, pa.large_string())
        # Arrow sorts strings by their bytes, which is the order that `row` searches.
        distinct = pc.drop_null(pc.unique(ids)).cast(pa.large_string())
        if isinstance(distinct, pa.ChunkedArray):
            distinct = distinct.combine_chunks()
        ordered = distinct.take(pc.sort_indices(distinct))
        _, offsets, content = ordered.buffers()
        start = (
            np.frombuffer(offsets, np.int64)[: len(ordered) + 1] if offsets else np.zeros(1, int)
        )
        text = np.frombuffer(content, np.uint8) if content else np.zeros(0, np.uint8)
        return cls(start.copy(), text[: start[-1]].copy(), kind=kind)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> str:  # type: ignore[override]
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.content[self.offsets[row] : self.offsets[row + 1]].tobytes().decode()

    def to_arrow(self) -> pa.LargeStringArray:
        """Return all ids as an Arrow array that shares this memory."""
        buffers = [None, pa.py_buffer(self.offsets), pa.py_buffer(self.content)]
        return pa.Array.from_buffers(pa.large_string(), len(self), buffers)

    def row(self, id: str) -> int:
        """Return the row of `id`, or -1; binary search, no reading of the whole array."""
        low = self._place(id)
        return low if low < len(self) and self[low] == id else -1

    def require(self, id: str) -> int:
        """Return the row of `id`; NotFoundError with the nearest known ids where there is none."""
        if (row := self.row(id)) >= 0:
            return row
        # Ids that sort near the sought one are the likely typos; comparing with all would be slow.
        here = self._place(id)
        window = range(max(0, here - 500), min(len(self), here + 500))
        raise NotFoundError(self.kind, id, nearest(id, (self[r] for r in window), n=3))

    def rows(self, ids: pa.Array | pa.ChunkedArray | Sequence[str]) -> NDArray[np.int32]:
        """Return (n,) int32 rows of `ids`, -1 for unknown ids and nulls."""
        if not isinstance(ids, pa.Array | pa.ChunkedArray):
            ids = pa.array(ids, pa.large_string())
        found = pc.index_in(ids.cast(pa.large_string()), value_set=self.to_arrow())
        return np.asarray(pc.fill_null(found, -1)).astype(np.int32)

    def _place(self, id: str) -> int:
        """Return the first row whose id is not below `id` in byte order."""
        sought, low, high = id.encode(), 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self.content[self.offsets[middle] : self.offsets[middle + 1]].tobytes() < sought:
                low = middle + 1
            else:
                high = middle
        return low
