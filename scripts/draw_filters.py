"""Draw what excites the filters of a trained network: the figure of docs/audio.md.

    python scripts/draw_filters.py DATASET MODELS OUT.png [--layer 2] [--filters 8]

For some filters of one convolution, those that tell recordings apart most, the mean of the
excerpts (mel bands over time) that excite it most, and the tempo, key and metre that the
descriptors hear there. After Dieleman, Recommending music on Spotify with deep learning (2014).
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from recsys.audio.descriptors import FRAME_S
from recsys.audio.listening import Heard, hear_items
from recsys.audio.network import SoundNetwork
from recsys.audio.training import unpacked
from recsys.bundle import Models
from recsys.config import Config
from recsys.data.dataset import Dataset

EXCERPTS = 24
"""Excerpts behind each picture, at most one of a recording."""
CONTEXT = 24
"""Frames shown on both sides of the place of excitement."""


def excitement(
    network: SoundNetwork, bands: list[np.ndarray], layer: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much each recording excites each filter of a layer at most, and in which frame."""
    blocks = [n for n, part in enumerate(network.convolutions) if isinstance(part, torch.nn.ReLU)]
    until = blocks[layer - 1] + 1
    peaks, frames = [], []
    with torch.inference_mode():
        for one in bands:
            heard = torch.from_numpy(one.astype(np.float32)).T[None]
            values = network.convolutions[:until]((heard - network.mean) / network.spread)[0]
            peak, place = values.max(dim=1)  # (filters,)
            peaks.append(peak.numpy())
            frames.append((place * (len(one) / values.shape[1])).long().numpy())
    return np.array(peaks), np.array(frames)


def about(heard: list[Heard]) -> str:
    """Say what most of some recordings have in common."""
    told = [one.descriptors for one in heard]
    tempi = [one["tempo_bpm"] for one in told if one["tempo_bpm"]]
    parts = [f"{np.percentile(tempi, 25):.0f} to {np.percentile(tempi, 75):.0f} BPM"]
    for name in ("mode", "time_signature"):
        value, n = Counter(one[name] for one in told).most_common(1)[0]
        parts.append(f"{value} {n / len(told):.0%}")
    return ", ".join(parts)


def draw(items: list[Heard], network: SoundNetwork, layer: int, n_filters: int) -> Figure:
    """Return the figure."""
    bands = [one.bands for one in items]
    peaks, frames = excitement(network, bands, layer)
    telling = peaks.std(axis=0) / (peaks.mean(axis=0) + 1e-6)
    chosen = np.argsort(-telling * (peaks.mean(axis=0) > 0.05))[:n_filters]
    figure = Figure(figsize=(12, 2.6 * -(-len(chosen) // 4)), layout="constrained")
    axes: Any = figure.subplots(-(-len(chosen) // 4), 4, squeeze=False)
    usual = np.mean([one.astype(np.float32).mean(axis=0) for one in bands], axis=0)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, number in zip(axes.flat, chosen.tolist(), strict=False):
        best = np.argsort(-peaks[:, number])[:EXCERPTS]
        cuts = []
        for row in best.tolist():
            padded = np.pad(bands[row].astype(np.float32), ((CONTEXT, CONTEXT), (0, 0)), "edge")
            start = int(frames[row, number])
            cuts.append(padded[start : start + 2 * CONTEXT] - usual)
        seconds = CONTEXT * FRAME_S
        extent = (-seconds, seconds, 0, len(usual))
        axis.imshow(np.mean(cuts, axis=0).T, origin="lower", aspect="auto", extent=extent)
        axis.set_axis_on()
        axis.set_title(
            f"filter {number}: {about([items[row] for row in best.tolist()])}", fontsize=8
        )
        axis.set(xlabel="seconds", ylabel="mel band")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layer", type=int, default=2, help="convolution, from 1")
    parser.add_argument("--filters", type=int, default=8)
    options = parser.parse_args()
    bundle = Models(options.models).open()
    config = Config.from_dict(bundle.facts["config"])
    network = unpacked(bundle.array("audio/networks"), config.network)[0]
    items = list(hear_items(Dataset.existing(options.dataset), config.audio).values())
    draw(items, network, options.layer, options.filters).savefig(options.out, dpi=100)


if __name__ == "__main__":
    main()
