"""What the demo world is made of, written by hand: twelve axes of taste and twelve scenes.

A taste is a point in the space of the axes. The first six axes can be heard in a recording, the
last six can only be read about, so sound and words each know a part of the truth that the other
does not. Each axis has words for its low and its high end; each scene has words of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AXES", "N_AUDIBLE", "SCENES", "Axis", "Pole", "Scene", "scene_centres"]


@dataclass(frozen=True)
class Pole:
    """How writers speak of one end of an axis."""

    adjectives: tuple[str, ...]
    phrases: tuple[str, ...]
    """Noun phrases."""


@dataclass(frozen=True)
class Axis:
    """One direction of taste."""

    name: str
    low: Pole
    high: Pole


@dataclass(frozen=True)
class Scene:
    """A style of music: where its centre lies and what is said of it."""

    name: str
    language: str | None
    """Language of the lyrics; None is instrumental."""
    explicit: float
    """Share of explicit tracks."""
    centre: tuple[float, ...]
    """One number per axis, about -2 to 2, in the order of `AXES`."""
    adjectives: tuple[str, ...]
    phrases: tuple[str, ...]
    """Noun phrases."""


def _pole(adjectives: str, phrases: str) -> Pole:
    return Pole(tuple(adjectives.split()), tuple(p.strip() for p in phrases.split(",")))


AXES = (
    Axis(
        "pace",
        _pole(
            "slow unhurried drowsy patient languid", "long slow fades, a walking pace, held notes"
        ),
        _pole("fast breathless urgent racing restless", "a racing pulse, double time, sheer speed"),
    ),
    Axis(
        "brightness",
        _pole("dark muffled smoky shadowy murky", "low warm tones, a dark mix, muted strings"),
        _pole(
            "bright glassy shimmering crisp glittering",
            "bright bells, a clear top end, glass tones",
        ),
    ),
    Axis(
        "busyness",
        _pole(
            "sparse bare minimal hushed spacious", "empty space, a bare arrangement, single notes"
        ),
        _pole(
            "busy dense intricate crowded frantic", "rolling drums, layered parts, tight patterns"
        ),
    ),
    Axis(
        "mood",
        _pole(
            "mournful brooding melancholy bleak wistful", "minor chords, a sad refrain, grey skies"
        ),
        _pole("sunny cheerful joyful playful upbeat", "major chords, a happy chorus, summer air"),
    ),
    Axis(
        "force",
        _pole("quiet gentle tender soft delicate", "a soft touch, near silence, gentle dynamics"),
        _pole("loud heavy massive fierce thunderous", "a wall of sound, sheer volume, full blast"),
    ),
    Axis(
        "sway",
        _pole(
            "straight steady mechanical rigid square", "a straight beat, four on the floor, a grid"
        ),
        _pole(
            "swaying lilting waltzing rolling swinging",
            "a waltz feel, a rocking metre, a gentle sway",
        ),
    ),
    Axis(
        "era",
        _pole(
            "nostalgic vintage old-fashioned timeless antique",
            "old records, tape hiss, past summers",
        ),
        _pole(
            "futuristic modern synthetic digital forward",
            "future cities, machine dreams, new tools",
        ),
    ),
    Axis(
        "tongue",
        _pole("honest plain direct literal candid", "plain words, small stories, simple lines"),
        _pole("surreal cryptic absurd dreamlike strange", "dream logic, riddles, odd images"),
    ),
    Axis(
        "place",
        _pole("rural pastoral rustic earthy remote", "open fields, back roads, village halls"),
        _pole("urban nocturnal neon gritty metropolitan", "night buses, city lights, tower blocks"),
    ),
    Axis(
        "scope",
        _pole(
            "intimate private homemade confiding personal",
            "a small room, whispered secrets, bedroom tapes",
        ),
        _pole(
            "grand anthemic sweeping epic cinematic", "huge choruses, stadium lights, a full choir"
        ),
    ),
    Axis(
        "polish",
        _pole("raw ragged rough unpolished lo-fi", "first takes, cheap microphones, rough edges"),
        _pole(
            "polished sleek immaculate glossy refined",
            "studio craft, perfect takes, a glossy finish",
        ),
    ),
    Axis(
        "heart",
        _pole(
            "romantic lovelorn tender-hearted devoted smitten",
            "love letters, broken hearts, slow kisses",
        ),
        _pole(
            "political angry defiant militant outspoken",
            "protest songs, picket lines, public anger",
        ),
    ),
)
"""The axes of taste; a positive coordinate leans to the `high` pole."""

N_AUDIBLE = 6
"""The first so many axes shape the sound of a recording."""


def _scene(
    name: str,
    language: str | None,
    explicit: float,
    centre: tuple[float, ...],
    adjectives: str,
    phrases: str,
) -> Scene:
    split = tuple(p.strip() for p in phrases.split(","))
    return Scene(name, language, explicit, centre, tuple(adjectives.split()), split)


# pace, brightness, busyness, mood, force, sway | era, tongue, place, scope, polish, heart
SCENES = (
    _scene(
        "glass techno",
        None,
        0.0,
        (1.2, 1, 1, -1, 1, -1.2, 2, 0.5, 1.2, 0, 1, 0),
        "hypnotic metallic strobing",
        "drum machines, warehouse nights, acid lines, modular synths, the dance floor",
    ),
    _scene(
        "porch ballads",
        "en",
        0.02,
        (-1, -1, -1, 0.8, -1, 1, -1.2, -1.2, -2, -1, 0, -1.2),
        "homespun dusty weathered",
        "pedal steel, front porch stories, acoustic guitar, county roads, harmony singing",
    ),
    _scene(
        "harbour soul",
        "en",
        0.06,
        (-0.4, -0.6, 0.2, 1, 0, 0.4, -1, -1, 1, 0.3, 1.2, -1.4),
        "velvety soulful yearning",
        "electric piano, horn stabs, call and response, falsetto lines, late night radio",
    ),
    _scene(
        "fog metal",
        "en",
        0.2,
        (1, -1.2, 1.2, -1.4, 2, 0.2, 0, 1.2, -1, 1.4, -0.8, 0.6),
        "crushing doomed growling",
        "distorted guitars, blast beats, tremolo riffs, northern forests, funeral chords",
    ),
    _scene(
        "paper chamber",
        "fr",
        0.0,
        (-0.8, 1, -0.6, -0.2, -1, 1.2, -0.6, 1.2, 0, -0.8, 0.8, -0.8),
        "ornate fragile bookish",
        "string quartet, toy piano, pressed flowers, woodwind lines, art song",
    ),
    _scene(
        "rooftop rap",
        "en",
        0.6,
        (-0.6, -0.6, 1.2, -1, 1, -1, 0.8, 0.2, 2, 0, 0.2, 1.6),
        "streetwise boastful rhythmic",
        "sharp verses, sub bass, sampled loops, corner stories, quick rhymes",
    ),
    _scene(
        "delta dub",
        "pt",
        0.1,
        (-1, -1, 0, 0.2, 0.4, -0.2, -0.2, 0.8, 0.8, 0.4, -1.2, 1.2),
        "echoing hazy deep",
        "tape echo, offbeat guitar, heavy bass lines, sound systems, river towns",
    ),
    _scene(
        "lantern folk",
        "en",
        0.0,
        (0.2, 0.2, 0, -1, -1, 1.4, -2, -0.6, -1.2, 0, -1, 0.8),
        "ancient haunting ballad-like",
        "fiddle tunes, murder ballads, drone strings, winter songs, unaccompanied voices",
    ),
    _scene(
        "neon pop",
        "ko",
        0.05,
        (0.8, 2, 0.4, 1.2, 1, -1, 1, -1, 1, 1, 2, -1),
        "catchy sugary sparkling",
        "big hooks, vocoder choruses, handclaps, key changes, pop perfection",
    ),
    _scene(
        "garage sprint",
        "en",
        0.3,
        (2, 0.8, 0.8, 0.8, 1.4, -1, -0.2, -1, 0.6, -0.8, -2, 1.6),
        "scrappy snotty shouted",
        "power chords, shouted choruses, basement shows, broken strings, two minute songs",
    ),
    _scene(
        "moth ambient",
        None,
        0.0,
        (-2, 0.4, -2, -0.2, -1.6, 0.2, 1.4, 1, -0.6, 0.4, 1, 0),
        "weightless glacial meditative",
        "slow drones, field recordings, granular clouds, sleeping music, endless reverb",
    ),
    _scene(
        "carnival brass",
        "es",
        0.03,
        (1, 0.4, 1.4, 1.6, 0.8, 1, -1, 0.2, 0, 1.4, -0.8, 0),
        "festive strutting boisterous",
        "brass bands, street parades, hand drums, trumpet solos, dancing crowds",
    ),
)
"""The scenes; several lie close together, and artists stray from their scene's centre."""


def scene_centres() -> NDArray[np.float64]:
    """Return (n_scenes, n_axes) float64, centred so that no axis is a mere offset."""
    centres = np.array([scene.centre for scene in SCENES], float)
    return np.asarray(centres - centres.mean(axis=0))
