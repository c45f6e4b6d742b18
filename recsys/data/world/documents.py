"""What the web of the demo world says: reviews, blogs, news, spam, noise and foreign pages.

Enters: music. Leaves: rows of the documents table. Writers choose their words by where an artist
lies: phrases of the scenes nearby, adjectives of the poles towards which the artist leans, and a
few favourites that stay with the artist. Artists close by are named alongside. About two in five
pages do not say whom they are about (``artist_ids`` is null): to find out is a model's work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.world.music import DAY_MS, END_MS, START_MS, Music
from recsys.data.world.names import WORDS, choose
from recsys.data.world.scenes import AXES, N_AUDIBLE, SCENES, scene_centres

__all__ = ["Document", "make_documents"]

_MIX = {"review": 0.3, "blog": 0.3, "news": 0.15, "list": 0.15, "forum": 0.1}
_LENGTH = {"review": 6, "blog": 5, "news": 3, "list": 3, "forum": 3}  # sentences, up to two more
_SHARPNESS_AUDIBLE, _SHARPNESS_SAID = 0.4, 0.9  # of the choice of words along an axis
_SCENE_WORDS = 8.0  # weight of a scene's words against those of the axes
_FAVOURITES = 1.0  # how uneven an artist's own choice of words is
_UNKNOWN = 0.4  # share of pages without artist_ids


@dataclass
class Document:
    """One row of the documents table."""

    doc_id: str
    url: str
    title: str
    text: str
    published_ms: int
    artist_ids: list[str] | None
    item_ids: list[str] | None


def make_documents(music: Music, *, seed: int, scale: float) -> list[Document]:
    """Write about 2,000 pages at scale 1."""
    return _Press(music, np.random.default_rng([seed, 6])).pages(scale)


class _Press:
    """All writers of the world and what they know of the artists."""

    def __init__(self, music: Music, rng: np.random.Generator) -> None:
        self.music = music
        self.rng = rng
        self.n_makers = len(music.artist_ids)
        self.adjectives, self.adjective_odds = self._words("adjectives")
        self.phrases, self.phrase_odds = self._words("phrases")
        self.neighbour_odds = self._neighbours()
        tracks = ~music.is_podcast
        self.items_of = [
            np.flatnonzero((music.artist == artist) & tracks) for artist in range(self.n_makers)
        ]
        self.first_day = np.array([
            (music.released_ms[items].min() - START_MS) // DAY_MS if items.size else 0
            for items in self.items_of
        ])  # fmt: skip
        self.documents: list[Document] = []

    def pages(self, scale: float) -> list[Document]:
        """Write everything, in order of publication."""
        appeal = np.bincount(self.music.artist, np.exp(self.music.appeal), self.n_makers)
        # Attention follows popularity, but less than in proportion; some get none at all.
        attention = (appeal + 1) ** 0.6 * self.rng.lognormal(0, 0.4, self.n_makers)
        attention *= np.array([items.size > 0 for items in self.items_of])
        attention[self.rng.random(self.n_makers) < 0.02] = 0
        bounds = attention.cumsum() / attention.sum()
        counted = max(120, round(1500 * scale))
        sure = np.flatnonzero(attention)
        drawn = np.searchsorted(bounds, self.rng.random(counted))
        for artist in [*np.repeat(sure, 2).tolist(), *drawn.tolist()]:
            self.article(artist)
        for _ in range(max(6, round(110 * scale))):
            self.foreign(int(np.searchsorted(bounds, self.rng.random())))
            self.noise()
        self.announce()
        unpopular = int(np.argmin(np.where(attention > 0, appeal, np.inf)))
        for _ in range(max(10, round(70 * scale))):
            self.spam(unpopular)
        for _ in range(max(3, round(40 * scale))):
            self.copy(int(self.rng.integers(len(sure) * 2 + counted)))
        self.documents.sort(key=lambda d: (d.published_ms, d.doc_id))
        return self.documents

    def article(
        self, artist: int, form: str | None = None, item: int | None = None, day: int | None = None
    ) -> None:
        """Write one page about an artist, in the manner of its site."""
        if form is None:
            form = list(_MIX)[self._draw(np.cumsum(list(_MIX.values())))]
        others = self._neighbours_of(artist)
        day = self._day(artist) if day is None else day
        item = self._item(artist, day) if item is None else item
        lines = [self._pick("openings", form)]
        lines += self._some("description", _LENGTH[form] + int(self.rng.integers(3)))
        lines += self._some("filler", int(self.rng.integers(2)))
        for _ in range(2 if form == "list" else int(self.rng.random() < 0.55)):
            lines.insert(
                int(self.rng.integers(1, len(lines) + 1)), self._pick("sentences", "alongside")
            )
        text = " ".join(self._fill(line, artist, others, item) for line in lines)
        named = [o for o in dict.fromkeys(others) if self.music.artist_names[o] in text]
        about = [artist, *[o for o in named if o != artist]]
        known = self.rng.random() > _UNKNOWN
        title = self._fill(self._pick("titles", "article"), artist, others, item)
        self._publish(
            form,
            title,
            text,
            artist_ids=[self.music.artist_ids[a] for a in about] if known else None,
            item_ids=[self.music.item_ids[item]] if known and "{t}" in "".join(lines) else None,
            day=day,
        )

    def announce(self) -> None:
        """Write about half of the releases of the last five weeks, when they come out."""
        music = self.music
        fresh = (music.released_ms > END_MS - 35 * DAY_MS) & ~music.is_podcast
        for item in np.flatnonzero(fresh).tolist():
            if self.rng.random() < 0.5:
                day = (int(music.released_ms[item]) - START_MS) // DAY_MS
                day += int(self.rng.integers(-5, 6))
                form = choose(("news", "review", "blog"), self.rng)
                self.article(int(music.artist[item]), form, item, min(day, 363))

    def foreign(self, artist: int) -> None:
        """Write a page in another language than English."""
        language = choose(list(WORDS["foreign"]), self.rng)
        others, day = self._neighbours_of(artist), self._day(artist)
        item = self._item(artist, day)
        lines = self.rng.permutation(WORDS["foreign"][language]).tolist()
        text = " ".join(self._fill(line, artist, others, item) for line in lines)
        self._publish("foreign", self.music.artist_names[artist], text, day=day)

    def noise(self) -> None:
        """Write a page about something else; words that are also artists' names occur."""
        text = " ".join(self._some("noise", 4 + int(self.rng.integers(5))))
        day = int(self.rng.integers(364))
        self._publish("noise", self._pick("titles", "noise"), text, day=day)

    def spam(self, artist: int) -> None:
        """Write a page that shouts one artist's name, among famous ones."""
        name = self.music.artist_names[artist]
        text = " ".join(
            [self._pick("sentences", "spam").format(a=name)] * (6 + int(self.rng.integers(20)))
        )
        day = max(int(self.rng.integers(364)), int(self.first_day[artist]))
        ids = [self.music.artist_ids[artist]]
        self._publish("spam", f"{name} FREE", text, artist_ids=ids, day=day)

    def copy(self, place: int) -> None:
        """Print an earlier article again on a site that writes nothing itself."""
        page = self.documents[place]
        day = min((page.published_ms - START_MS) // DAY_MS + 2, 363)
        self._publish("copy", page.title, page.text + " Read more here.", day=int(day))

    def _publish(
        self,
        form: str,
        title: str,
        text: str,
        *,
        day: int,
        artist_ids: list[str] | None = None,
        item_ids: list[str] | None = None,
    ) -> None:
        number = len(self.documents)
        at = min(START_MS + day * DAY_MS + int(self.rng.integers(DAY_MS)), END_MS - 1)
        site = self._pick("sites", form)
        url = f"https://{site}.example/{number:05d}"
        page = Document(f"d{number:05d}", url, title, text, at, artist_ids, item_ids)
        self.documents.append(page)

    def _words(self, field: str) -> tuple[list[str], NDArray[np.float64]]:
        """Return a vocabulary and (n_makers, words) cumulative odds of being said of an artist."""
        taste = self.music.artist_taste
        words: list[str] = []
        odds: list[NDArray[np.float64]] = []
        for place, axis in enumerate(AXES):
            sharpness = _SHARPNESS_AUDIBLE if place < N_AUDIBLE else _SHARPNESS_SAID
            for sign, pole in ((-1, axis.low), (1, axis.high)):
                for word in getattr(pole, field):
                    words.append(word)
                    odds.append(np.exp(sharpness * sign * taste[:, place]))
        distance = ((taste[:, None] - scene_centres()) ** 2).sum(axis=-1)
        nearness = np.exp(-0.2 * (distance - distance.min(axis=1, keepdims=True)))
        nearness /= nearness.sum(axis=1, keepdims=True)
        for scene, column in zip(SCENES, nearness.T, strict=True):
            for word in getattr(scene, field):
                words.append(word)
                odds.append(_SCENE_WORDS * column)
        weight = np.stack(odds, axis=1) * self.rng.lognormal(
            0, _FAVOURITES, (self.n_makers, len(words))
        )
        weight /= weight.sum(axis=1, keepdims=True)
        return words, weight.cumsum(axis=1)

    def _neighbours(self) -> NDArray[np.float64]:
        """Return (n_makers, n_makers) cumulative odds of being named beside an artist."""
        taste = self.music.artist_taste
        distance = ((taste[:, None] - taste) ** 2).sum(axis=-1)
        odds = np.exp(-0.25 * distance) + 0.002
        odds *= ~np.eye(self.n_makers, dtype=bool)
        odds[:, np.unique(self.music.artist[self.music.is_podcast])] = 0
        return np.asarray((odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1))

    def _fill(self, line: str, artist: int, others: list[int], item: int) -> str:
        names = self.music.artist_names
        x, y = self._two(self.adjectives, self.adjective_odds[artist])
        n, m = self._two(self.phrases, self.phrase_odds[artist])
        o, p, q = (names[other] for other in others)
        title = self.music.titles[item]
        filled = line.format(a=names[artist], t=title, x=x, y=y, n=n, m=m, o=o, p=p, q=q)
        filled = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", filled)
        return filled[0].upper() + filled[1:]

    def _two(self, words: list[str], bounds: NDArray[np.float64]) -> tuple[str, str]:
        """Return two words, mostly different ones."""
        first, second, third = (words[self._draw(bounds)] for _ in range(3))
        return first, second if second != first else third

    def _neighbours_of(self, artist: int) -> list[int]:
        """Return three artists to name beside this one, mostly different ones."""
        drawn = (self._draw(self.neighbour_odds[artist]) for _ in range(6))
        return (list(dict.fromkeys(drawn)) * 3)[:3]

    def _item(self, artist: int, day: int) -> int:
        """Return a track of the artist that is out, or about to be, on that day."""
        items = self.items_of[artist]
        out = items[self.music.released_ms[items] <= START_MS + (day + 8) * DAY_MS]
        return int(out[self.rng.integers(len(out))])

    def _some(self, kind: str, n: int) -> list[str]:
        """Return `n` different sentences of a kind."""
        options: list[str] = WORDS["sentences"][kind]
        return [options[place] for place in self.rng.permutation(len(options))[:n].tolist()]

    def _day(self, artist: int) -> int:
        """Return a day of the year, not before the artist's first release by more than a week."""
        first = max(0, int(self.first_day[artist]) - 7)
        return int(self.rng.integers(first, 364))

    def _draw(self, bounds: NDArray[np.float64]) -> int:
        return min(int(np.searchsorted(bounds, self.rng.random())), len(bounds) - 1)

    def _pick(self, section: str, kind: str) -> str:
        return choose(WORDS[section][kind], self.rng)
