"""Collections of the demo world: editors' lists per scene, and listeners' own playlists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from recsys.data.world.listeners import Listeners
from recsys.data.world.music import DAY_MS, END_MS, Music
from recsys.data.world.names import WORDS, choose
from recsys.data.world.plays import Log
from recsys.data.world.scenes import SCENES

__all__ = ["make_collections"]

_EDITORS_PICKS = 25
_SHORTEST = 3  # additions from which on a listener has a playlist worth the name


def make_collections(music: Music, listeners: Listeners, log: Log, *, seed: int) -> pa.Table:
    """Return rows of the collections table; private additions stay private."""
    rng = np.random.default_rng([seed, 7])
    rows: list[tuple[str, str, str | None, list[str]]] = []
    taste = music.appeal + rng.normal(0, 0.5, len(music.appeal))
    tracks = music.available(END_MS - 1) & ~music.is_podcast
    fresh = tracks & (music.released_ms > END_MS - 35 * DAY_MS)
    lists = [(f"Essential {s.name}", tracks & (music.scene == n)) for n, s in enumerate(SCENES)]
    lists.append(("New this month", fresh))
    for number, (title, among) in enumerate(lists):
        best = np.flatnonzero(among)
        best = best[np.argsort(-taste[best], kind="stable")][:_EDITORS_PICKS]
        rows.append((f"editors-{number:02d}", title, None, [music.item_ids[i] for i in best]))

    added = np.flatnonzero((log.kind == "playlist_add") & ~log.private)
    added = added[np.argsort(log.user[added], kind="stable")]
    for items in np.split(added, np.flatnonzero(np.diff(log.user[added])) + 1):
        if len(items) >= _SHORTEST:
            owner = listeners.user_ids[log.user[items[0]]]
            title = choose(WORDS["names"]["playlists"], rng)
            rows.append(
                (f"mix-{owner}", title, owner, [music.item_ids[i] for i in log.item[items]])
            )
    identity, title_, owner_, members = zip(*rows, strict=True)
    return pa.table({
        "collection_id": identity,
        "title": title_,
        "owner_id": pa.array(owner_, pa.string()),
        "item_ids": pa.array(members, pa.list_(pa.string())),
    })  # fmt: skip
