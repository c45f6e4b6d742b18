"""Draw what excites the filters of a trained network: the figure of docs/audio.md.

    python -m scripts.draw_filters DATASET MODELS OUT.png [--layers 1,2,3] [--filters 4]

A row for each convolution, a panel for each of the filters that tell recordings apart most, no two
alike: the mean of the excerpts that excite the filter most, against the catalogue's mean in each
band, and what the descriptors hear in those recordings that is not so in most. After Dieleman,
Recommending music on Spotify with deep learning (2014).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from recsys.audio.answers import unpacked
from recsys.audio.descriptors import FRAME_S, SAMPLE_RATE
from recsys.audio.listening import Heard, hear_items
from recsys.audio.network import SoundNetwork
from recsys.audio.spectrogram import mel_filters
from recsys.bundle import Models
from recsys.data.dataset import Dataset

EXCERPTS = 24
"""Excerpts behind each picture, at most one of a recording."""
CONTEXT = 30
"""Frames shown on both sides of what the filter hears the middle of."""
ASTONISHING = 3.0
"""Standard errors from the catalogue's mean at which something is worth telling."""
TICKS_HZ = (100, 300, 1000, 3000, 10000)
ORDINALS = {1: "1st", 2: "2nd", 3: "3rd"}


@dataclass(frozen=True)
class Excitement:
    """How recordings excite the filters of one convolution."""

    peaks: np.ndarray
    """(n_recordings, n_filters) the most that each excites each."""
    frames: np.ndarray
    """(n_recordings, n_filters) the first frame of what was heard then."""
    width: int
    """Frames that a filter hears at once, those below it included."""

    @classmethod
    def of(cls, network: SoundNetwork, bands: list[np.ndarray], layer: int) -> Excitement:
        """Let convolution number `layer`, from 1, hear (n_frames, n_mels) each."""
        parts = list(network.convolutions)
        until = [n for n, part in enumerate(parts) if isinstance(part, torch.nn.ReLU)][layer - 1]
        width, stride = 1, 1
        for part in parts[: until + 1]:
            if isinstance(part, torch.nn.Conv1d | torch.nn.MaxPool1d):
                size = part.kernel_size
                width += (int(np.max(size)) - 1) * stride
                stride *= int(np.max(part.stride))
        peaks, frames = [], []
        with torch.inference_mode():
            for one in bands:
                heard = (torch.from_numpy(one.astype(np.float32)).T[None] - network.mean) / (
                    network.spread
                )
                peak, place = network.convolutions[: until + 1](heard)[0].max(dim=1)
                peaks.append(peak.numpy())
                frames.append(place.numpy() * stride)
        return cls(np.array(peaks), np.array(frames), width)

    def telling(self, n: int) -> list[int]:
        """Return filters that tell recordings apart: the most telling, then those least like it."""
        mean, spread = self.peaks.mean(axis=0), self.peaks.std(axis=0)
        score = np.where(spread > 1e-6, spread / (mean + 1e-6) * (mean > 0.05), 0)
        alike = np.abs(np.corrcoef((self.peaks + 1e-9 * np.arange(len(self.peaks))[:, None]).T))
        chosen: list[int] = []
        for _ in range(min(n, int(np.count_nonzero(score)))):
            known = alike[:, chosen].max(axis=1) if chosen else 0 * score
            chosen.append(int((score * (1 - known)).argmax()))
        return chosen


def about(best: list[Heard], everybody: list[Heard]) -> list[str]:
    """Say what is so in `best` and not in most, the most astonishing first; at most two things."""
    said = []
    for name, unit, more, less in (
        ("tempo_bpm", "BPM", "faster", "slower"),
        ("loudness_lufs", "LUFS", "louder", "softer"),
    ):
        here, there = (
            np.array([h.descriptors[name] for h in some if h.descriptors[name] is not None])
            for some in (best, everybody)
        )
        if len(here) and there.std() > 0:
            away = (here.mean() - there.mean()) / (there.std() / np.sqrt(len(here)))
            text = f"{np.mean(here):.0f} {unit} (all {np.mean(there):.0f})"
            said.append((abs(away), f"{more if away > 0 else less}: {text}"))
    for name, wanted, yes, no in (
        ("mode", "minor", "in minor", "in major"),
        ("time_signature", "4/4", "in 4/4", "in 3/4 or 6/8"),
    ):
        here, there = (
            np.mean([h.descriptors[name] == wanted for h in s]) for s in (best, everybody)
        )
        error = np.sqrt(max(there * (1 - there), 1e-9) / len(best))
        more = here > there
        shares = (
            f"{here:.0%} (all {there:.0%})" if more else f"{1 - here:.0%} (all {1 - there:.0%})"
        )
        said.append((abs(here - there) / error, f"{yes if more else no}: {shares}"))
    return [text for away, text in sorted(said, reverse=True)[:2] if away > ASTONISHING]


