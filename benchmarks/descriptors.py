"""Measure key, mode, tempo and metre on rendered folk tunes, beside librosa and Essentia.

    python -m benchmarks.descriptors NOTTINGHAM [--clips 240] [--seed 1] [--peers] [--kept FILE]
                                     [--out FOLDER]

NOTTINGHAM is the folder of the Nottingham tunes (ABC and MIDI). The kinds of mode and metre share
the clips evenly, as far as their tunes go; each tune is arranged by seed (see nottingham.py),
rendered by FluidSynth, and 30 s of it are heard. With --kept a run that was broken off goes on
where it stopped; FILE gets a line an answer.
"""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.nottingham import Arrangement, Tune, arrange, read_tunes
from benchmarks.page import options, origin, publish
from benchmarks.synthesiser import Synthesiser
from recsys.audio.descriptors import describe_recording
from recsys.audio.tonality import PITCH_CLASSES

SAMPLE_RATE = 44_100
DURATION_S = 30.0
ESSENTIA_PROFILES = ("bgate", "edma", "shaath", "krumhansl")
METRES = {"4/4": 4, "2/4": 4, "3/4": 3, "6/8": 6}

NOTES = """\
Speed is processor time of one thread, decoding not counted, by the median clip. librosa is
`beat_track` for the tempo and mean `chroma_cqt` with Krumhansl's profiles for the key; Essentia is
KeyExtractor with each of four profiles, and, in the first row, RhythmExtractor2013 (multifeature).
The rhythm model never saw a Nottingham tune: it is trained on composed songs alone, and its
penalties were chosen there. The number of overtones and the profile of the key were chosen, among
about twenty settings, on 237 other arrangements (other tempi, keys, instruments) of tunes that
partly recur here. That metre is named by every likely tempo was decided after a look at those, too.
"""

Answer = tuple[float, str, str, int]
"""tempo in bpm, key, mode, beats in a bar (0: not told)"""


def draw(tunes: list[Tune], n_clips: int, seed: int) -> list[Tune]:
    """Draw tunes evenly over mode and metre."""
    rng = np.random.default_rng(seed)
    kinds: dict[tuple[str, int], list[Tune]] = {}
    for tune in tunes:
        metre = {(6, 8): 6, (3, 4): 3}.get(tune.metre, 4)
        kinds.setdefault((tune.mode, metre), []).append(tune)
    drawn: list[Tune] = []
    left = len(kinds)
    # The scarcest first: what they cannot give, the others do.
    for kind in sorted(kinds.values(), key=len):
        share = (n_clips - len(drawn)) // left
        drawn += [kind[place] for place in rng.permutation(len(kind))[:share]]
        left -= 1
    return drawn


def ours(samples: NDArray[np.float32]) -> Answer:
    """Describe a clip by recsys."""
    found = describe_recording(samples, SAMPLE_RATE)
    rhythm, tonality = found.rhythm, found.tonality
    return (
        rhythm.tempo_bpm if rhythm else 0.0,
        tonality.key if tonality else "",
        tonality.mode if tonality else "",
        METRES[rhythm.time_signature] if rhythm else 0,
    )


def by_librosa(samples: NDArray[np.float32]) -> Answer:
    """Describe a clip by librosa's beat tracker, and its chroma with Krumhansl's profiles."""
    import librosa

    tempo, _ = librosa.beat.beat_track(y=samples, sr=SAMPLE_RATE)
    chroma = librosa.feature.chroma_cqt(y=samples, sr=SAMPLE_RATE).mean(axis=1)
    profiles = {
        "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
        "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
    }
    likeness = {
        (tonic, mode): np.corrcoef(np.roll(profile, tonic), chroma)[0, 1]
        for mode, profile in profiles.items()
        for tonic in range(12)
    }
    tonic, mode = max(likeness, key=lambda key: likeness[key])
    return float(np.atleast_1d(tempo)[0]), PITCH_CLASSES[tonic], mode, 0


def by_essentia(samples: NDArray[np.float32], profile: str) -> Answer:
    """Describe a clip by Essentia's KeyExtractor with a key profile; its tempo with the first."""
    from essentia.standard import KeyExtractor, RhythmExtractor2013

    tempo = 0.0
    if profile == ESSENTIA_PROFILES[0]:
        tempo = RhythmExtractor2013(method="multifeature")(samples)[0]
    key, mode, _ = KeyExtractor(profileType=profile)(samples)
    flats = {"Db": "C#", "Eb": "D#", "Gb": "F#", "Ab": "G#", "Bb": "A#"}
    return float(tempo), flats.get(key, key), mode, 0


def key_score(answer: Answer, truth: Arrangement) -> float:
    """Return the MIREX score: 1 same, .5 a fifth away, .3 relative, .2 parallel."""
    _, key, mode, _ = answer
    if not key:
        return 0.0
    away = (PITCH_CLASSES.index(key) - truth.tonic) % 12
    if mode == truth.mode:
        return {0: 1.0, 5: 0.5, 7: 0.5}.get(away, 0.0)
    relative = 9 if truth.mode == "major" else 3
    return {relative: 0.3, 0: 0.2}.get(away, 0.0)


