"""The demo world on disk: FOLDER/dataset, FOLDER/truth, and FOLDER/audio once it is synthesised.

One seed gives one world, on every machine: randomness enters by numpy Generators alone, times
count back from a fixed date.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.dataset import Dataset
from recsys.data.world.collections import make_collections
from recsys.data.world.documents import Document, make_documents
from recsys.data.world.listeners import (
    N_MONTHS,
    Listeners,
    appeal_by_month,
    make_listeners,
    odds,
)
from recsys.data.world.music import END_MS, Music, make_music
from recsys.data.world.plays import CONTEXTS, Log, make_log
from recsys.data.world.scenes import AXES, SCENES
from recsys.data.world.truth import Truth
from recsys.errors import InputError
from recsys.progress import note

__all__ = ["World", "make_world"]

_TIME = pa.timestamp("ms", tz="UTC")
_BLOCK = 1000  # listeners whose preferences are held at once


@dataclass(frozen=True)
class World:
    """A demo world on disk."""

    folder: Path

    @classmethod
    def open(cls, folder: str | Path) -> World:
        """Open a world that `make_world` made; InputError where there is none."""
        world = cls(Path(folder))
        if not (world.folder / "truth" / "truth.json").exists():
            raise InputError(f"{folder}: no demo world here; make one with `recsys demo`")
        return world

    @cached_property
    def dataset(self) -> Dataset:
        """The tables that models may see."""
        return Dataset.existing(self.folder / "dataset")

    @cached_property
    def truth(self) -> Truth:
        """What they may not see."""
        return Truth.read(self.folder / "truth")


def make_world(folder: str | Path, *, seed: int = 0, scale: float = 1.0) -> World:
    """Make a world, or open the one that is there if it has this seed and scale.

    Parameters
    ----------
    folder
        Where to; a local folder.
    seed
        0 and up; another seed is another world of the same kind.
    scale
        1.0 is 1,000 listeners, 150 artists, 1,500 tracks; small worlds are for tests.

    Raises
    ------
    InputError
        Where the folder holds another world or dataset.
    """
    folder = Path(folder)
    if (folder / "truth" / "truth.json").exists():
        world = World.open(folder)
        if (world.truth.seed, world.truth.scale) != (seed, scale):
            raise InputError(
                f"{folder}: holds the world of seed {world.truth.seed}, scale {world.truth.scale}; "
                f"give another folder for seed {seed}, scale {scale}"
            )
        return world
    source = f"demo-world:seed={seed}:scale={scale}"
    dataset = Dataset(folder / "dataset")
    if any(part.source != source for part in dataset.parts):
        raise InputError(f"{folder}: holds another dataset; give an empty folder")
    music = make_music(seed=seed, scale=scale)
    listeners = make_listeners(seed=seed, scale=scale)
    log = make_log(music, listeners, seed=seed)
    public = ~log.private
    tables = {
        "artists": _artist_rows(music),
        "items": _item_rows(music),
        "events": _event_rows(music, listeners, log, public),
        "documents": _document_rows(make_documents(music, seed=seed, scale=scale)),
        "collections": make_collections(music, listeners, log, seed=seed),
    }
    with dataset.transaction() as transaction:
        for name, rows in tables.items():
            fingerprint = sha256(json.dumps([source, name]).encode()).hexdigest()
            transaction.append(name, [rows], source=source, fingerprint=fingerprint)
    dropped = int(log.private.sum())
    _truth(music, listeners, seed=seed, scale=scale, private_rows=dropped).write(folder / "truth")
    note(
        f"made a world of {len(listeners):,} listeners, {len(music.item_ids):,} items, "
        f"{int(public.sum()):,} events; dropped {dropped:,} private rows"
    )
    return World.open(folder)


def _truth(
    music: Music, listeners: Listeners, *, seed: int, scale: float, private_rows: int
) -> Truth:
    month = N_MONTHS - 1
    order = np.argsort(music.item_ids)
    tracks = ~music.is_podcast[order]
    preference = np.empty((len(listeners), len(order)), np.float32)
    appeal = appeal_by_month(music, seed=seed)
    for first in range(0, len(listeners), _BLOCK):
        rows = slice(first, min(first + _BLOCK, len(listeners)))
        chances = odds(music, listeners, rows, month, appeal) * music.available(END_MS - 1)
        chances /= chances.sum(axis=-1, keepdims=True)
        mixed = np.einsum("uk,uki->ui", listeners.shares[rows, month], chances)
        preference[rows] = mixed[:, order]

    def of_tracks(values: NDArray[Any], absent: float, dtype: type) -> NDArray[Any]:
        return np.where(tracks, values[order], absent).astype(dtype)

    return Truth(
        seed=seed,
        scale=scale,
        user_ids=listeners.user_ids,
        item_ids=[music.item_ids[row] for row in order],
        artist_ids=music.artist_ids,
        scenes=[scene.name for scene in SCENES],
        axes=[axis.name for axis in AXES],
        private_rows=private_rows,
        preference=preference,
        user_tastes=listeners.tastes[:, month].astype(np.float32),
        user_shares=listeners.shares[:, month].astype(np.float32),
        item_taste=music.taste[order].astype(np.float32),
        artist_taste=music.artist_taste.astype(np.float32),
        item_scene=music.scene[order].astype(np.int8),
        item_appeal=music.appeal[order].astype(np.float32),
        item_recording=music.original[order].astype(np.int32),
        tempo_bpm=of_tracks(music.tempo_bpm, np.nan, np.float32),
        key=of_tracks(music.key, -1, np.int8),
        minor=of_tracks(music.minor, -1, np.int8),
        beats_per_bar=of_tracks(music.beats_per_bar, 0, np.int8),
        loudness_lufs=of_tracks(music.loudness_lufs, np.nan, np.float32),
    )


def _artist_rows(music: Music) -> pa.Table:
    return pa.table({"artist_id": music.artist_ids, "name": music.artist_names})


def _item_rows(music: Music) -> pa.Table:
    languages = [scene.language for scene in SCENES]
    podcast = music.is_podcast.tolist()
    years = music.until_ms > END_MS
    return pa.table({
        "item_id": music.item_ids,
        "kind": ["podcast" if p else "track" for p in podcast],
        "title": music.titles,
        "artist_id": [music.artist_ids[row] for row in music.artist.tolist()],
        "album": music.albums,
        "released_at": pa.array(music.released_ms, _TIME),
        "duration_s": music.duration_s,
        "language": [
            "en" if p else languages[scene]
            for p, scene in zip(podcast, music.scene.tolist(), strict=True)
        ],
        "explicit": music.explicit,
        "territories": pa.array(music.territories, pa.list_(pa.string())),
        "available_from": pa.array(music.released_ms, _TIME),
        "available_until": pa.array(music.until_ms, _TIME, mask=years),
        "labels": pa.array(music.labels, pa.list_(pa.string())),
        "isrc": pa.array(music.isrc, pa.string()),
        "audio_uri": [
            None if p else f"../audio/{item_id}.flac"
            for p, item_id in zip(podcast, music.item_ids, strict=True)
        ],
    })  # fmt: skip


def _event_rows(
    music: Music, listeners: Listeners, log: Log, public: NDArray[np.bool_]
) -> pa.Table:
    where = np.flatnonzero(public)
    item, artist, context = log.item[where], log.artist[where], log.context[where]
    played = log.ms_played[where]
    return pa.table({
        "event_id": np.char.add("e", np.char.zfill(np.arange(len(where)).astype(str), 8)),
        "user_id": pa.array(listeners.user_ids).take(pa.array(log.user[where])),
        "item_id": pa.array(music.item_ids).take(pa.array(item, mask=item < 0)),
        "artist_id": pa.array(music.artist_ids).take(pa.array(artist, mask=item >= 0)),
        "kind": log.kind[where],
        "at": pa.array(log.at_ms[where], _TIME),
        "ms_played": pa.array(played, pa.int64(), mask=played < 0),
        "context": pa.array(CONTEXTS).take(pa.array(context, mask=context < 0)),
        "organic": log.organic[where],
    })  # fmt: skip


def _document_rows(documents: list[Document]) -> pa.Table:
    strings = pa.list_(pa.string())
    return pa.table({
        "doc_id": [d.doc_id for d in documents],
        "url": [d.url for d in documents],
        "title": [d.title for d in documents],
        "text": [d.text for d in documents],
        "published_at": pa.array([d.published_ms for d in documents], _TIME),
        "artist_ids": pa.array([d.artist_ids for d in documents], strings),
        "item_ids": pa.array([d.item_ids for d in documents], strings),
    })  # fmt: skip
