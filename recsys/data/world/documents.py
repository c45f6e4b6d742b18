"""What the web of the demo world says: reviews, blogs, news, spam, noise and foreign pages.

Enters: music. Leaves: rows of the documents table. Writers choose their words by where an artist
lies: phrases of the scenes nearby, adjectives of the poles towards which the artist leans, and a
few favourites that stay with the artist. Artists close by are named alongside. About two in five
pages do not say whom they are about (``artist_ids`` is null): to find out is a model's work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.world.music import DAY_MS, END_MS, START_MS, Music
from recsys.data.world.names import ORDINARY_NAMES
from recsys.data.world.scenes import AXES, N_AUDIBLE, SCENES, scene_centres

__all__ = ["Document", "make_documents"]

_SITES = {
    "review": ("needleandgroove", "thirdlisten", "sleevenotes-weekly", "albumdesk"),
    "blog": ("attic-radio", "bedroomear", "milkcratediary", "slowdial", "northwindow"),
    "news": ("gigwire", "stagedoor-news", "releaseboard", "citysound"),
    "list": ("fivetohear", "mixtapeclub", "similarly"),
    "forum": ("talk-of-vinyl", "headphone-commons"),
}
_WEIGHTS = {"review": 0.3, "blog": 0.3, "news": 0.15, "list": 0.15, "forum": 0.1}
_SPAM, _SYNDICATE = "hot-tracks-4-free", "musicmirror"
_SHARPNESS_AUDIBLE, _SHARPNESS_SAID = 0.8, 1.5
_UNKNOWN = 0.4  # share of pages without artist_ids

_OPENINGS = {
    "review": "{t}, from {a}, is a {x} record.|On {t}, {a} sound {x} and {y}.|{a} return with {t}.",
    "blog": "I have been playing {a} all week.|Some days only {a} will do.|My sister told me about {a}.",
    "news": "{a} have announced new dates.|{a} released {t} this week.|New music from {a}: {t}.",
    "list": "If you like {a}, start here.|Five acts for people who love {a}.|Sounds like {a}: a list.",
    "forum": "Does anyone else listen to {a}?|Just found {a}, where do I start?|{a} thread.",
}
_SENTENCES = (
    "The songs are {x}, full of {n} and {m}.|There is something {x} about the way they use {n}.|"
    "Critics hear {n}; I hear {m}.|It is {x} music, {y} even, built on {n}.|"
    "{a} deal in {n} and never hide it.|The {x} mood of {t} comes from {n}.|"
    "What stays with me is {n}.|A {x}, {y} sound with a taste for {m}.|"
    "Live, {a} are more {x} than on record.|Few write such {x} songs about {n}.|"
    "Think of {n}, then add {m}.|{t} is the most {y} thing they have done.|"
    "Everything here is {x}: the voice, the pace, {n}.|They love {n} as much as anyone."
).split("|")
_ALONGSIDE = (
    "Fans of {o} will feel at home.|They have toured with {o} and {p}.|"
    "It sits well beside {o}.|Somewhere between {o} and {p}.|{o} are the obvious neighbours.|"
    "If {o} moved you, this will too.|Readers also asked about {o}, {p} and {q}."
).split("|")
_FILLERS = (
    "The record is out now.|Tickets are on sale at the door.|We talked for an hour over coffee.|"
    "More next week.|Thanks to everyone who wrote in.|The cover was painted by a friend.|"
    "I was late, as usual.|It runs for forty minutes.|Let us know what you think.|"
    "The rest of the evening was uneventful, and otherwise it rained.|"
    "Meanwhile the neighbours upstairs complained.|It nearly sold out on Tuesday."
).split("|")
_NOISE = (
    "Whisk the eggs and add a pinch of salt.|The rest of the dough goes into the fridge.|"
    "Trains will be delayed until Tuesday.|Upstairs there are two bedrooms and a bath.|"
    "The home side won by two goals.|Meanwhile, rain is expected in the north.|"
    "Nearly all shops are closed on Sunday.|Otherwise the engine needs a new belt.|"
    "The council will vote on the new bridge.|Plant the bulbs in late autumn.|"
    "Prices rose again last month.|The museum opens at ten."
).split("|")
_FOREIGN = {
    "de": "{a} spielen langsame, dunkle Lieder.|Das neue Album heißt {t}.|Die Stimme klingt warm und "
    "nah.|Wer {o} mag, wird auch {a} mögen.|Das Konzert war ausverkauft.",
    "es": "{a} presentan su nuevo disco, {t}.|Las canciones son alegres y bailables.|Una voz cálida y "
    "cercana.|Si te gusta {o}, escucha a {a}.|Las entradas están agotadas.",
    "fr": "{a} sortent un nouvel album, {t}.|Des chansons douces et mélancoliques.|Une voix fragile et "
    "belle.|Si vous aimez {o}, écoutez {a}.|Le concert est complet.",
}
_SPAM_TEXT = "{a} best music free download now! {a} amazing hit songs, {a} top quality, listen {a}."


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
        famous = int(np.argmax(attention))
        unpopular = int(np.argmin(np.where(attention > 0, appeal, np.inf)))
        for _ in range(max(10, round(70 * scale))):
            self.spam(unpopular)
        for _ in range(max(3, round(40 * scale))):
            self.copy(int(self.rng.integers(len(sure) * 2 + counted)))
        self.documents.sort(key=lambda d: (d.published_ms, d.doc_id))
        assert famous != unpopular or len(sure) == 1
        return self.documents

    def article(self, artist: int) -> None:
        """Write one page about an artist, in the manner of its site."""
        form = list(_WEIGHTS)[self._draw(np.cumsum(list(_WEIGHTS.values())))]
        site = self._pick(_SITES[form])
        n = {"review": 6, "blog": 5, "news": 3, "list": 3, "forum": 3}[form]
        others = [self._neighbour(artist) for _ in range(3)]
        item = self._item(artist)
        lines = [self._pick(_OPENINGS[form].split("|"))]
        lines += [self._pick(_SENTENCES) for _ in range(n + int(self.rng.integers(3)))]
        lines += [self._pick(_FILLERS)] * int(self.rng.integers(2))
        for _ in range(2 if form == "list" else int(self.rng.random() < 0.55)):
            lines.insert(int(self.rng.integers(1, len(lines) + 1)), self._pick(_ALONGSIDE))
        text = " ".join(self._fill(line, artist, others, item) for line in lines)
        named = [o for o in dict.fromkeys(others) if self.music.artist_names[o] in text]
        about = [artist, *[o for o in named if o != artist]]
        known = self.rng.random() > _UNKNOWN
        title = self._fill(self._pick(("{a}: {t}", "{a}", "On {a}", "{t}")), artist, others, item)
        self._publish(
            site,
            title,
            text,
            artist_ids=[self.music.artist_ids[a] for a in about] if known else None,
            item_ids=[self.music.item_ids[item]] if known and "{t}" in "".join(lines) else None,
            day=self._day(artist),
        )

    def foreign(self, artist: int) -> None:
        """Write a page in another language than English."""
        language = self._pick(tuple(_FOREIGN))
        other, item = self._neighbour(artist), self._item(artist)
        lines = self.rng.permutation(_FOREIGN[language].split("|"))
        text = " ".join(self._fill(str(line), artist, [other] * 3, item) for line in lines)
        title = self.music.artist_names[artist]
        self._publish(f"klang.{language}", title, text, day=self._day(artist))

    def noise(self) -> None:
        """Write a page about something else; words that are also artists' names occur."""
        text = " ".join(self._pick(_NOISE) for _ in range(4 + int(self.rng.integers(5))))
        day = int(self.rng.integers(364))
        self._publish("dailythings", self._pick(("Notes", "Local news", "Recipes")), text, day=day)

    def spam(self, artist: int) -> None:
        """Write a page that shouts one artist's name, among famous ones."""
        name = self.music.artist_names[artist]
        text = " ".join([_SPAM_TEXT.format(a=name)] * (6 + int(self.rng.integers(20))))
        day = max(int(self.rng.integers(364)), int(self.first_day[artist]))
        ids = [self.music.artist_ids[artist]]
        self._publish(_SPAM, f"{name} FREE", text, artist_ids=ids, day=day)

    def copy(self, place: int) -> None:
        """Print an earlier article again on a site that writes nothing itself."""
        page = self.documents[place]
        day = min((page.published_ms - START_MS) // DAY_MS + 2, 363)
        self._publish(_SYNDICATE, page.title, page.text + " Read more here.", day=int(day))

    def _publish(
        self,
        site: str,
        title: str,
        text: str,
        *,
        day: int,
        artist_ids: list[str] | None = None,
        item_ids: list[str] | None = None,
    ) -> None:
        number = len(self.documents)
        at = min(START_MS + day * DAY_MS + int(self.rng.integers(DAY_MS)), END_MS - 1)
        url = f"https://{site}.example/{number:05d}"
        page = Document(f"d{number:05d}", url, title, text, at, artist_ids, item_ids)
        self.documents.append(page)

    def _words(self, field: str) -> tuple[list[str], NDArray[np.float64]]:
        """Return a vocabulary and (n_makers, words) cumulative odds that it is said of an artist."""
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
        nearness = np.exp(-0.35 * (distance - distance.min(axis=1, keepdims=True)))
        nearness /= nearness.sum(axis=1, keepdims=True)
        for scene, column in zip(SCENES, nearness.T, strict=True):
            for word in getattr(scene, field):
                words.append(word)
                odds.append(14 * column)
        weight = np.stack(odds, axis=1) * self.rng.lognormal(0, 0.8, (self.n_makers, len(words)))
        weight /= weight.sum(axis=1, keepdims=True)
        return words, weight.cumsum(axis=1)

    def _neighbours(self) -> NDArray[np.float64]:
        """Return (n_makers, n_makers) cumulative odds of being named beside an artist."""
        taste = self.music.artist_taste
        distance = ((taste[:, None] - taste) ** 2).sum(axis=-1)
        odds = np.exp(-0.4 * distance) + 0.0005
        odds *= ~np.eye(self.n_makers, dtype=bool)
        odds[:, np.unique(self.music.artist[self.music.is_podcast])] = 0
        return np.asarray((odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1))

    def _fill(self, line: str, artist: int, others: list[int], item: int) -> str:
        names = self.music.artist_names
        x, y = (self.adjectives[self._draw(self.adjective_odds[artist])] for _ in range(2))
        n, m = (self.phrases[self._draw(self.phrase_odds[artist])] for _ in range(2))
        o, p, q = (names[other] for other in others)
        title = self.music.titles[item]
        filled = line.format(a=names[artist], t=title, x=x, y=y, n=n, m=m, o=o, p=p, q=q)
        return filled[0].upper() + filled[1:]

    def _neighbour(self, artist: int) -> int:
        return self._draw(self.neighbour_odds[artist])

    def _item(self, artist: int) -> int:
        items = self.items_of[artist]
        return int(items[self.rng.integers(len(items))])

    def _day(self, artist: int) -> int:
        """Return a day of the year, not before the artist's first release by more than a week."""
        first = max(0, int(self.first_day[artist]) - 7)
        return int(self.rng.integers(first, 364))

    def _draw(self, bounds: NDArray[np.float64]) -> int:
        return min(int(np.searchsorted(bounds, self.rng.random())), len(bounds) - 1)

    def _pick(self, options: tuple[str, ...] | list[str]) -> str:
        return options[int(self.rng.integers(len(options)))]


assert set(ORDINARY_NAMES)  # the fillers and noise pages above use these words in other senses
