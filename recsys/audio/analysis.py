"""Audio files -> what a musician would say of them, one row a file, by as many hands as there are.

Enters: paths. Leaves: rows with ``path`` and either the descriptors or an ``error``: a file that
cannot be read, or that workers die of, ends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from recsys.audio.descriptors import describe_recording
from recsys.audio.recordings import read_recording
from recsys.backend import Backend, in_batches
from recsys.errors import InputError, WorkersLostError

__all__ = ["analyse"]


def analyse(
    paths: Iterable[str], backend: Backend, *, excerpt_s: float
) -> Iterator[dict[str, Any]]:
    """Yield a row for each file, in the order in which they are done.

    Parameters
    ----------
    excerpt_s
        Seconds heard, from the middle of a file.
    """
    shared = (excerpt_s, str(Path.cwd()))
    for files, rows in in_batches(backend, _described, paths, size=1, shared=shared):
        if isinstance(rows, WorkersLostError):
            yield {"path": files[0], "error": f"{files[0]}: workers died of it ({rows})"}
        else:
            yield from rows


def _described(paths: list[str], excerpt_s: float, folder: str) -> list[dict[str, Any]]:
    return [{"path": path, **_description(Path(folder, path), path, excerpt_s)} for path in paths]


def _description(place: Path, name: str, excerpt_s: float) -> dict[str, Any]:
    try:
        heard = read_recording(
            place, sample_rate=None, max_duration_s=excerpt_s, mix=False, name=name
        )
    except InputError as error:
        return {"error": str(error)}
    return describe_recording(heard.samples, heard.sample_rate).to_dict()
