"""Near-duplicates: texts that share most of their word sequences.

A text enters; a MinHash signature leaves, and the band values under which texts that resemble each
other meet. Two signatures agree in each place with a probability that is the Jaccard resemblance of
the texts' sets of word 4-grams.

A. Broder, "On the resemblance and containment of documents", 1997; banding as in J. Leskovec,
A. Rajaraman, J. Ullman, "Mining of Massive Datasets", chapter 3.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

__all__ = ["bands", "resemblance", "signature"]

_WORD = re.compile(r"\w+")
_SHINGLE = 4
_PLACES = 64
_ROWS = 4
"""Places a band; 16 bands of 4 find a pair of resemblance .8 with probability .9998."""
_CHUNK = 4096
"""Shingles hashed at once: bounds memory at chunk x places x 8 bytes."""

_random = np.random.default_rng(20_250_101)
_FACTORS = _random.integers(0, 2**63, _PLACES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _random.integers(0, 2**63, _PLACES, dtype=np.uint64)
_MIX = _FACTORS[:_SHINGLE]


def signature(text: str) -> NDArray[np.uint32]:
    """Return the (64,) uint32 MinHash signature of the word 4-grams of `text`."""
    hashes = [crc32(word.encode()) for word in _WORD.findall(text.lower())] or [0]
    hashes += [0] * (_SHINGLE - len(hashes))
    words = np.array(hashes, np.uint64)
    n_shingles = len(words) - _SHINGLE + 1
    shingles = np.zeros(n_shingles, np.uint64)
    for place in range(_SHINGLE):  # arithmetic wraps modulo 2**64, which is what hashing wants
        shingles += words[place : place + n_shingles] * _MIX[place]
    lowest = np.full(_PLACES, np.iinfo(np.uint32).max, np.uint32)
    shingles = np.unique(shingles)
    for start in range(0, len(shingles), _CHUNK):
        mixed = shingles[start : start + _CHUNK, None] * _FACTORS + _OFFSETS  # (chunk, places)
        np.minimum(lowest, (mixed >> np.uint64(32)).min(0).astype(np.uint32), out=lowest)
    return lowest


def bands(signature: NDArray[np.uint32]) -> list[int]:
    """Return 16 signed 64-bit values; texts that resemble each other share one, place by place."""
    return [
        int.from_bytes(blake2b(band.tobytes(), digest_size=8).digest(), "little", signed=True)
        for band in signature.reshape(-1, _ROWS)
    ]


def resemblance(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """Return the estimated Jaccard resemblance of two signed texts, 0 to 1."""
    return float(np.mean(one == other))
