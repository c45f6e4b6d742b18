"""Recordings that a browser may play: those of the dataset's items, by item.

Enters: a dataset. Leaves: the file of an item. Which file that is says the dataset alone; nothing
from a request becomes a path. Only local files with the suffix of a sound are handed out, and only
those below the dataset's own folder or the one beside it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pyarrow.compute as pc

from recsys.data.dataset import Dataset

__all__ = ["Clips", "recordings"]

MEDIA_TYPES = {
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
}
"""What is a sound, by suffix."""


def recordings(dataset: Dataset) -> dict[str, Path]:
    """Return the files of all items of a local dataset that name one, by item id."""
    if not dataset.folder.is_local:
        return {}
    listed = dataset.read("items", ["item_id", "audio_uri"])
    listed = listed.filter(pc.is_valid(listed["audio_uri"]))
    pairs = zip(listed["item_id"].to_pylist(), listed["audio_uri"].to_pylist(), strict=True)
    root = Path(dataset.folder.root)
    return {id: root / uri for id, uri in pairs if "://" not in uri}


class Clips:
    """The recordings of a dataset.

    Parameters
    ----------
    dataset
        Whose items name their recordings; None where the server has none.
    """

    def __init__(self, dataset: Dataset | None) -> None:
        self._dataset = dataset if dataset is not None and dataset.folder.is_local else None

    @cached_property
    def _files(self) -> dict[str, Path]:
        return {} if self._dataset is None else recordings(self._dataset)

    def find(self, item_id: str) -> tuple[Path, str] | None:
        """Return the file of an item and its media type; None where there is none to play."""
        file = self._files.get(item_id)
        if file is None or self._dataset is None:
            return None
        file, beside = file.resolve(), Path(self._dataset.folder.root).parent.resolve()
        media_type = MEDIA_TYPES.get(file.suffix.lower())
        if media_type is None or not file.is_relative_to(beside):
            return None
        return (file, media_type) if file.is_file() else None
