"""The demo world: planted tastes, a year of listening, documents and synthesised audio.

::

    scenes.py  names.py      what is written by hand
      -> music.py            artists and items, each a point in taste space
      -> listeners.py        tastes that drift, and the odds of every choice
      -> plays.py            a year of events
      -> documents.py        what the web says
      -> collections.py      playlists and editors' lists
      -> making.py           the dataset on disk, and beside it truth.py
      -> composing.py  instruments.py  sound.py      audio excerpts, on demand
"""

from __future__ import annotations

from recsys.data.world.making import World, make_world
from recsys.data.world.sound import synthesise
from recsys.data.world.truth import Truth

__all__ = ["Truth", "World", "make_world", "synthesise"]