def hear(
    truths: list[Arrangement], methods: dict[str, Callable], kept: Path | None
) -> dict[str, list[tuple[Answer, float]]]:
    """Let every method hear every clip; return its answers and the seconds that each took."""
    known: dict[tuple[str, int], tuple[Answer, float]] = {}
    if kept is not None and kept.exists():
        for line in kept.read_text().splitlines():
            name, number, answer, took = json.loads(line)
            known[name, number] = (tuple(answer), took)
    synthesiser = Synthesiser(SAMPLE_RATE)
    for number, truth in enumerate(truths):
        wanted = {name: m for name, m in methods.items() if (name, number) not in known}
        if not wanted:
            continue
        samples = synthesiser.render(truth.notes, truth.programs, DURATION_S + 2)
        samples = samples[-round(DURATION_S * SAMPLE_RATE) :]
        samples *= 0.5 / max(float(np.abs(samples).max()), 1e-6)
        for name, method in wanted.items():
            began = time.process_time()
            answer = method(samples)
            known[name, number] = answer, time.process_time() - began
            if kept is not None:
                with kept.open("a") as file:
                    file.write(json.dumps([name, number, *known[name, number]]) + "\n")
    return {name: [known[name, n] for n in range(len(truths))] for name in methods}


def report(name: str, answers: list[Answer], truths: list[Arrangement], seconds: float) -> str:
    """Return one row of the table."""
    scores = np.array([key_score(a, t) for a, t in zip(answers, truths, strict=True)])
    mode = np.mean([a[2] == t.mode for a, t in zip(answers, truths, strict=True)])
    ratio = np.array([a[0] / t.tempo_bpm for a, t in zip(answers, truths, strict=True)])
    first = np.abs(ratio - 1) < 0.04
    second = np.any([np.abs(ratio / f - 1) < 0.04 for f in (1, 2, 3, 0.5, 1 / 3)], axis=0)
    metres: dict[int, list[bool]] = {}
    for answer, truth in zip(answers, truths, strict=True):
        metre = 4 if truth.beats_per_bar == 2 else truth.beats_per_bar
        metres.setdefault(metre, []).append(answer[3] == metre)
    balanced = np.mean([np.mean(hits) for hits in metres.values()])
    metre_text = f"{balanced:.3f}" if any(a[3] for a in answers) else ""
    cells = [scores.mean(), (scores == 1).mean(), mode, first.mean(), second.mean()]
    speed = DURATION_S * len(answers) / seconds
    told = [True] * 3 + [any(a[0] for a in answers)] * 2
    shown = " | ".join(f"{c:.3f}" if known else "" for c, known in zip(cells, told, strict=True))
    return f"| {name} | {shown} | {metre_text} | {speed:.0f} |"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("nottingham", type=Path)
    parser.add_argument("--clips", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peers", action="store_true", help="measure librosa and Essentia, too")
    parser.add_argument("--kept", type=Path, metavar="FILE", help="of this seed and these clips")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    tunes = draw(read_tunes(arguments.nottingham), arguments.clips, arguments.seed)
    methods: dict[str, Callable[[NDArray[np.float32]], Answer]] = {"recsys": ours}
    if arguments.peers:
        if importlib.util.find_spec("librosa"):
            methods["librosa"] = by_librosa
        if importlib.util.find_spec("essentia"):
            for profile in ESSENTIA_PROFILES:
                methods[f"Essentia, {profile}"] = partial(by_essentia, profile=profile)
    truths = [
        arrange(tune, 1000 * arguments.seed + number, DURATION_S + 2)
        for number, tune in enumerate(tunes)
    ]
    heard = hear(truths, methods, arguments.kept)
    answers = {name: [answer for answer, _ in told] for name, told in heard.items()}
    # Medians, since the first clip of each also pays for what is loaded and compiled.
    seconds = {name: len(told) * median(s for _, s in told) for name, told in heard.items()}
    made = f"{len(truths)} clips of {DURATION_S:.0f} s at {SAMPLE_RATE:,} Hz, seed {arguments.seed}"
    table = [
        "| | key MIREX | key exact | mode | tempo Acc1 | Acc2 | metre, balanced | x real time |",
        "|---|---|---|---|---|---|---|---|",
        *(report(name, answers[name], truths, seconds[name]) for name in methods),
    ]
    libraries = [name for name in ("librosa", "essentia") if importlib.util.find_spec(name)]
    heading = ["# Descriptors beside librosa and Essentia", "", f"{made}.", ""]
    lines = [*heading, *table, "", NOTES, origin("numba", *libraries, load=load)]
    publish("\n".join(lines), arguments.out)


if __name__ == "__main__":
    main()
