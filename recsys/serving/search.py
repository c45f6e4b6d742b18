"""Find items and artists by a piece of their title, name or id.

Enters: a catalogue and a typed text. Leaves: matches, those that begin with the text first, then
by how many people listen. Arrow scans all names at once: about 10 ms for a million titles.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.arrays import Texts
from recsys.data.catalogue import Catalogue
from recsys.data.identity import Ids

__all__ = ["Names"]


class Names:
    """What items and artists are called.

    Parameters
    ----------
    catalogue
        The names.
    listeners
        (n_items,) how many people listen to each item; the more, the earlier in a result.
    """

    def __init__(self, catalogue: Catalogue, listeners: NDArray[np.int64]) -> None:
        self._titles = _shown(catalogue.titles, catalogue.items)
        self._artist_names = _shown(catalogue.artist_names, catalogue.artists)
        self._item_weight = listeners
        known = catalogue.item_artist >= 0
        self._artist_weight = np.bincount(
            catalogue.item_artist[known], listeners[known], minlength=len(catalogue.artists)
        )

    def items(self, text: str, k: int) -> NDArray[np.int64]:
        """Return up to `k` item rows whose title holds `text`, best first."""
        return _matches(self._titles, text, self._item_weight, k)

    def artists(self, text: str, k: int) -> NDArray[np.int64]:
        """Return up to `k` artist rows whose name holds `text`, best first."""
        return _matches(self._artist_names, text, self._artist_weight, k)


def _shown(names: Texts, ids: Ids) -> pa.Array:
    """Return the lower-case name of each row, or its id where it has none."""
    buffers = [None, pa.py_buffer(names.offsets), pa.py_buffer(names.content)]
    known = pa.Array.from_buffers(pa.large_string(), len(names), buffers)
    return pc.utf8_lower(pc.if_else(pc.equal(known, ""), ids.to_arrow(), known))


def _matches(names: pa.Array, text: str, weight: NDArray[np.generic], k: int) -> NDArray[np.int64]:
    sought = text.strip().lower()
    rows = np.flatnonzero(np.asarray(pc.match_substring(names, sought)))
    begins = np.asarray(pc.starts_with(names.take(pa.array(rows)), sought), bool)
    return rows[np.lexsort((-weight[rows].astype(float), ~begins))][:k]
