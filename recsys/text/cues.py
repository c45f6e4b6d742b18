"""English words that tell what a capitalised word beside them is: the evidence for mentions.

Lists of common words, made by hand; nothing enters, sets of lower-case words leave.
"""

from __future__ import annotations

__all__ = [
    "ARTICLES",
    "BEFORE_THINGS",
    "DOES",
    "IS_A",
    "JOINS",
    "KINDS_OF_ARTIST",
    "MUSIC",
    "OF_ARTISTS",
    "PLAYS_IN",
    "TITLES",
]

ARTICLES = frozenset(("a", "an", "the"))

IS_A = frozenset(("is", "was", "became"))

JOINS = frozenset(("and", "&", ",", "or", "with", "vs", "/"))
"""What stands between the names of a list."""

KINDS_OF_ARTIST = frozenset(("artist", "band", "duo", "group", "rapper", "singer", "trio"))
"""Words before a name that is written small."""

_TITLES = "dr king lady lord mr mrs ms president prince princess queen saint sir st "
TITLES = frozenset(_TITLES.split())
"""Words that make a longer name with the one behind them."""

_BEFORE_THINGS = (
    "a an another any each every her his its much my no our some the their this whose your "
)
BEFORE_THINGS = frozenset(_BEFORE_THINGS.split())
"""Words before a thing, hardly before a name: *his muse*."""

_OF_ARTISTS = (
    "band by called cover covered duo feat featuring for formed fronted ft group hear heard "
    "joined left like named produced quit saw see singer starring supporting supports than with "
)
OF_ARTISTS = frozenset(_OF_ARTISTS.split())
"""Words before an artist, also one that is called like a place: *by Boston*."""

PLAYS_IN = frozenset(("drummed", "drums", "listen", "listened", "listening", "sang", "sings"))
"""Words before *in* or *to* and an artist that is called like a place."""

_DOES = (
    "announce announced announces are beat began broke close closed cover covered covers "
    "debuted feature featured formed have headline headlined headlines joined made make makes "
    "never open opened opens perform performed performs play played plays produced put puts "
    "rapped record recorded records recruited release released releases remixed rerecorded "
    "return returned reunite reunited sample sampled samples sang sell share shared sign signed "
    "sing sings sold sound sounds split started still took tour toured were won write writes "
    "wrote "
)
DOES = frozenset(_DOES.split())
"""What artists do: words behind a name at the head of a sentence."""

_MUSIC = (
    "album albums artist artists audience band bands bass bassist chart charts chorus concert "
    "concerts cover covers debut demo disco drum drummer drums duet duo encore ep fan fans "
    "festival frontman gig gigs group guitar guitarist guitars hit hits hop jazz keyboard label "
    "listen listened listening lp lyrics melody metal music musician musicians piano pop "
    "producer punk quartet rapper record recorded records reggae release released remix riff "
    "rock sang setlist sing singer singing single singles sings solo song songs songwriter "
    "soundtrack stage studio supergroup techno tour toured track tracks trio tune venue video "
    "vinyl vocal vocalist vocals "
)
MUSIC = frozenset(_MUSIC.split())
"""Words of texts about music."""
