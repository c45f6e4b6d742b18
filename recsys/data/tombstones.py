"""Who was deleted, without saying who it was: the SHA-256 of a listener's id.

Enters: ids of listeners. Leaves: their tombstones, and which ids lie under one. A hash hides an id
from a reader of the table; whoever can guess an id can test the guess, so it is no secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["buried", "tombstone"]


def tombstone(user_id: str) -> str:
    """Return 64 hex digits that stand for a listener."""
    return hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()


def buried(ids: pa.Array, tombstones: Collection[str]) -> NDArray[np.bool_]:
    """Return (n,) whether each of `ids` (texts or dictionary of texts) has a tombstone."""
    encoded = ids if pa.types.is_dictionary(ids.type) else ids.dictionary_encode()
    gone = [id is not None and tombstone(id) in tombstones for id in encoded.dictionary.to_pylist()]
    codes = np.asarray(pc.fill_null(encoded.indices, -1))
    return np.asarray(np.append(gone, False)[codes], bool)
