"""External string ids <-> dense row numbers.

An `Ids` is a sorted array of distinct UTF-8 strings: the row of an id is its place in the array.
Kept as two plain arrays (offsets and bytes), so that it can be memory-mapped and searched without
reading it. Row numbers never leave the process; ids never enter a kernel.

`recordings` says which items are one recording under several ids: who heard one has heard all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from recsys.errors import NotFoundError, nearest

__all__ = ["Ids", "normalise_title", "recordings", "string_arrays", "texts_at"]

_SAME_DURATION_S = 2.0
_FEW = 200
"""To search for one id in so many costs less than to build a hash table of all."""


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
        return cls(*string_arrays(distinct.take(pc.sort_indices(distinct))), kind=kind)

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
        if isinstance(ids, list) and len(ids) * _FEW < len(self):
            return np.array([self.row(id) for id in ids], np.int32)
        if not isinstance(ids, pa.Array | pa.ChunkedArray):
            ids = pa.array(ids, pa.large_string())
        found = pc.index_in(ids.cast(pa.large_string()), value_set=self.to_arrow())
        return np.asarray(pc.fill_null(found, -1)).astype(np.int32)

    def _place(self, id: str) -> int:
        """Return the first row whose id is not below `id` in byte order."""
        # An id from a command line or request may hold lone surrogates; then it is merely unknown.
        sought, low, high = id.encode("utf-8", "surrogatepass"), 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self.content[self.offsets[middle] : self.offsets[middle + 1]].tobytes() < sought:
                low = middle + 1
            else:
                high = middle
        return low


def string_arrays(
    strings: pa.Array | pa.ChunkedArray,
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return (n + 1,) offsets and the UTF-8 bytes of `strings`; a null is an empty string."""
    whole = pc.fill_null(strings.cast(pa.large_string()), "")
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.combine_chunks()
    _, offsets, content = whole.buffers()
    if not len(whole) or offsets is None:
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    places = np.frombuffer(offsets, np.int64)[whole.offset : whole.offset + len(whole) + 1]
    text = np.frombuffer(content, np.uint8) if content else np.zeros(0, np.uint8)
    return places - places[0], text[places[0] : places[-1]].copy()


def texts_at(
    offsets: NDArray[np.int64], content: NDArray[np.uint8], rows: NDArray[np.integer]
) -> list[str]:
    """Return the texts of `rows` (m,), none of them negative, from what `string_arrays` made."""
    begins, ends = offsets[rows].tolist(), offsets[rows + 1].tolist()
    # A view is cut several times as fast as an array.
    text = content.data
    return [str(text[begin:end], "utf-8") for begin, end in zip(begins, ends, strict=True)]


def normalise_title(titles: pa.Array) -> pa.Array:
    """Return `titles` without case, punctuation and repeated spaces; null where nothing is left."""
    folded = pc.utf8_lower(pc.utf8_normalize(titles.cast(pa.string()), form="NFKC"))
    words = pc.utf8_trim(pc.replace_substring_regex(folded, r"[^\pL\pN]+", " "), " ")
    # A title of signs only ("!!!") is still a title.
    kept = pc.if_else(pc.equal(words, ""), pc.utf8_trim_whitespace(folded), words)
    return pc.if_else(pc.equal(kept, ""), pa.scalar(None, pa.string()), kept)


def recordings(
    *,
    isrc: pa.Array,
    mbid: pa.Array,
    artist: NDArray[np.int32],
    title: pa.Array,
    duration_s: NDArray[np.float32],
) -> NDArray[np.int32]:
    """Number the recordings behind the items.

    Two items are one recording when their isrc or their mbid agree, or when artist, normalised
    title and duration (within 2 s) do; and so is whatever a chain of such pairs connects. What is
    unknown agrees with nothing.

    Parameters
    ----------
    isrc, mbid, title
        (n_items,) strings, null where unknown.
    artist
        (n_items,) artist rows, -1 where unknown.
    duration_s
        (n_items,) seconds, nan where unknown.

    Returns
    -------
    (n_items,) int32; equal numbers are one recording.
    """
    n_items = len(artist)
    isrc = pc.utf8_upper(pc.replace_substring(isrc.cast(pa.string()), "-", ""))
    mbid = pc.utf8_lower(mbid.cast(pa.string()))
    links = [_chain(_codes(isrc)), _chain(_codes(mbid))]
    titles = _codes(normalise_title(title))
    known = np.flatnonzero((titles >= 0) & (artist >= 0) & np.isfinite(duration_s))
    order = known[np.lexsort((duration_s[known], titles[known], artist[known]))]
    before, after = order[:-1], order[1:]
    same = (
        (artist[before] == artist[after])
        & (titles[before] == titles[after])
        & (duration_s[after] - duration_s[before] <= _SAME_DURATION_S)
    )
    links.append((before[same], after[same]))
    start = np.concatenate([link[0] for link in links])
    end = np.concatenate([link[1] for link in links])
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), shape=(n_items, n_items))
    if not n_items:
        return np.zeros(0, np.int32)
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)


def _codes(values: pa.Array) -> NDArray[np.int64]:
    """Return (n,) numbers that are equal where `values` are, -1 for null and empty ones."""
    known = pc.if_else(pc.equal(values, ""), pa.scalar(None, values.type), values)
    return np.asarray(pc.fill_null(known.dictionary_encode().indices, -1), np.int64)


def _chain(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of rows that link all rows of equal code, one after the other."""
    known = np.flatnonzero(codes >= 0)
    order = known[np.argsort(codes[known], kind="stable")]
    same = codes[order[:-1]] == codes[order[1:]]
    return order[:-1][same], order[1:][same]