def excerpts(bands: list[np.ndarray], starts: np.ndarray, width: int) -> np.ndarray:
    """Return (2 * CONTEXT, n_mels) the mean around the middle of what begins at `starts`."""
    cuts = []
    for one, start in zip(bands, starts.tolist(), strict=True):
        padded = np.pad(one.astype(np.float32), ((CONTEXT, CONTEXT), (0, 0)), "edge")
        middle = start + width // 2
        cuts.append(padded[middle : middle + 2 * CONTEXT])
    return np.mean(cuts, axis=0)


def draw(items: list[Heard], network: SoundNetwork, layers: list[int], n_filters: int) -> Figure:
    """Return the figure: a row a layer, a column a filter."""
    bands = [one.bands for one in items]
    usual = np.mean([one.astype(np.float32).mean(axis=0) for one in bands], axis=0)
    figure = Figure(figsize=(3.1 * n_filters, 0.9 + 2.6 * len(layers)), layout="constrained")
    figure.suptitle(
        f"Sounds that excite filters of the network: means of {EXCERPTS} excerpts\n"
        "(dashed: the time that the filter hears at once)"
    )
    grid: Any = figure.subplots(len(layers), n_filters, squeeze=False, sharex=True, sharey=True)
    picture: Any = None
    for row, layer in zip(grid, layers, strict=True):
        excited = Excitement.of(network, bands, layer)
        half_s = excited.width * FRAME_S / 2
        row[0].set_ylabel(
            f"{ORDINALS.get(layer, f'{layer}th')} convolution,\nhears {2 * half_s:.1f} s\n\nHz"
        )
        for axis, number in zip(row, excited.telling(n_filters), strict=False):
            best = np.argsort(-excited.peaks[:, number])[:EXCERPTS]
            seen = excerpts([bands[n] for n in best], excited.frames[best, number], excited.width)
            picture = _panel(axis, seen - usual, half_s)
            lines = about([items[n] for n in best], items) or ["any tempo, loudness, mode, metre"]
            axis.set_title("\n".join([f"filter {number}", *lines]), fontsize=9)
    for axis in grid[-1]:
        axis.set_xlabel("seconds")
    figure.colorbar(picture, ax=grid, shrink=0.6, label="dB against the catalogue's mean")
    return figure


def _panel(axis: Any, decibels: np.ndarray, half_s: float) -> Any:
    """Draw (2 * CONTEXT, n_mels) decibels."""
    n_mels = decibels.shape[1]
    side = CONTEXT * FRAME_S
    picture = axis.imshow(
        decibels.T, origin="lower", aspect="auto", extent=(-side, side, 0, n_mels),
        cmap="RdBu_r", vmin=-15, vmax=15, interpolation="nearest",
    )  # fmt: skip
    for edge in (-half_s, half_s):
        axis.axvline(edge, color="black", linestyle="--", linewidth=0.8)
    filters = mel_filters(SAMPLE_RATE, 4096, n_mels)
    centre_hz = np.linspace(0, SAMPLE_RATE / 2, filters.shape[1])[filters.argmax(axis=1)]
    axis.set_yticks(
        [np.interp(hz, centre_hz, np.arange(n_mels)) + 0.5 for hz in TICKS_HZ],
        [f"{hz:,}" for hz in TICKS_HZ],
    )
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", default="", help="convolutions from 1, as 1,3; default: all")
    parser.add_argument("--filters", type=int, default=4, help="of each convolution")
    options = parser.parse_args()
    bundle = Models(options.models).open()
    if "audio/networks" not in bundle:
        raise SystemExit(f"{options.models}: its version has no network; train one on recordings")
    config = bundle.config
    network = unpacked(bundle.array("audio/networks"), config.network)[0]
    items = list(hear_items(Dataset.existing(options.dataset), config.audio).values())
    every = range(1, len(config.network.filters) + 1)
    layers = [int(n) for n in options.layers.split(",") if n] or list(every)
    draw(items, network, layers, options.filters).savefig(options.out, dpi=100)


if __name__ == "__main__":
    main()
