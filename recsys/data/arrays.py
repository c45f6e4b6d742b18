"""Strings, tags and sparse matrices as plain arrays that a bundle can keep and memory-map.

Enters: Arrow columns and scipy matrices. Leaves: the same as named arrays, written to an
`ArraySink` and read back from an `ArraySource` (a bundle's writer and the bundle).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.data.identity import Ids, string_arrays, texts_at

__all__ = ["ArraySink", "ArraySource", "Tags", "Texts", "frozen", "read_csr", "write_csr"]


class ArraySink(Protocol):
    """Keeps named arrays; `recsys.bundle.BundleWriter` is one."""

    def add(self, name: str, array: NDArray[Any]) -> None: ...
    def add_ids(self, name: str, ids: Ids) -> None: ...


class ArraySource(Protocol):
    """Gives named arrays back, read-only; `recsys.bundle.Bundle` is one."""

    def array(self, name: str) -> NDArray[Any]: ...
    def ids(self, name: str, *, kind: str) -> Ids: ...


class Texts(Sequence[str | None]):
    """One text or None per row, in two plain arrays; an empty text is None.

    Parameters
    ----------
    offsets
        (n + 1,) int64; the text of `row` is ``content[offsets[row]:offsets[row + 1]]``.
    content
        (bytes,) uint8, UTF-8.
    """

    def __init__(self, offsets: NDArray[np.int64], content: NDArray[np.uint8]) -> None:
        self.offsets = offsets
        self.content = content

    @classmethod
    def from_arrow(cls, texts: pa.Array | pa.ChunkedArray) -> Texts:
        """Take `texts` in their order."""
        return cls(*string_arrays(texts))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> str | None:  # type: ignore[override]
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.content[self.offsets[row] : self.offsets[row + 1]].tobytes().decode() or None

    def take(self, rows: NDArray[np.integer]) -> list[str | None]:
        """Return the texts of `rows`."""
        return [text or None for text in texts_at(self.offsets, self.content, rows)]

    def write(self, sink: ArraySink, name: str) -> None:
        """Store under `name`."""
        sink.add(f"{name}/offsets", self.offsets)
        sink.add(f"{name}/content", self.content)

    @classmethod
    def read(cls, source: ArraySource, name: str) -> Texts:
        """Read what `write` stored."""
        return cls(source.array(f"{name}/offsets"), source.array(f"{name}/content"))


class Tags(Sequence[list[str]]):
    """A list of words from one vocabulary per row: labels, territories.

    Parameters
    ----------
    vocabulary
        The distinct words.
    offsets
        (n + 1,) int64; the words of `row` are ``words[offsets[row]:offsets[row + 1]]``.
    words
        (n_words,) int32 rows of `vocabulary`.
    """

    def __init__(
        self, vocabulary: Ids, offsets: NDArray[np.int64], words: NDArray[np.int32]
    ) -> None:
        self.vocabulary = vocabulary
        self.offsets = offsets
        self.words = words

    @classmethod
    def from_arrow(cls, lists: pa.Array | pa.ChunkedArray) -> Tags:
        """Take (n,) lists of strings; a null list is empty, null words are dropped."""
        flat = pc.list_flatten(lists)
        parents = np.asarray(pc.list_parent_indices(lists), np.int64)
        known = np.asarray(pc.is_valid(flat), bool)
        flat, parents = flat.filter(pa.array(known)), parents[known]
        vocabulary = Ids.from_strings(flat, kind="word")
        offsets = np.searchsorted(parents, np.arange(len(lists) + 1))
        return cls(vocabulary, offsets.astype(np.int64), vocabulary.rows(flat))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> list[str]:  # type: ignore[override]
        if not 0 <= row < len(self):
            raise IndexError(row)
        return [
            self.vocabulary[int(w)] for w in self.words[self.offsets[row] : self.offsets[row + 1]]
        ]

    def matrix(self) -> csr_array:
        """Return (n, n_vocabulary) float32, 1 where the row has the word."""
        data = np.ones(len(self.words), np.float32)
        matrix = csr_array(
            (data, self.words, self.offsets), shape=(len(self), len(self.vocabulary)), copy=True
        )
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix

    def write(self, sink: ArraySink, name: str) -> None:
        """Store under `name`."""
        sink.add_ids(f"{name}/vocabulary", self.vocabulary)
        sink.add(f"{name}/offsets", self.offsets)
        sink.add(f"{name}/words", self.words)

    @classmethod
    def read(cls, source: ArraySource, name: str) -> Tags:
        """Read what `write` stored."""
        vocabulary = source.ids(f"{name}/vocabulary", kind="word")
        return cls(vocabulary, source.array(f"{name}/offsets"), source.array(f"{name}/words"))


def write_csr(sink: ArraySink, name: str, matrix: csr_array) -> None:
    """Store a matrix with sorted indices under `name`."""
    assert matrix.has_sorted_indices, name
    sink.add(f"{name}/indptr", matrix.indptr)
    sink.add(f"{name}/indices", matrix.indices)
    sink.add(f"{name}/data", matrix.data)
    sink.add(f"{name}/shape", np.array(matrix.shape, np.int64))


def read_csr(source: ArraySource, name: str) -> csr_array:
    """Read what `write_csr` stored; the arrays stay memory-mapped and read-only."""
    parts = [source.array(f"{name}/{part}") for part in ("data", "indices", "indptr")]
    rows, columns = source.array(f"{name}/shape").tolist()
    matrix = csr_array(tuple(parts), shape=(rows, columns))
    matrix.has_sorted_indices = True
    matrix.has_canonical_format = True
    return matrix


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written.

    Kernels see inputs read-only whoever holds them, as mapped files are, so that one compiled form
    serves all.
    """
    view = array.view()
    view.flags.writeable = False
    return view
