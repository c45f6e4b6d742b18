"""Notes -> sound, by the FluidSynth library and a General MIDI sound font (Debian: fluidsynth,
fluid-soundfont-gm)."""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DRUMS", "Note", "Synthesiser"]

DRUMS = 9
"""The channel of General MIDI percussion."""

SOUND_FONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"


@dataclass(frozen=True, order=True)
class Note:
    """One note of one channel."""

    start_s: float
    end_s: float
    channel: int
    pitch: int
    velocity: int


class Synthesiser:
    """Renders notes; loads the sound font once."""

    def __init__(self, sample_rate: int = 22_050, sound_font: str = SOUND_FONT) -> None:
        name = ctypes.util.find_library("fluidsynth")
        if name is None:
            raise SystemExit("libfluidsynth is not installed; install fluidsynth")
        self._library = library = ctypes.CDLL(name)
        for function in ("new_fluid_settings", "new_fluid_synth"):
            getattr(library, function).restype = ctypes.c_void_p
        self.sample_rate = sample_rate
        settings = ctypes.c_void_p(library.new_fluid_settings())
        library.fluid_settings_setnum(settings, b"synth.sample-rate", ctypes.c_double(sample_rate))
        library.fluid_settings_setnum(settings, b"synth.gain", ctypes.c_double(0.4))
        self._synth = ctypes.c_void_p(library.new_fluid_synth(settings))
        if library.fluid_synth_sfload(self._synth, sound_font.encode(), 1) < 0:
            raise SystemExit(f"{sound_font}: no sound font; install fluid-soundfont-gm")

    def render(
        self, notes: list[Note], programs: dict[int, int], duration_s: float
    ) -> NDArray[np.float32]:
        """Return (n_samples,) mono float32 of `notes`, each channel played by its program."""
        library, synth = self._library, self._synth
        library.fluid_synth_system_reset(synth)
        for channel, program in programs.items():
            library.fluid_synth_program_change(synth, channel, program)
        changes = [(note.end_s, 0, note) for note in notes]
        changes += [(note.start_s, 1, note) for note in notes]
        done, blocks, total = 0, [], round(duration_s * self.sample_rate)
        for at_s, sounds, note in sorted(changes, key=lambda c: (c[0], c[1])):
            until = min(round(at_s * self.sample_rate), total)
            if until > done:
                blocks.append(self._block(until - done))
                done = until
            if done >= total:
                break
            if sounds:
                library.fluid_synth_noteon(synth, note.channel, note.pitch, note.velocity)
            else:
                library.fluid_synth_noteoff(synth, note.channel, note.pitch)
        if done < total:
            blocks.append(self._block(total - done))
        return np.concatenate(blocks)

    def _block(self, n: int) -> NDArray[np.float32]:
        left, right = np.zeros(n, np.float32), np.zeros(n, np.float32)
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (left, right)]
        self._library.fluid_synth_write_float(self._synth, n, pointers[0], 0, 1, pointers[1], 0, 1)
        return (left + right) / 2
