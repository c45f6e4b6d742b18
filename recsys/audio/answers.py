"""What trained networks say of recordings, and how they are kept.

Enters: networks, log-mel bands. Leaves: `Answers`, the mean over excerpts that cover a recording;
networks as the bytes of one safetensors file, and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

from recsys.audio.network import SoundNetwork
from recsys.config import NetworkConfig

__all__ = ["Answers", "answer", "as_tensor", "crop", "packed", "unpacked"]

_EXCERPTS_AT_ONCE = 64


@dataclass(frozen=True)
class Answers:
    """What networks say of n recordings."""

    directions: NDArray[np.float32]
    """(n, f) the mean of the unit vectors thought possible: shorter where unsure."""
    lengths: NDArray[np.float32]
    """(n,) lengths of the factors."""
    biases: NDArray[np.float32]
    """(n,)"""


def answer(
    network: SoundNetwork, bands: Sequence[NDArray[np.floating]], config: NetworkConfig
) -> Answers:
    """Let one network hear recordings: the mean over excerpts that cover each of them."""
    excerpts = [
        (row, start)
        for row, one in enumerate(bands)
        for start in _starts(len(one), config.crop_frames)
    ]
    device = next(network.parameters()).device
    directions = np.zeros((len(bands), network.direction.out_features), np.float32)
    sizes = np.zeros((len(bands), 2), np.float32)
    network.eval()
    with torch.inference_mode():
        for first in range(0, len(excerpts), _EXCERPTS_AT_ONCE):
            batch = excerpts[first : first + _EXCERPTS_AT_ONCE]
            rows = np.array([row for row, _ in batch])
            crops = [crop(bands[row], start, config.crop_frames) for row, start in batch]
            said = network(as_tensor(crops, device))
            np.add.at(directions, rows, said.direction.float().cpu().numpy())
            np.add.at(sizes, rows, said.size.float().cpu().numpy())
    counts = np.bincount([row for row, _ in excerpts], minlength=len(bands))[:, None]
    sizes = network.unscaled(torch.from_numpy(sizes / counts)).numpy()
    directions /= counts.astype(np.float32)
    return Answers(directions, np.maximum(sizes[:, 0], 0), sizes[:, 1])


def packed(networks: Sequence[SoundNetwork]) -> NDArray[np.uint8]:
    """Return networks as the bytes of one safetensors file, for a bundle."""
    tensors = {
        f"fold{number}/{name}": value.detach().contiguous()
        for number, network in enumerate(networks)
        for name, value in network.state_dict().items()
    }
    return np.frombuffer(save(tensors), np.uint8)


def unpacked(content: NDArray[np.uint8], config: NetworkConfig) -> list[SoundNetwork]:
    """Return the networks that `packed` took; `config` is that of their training."""
    tensors = load(content.tobytes())
    networks = []
    for number in range(config.folds):
        start = f"fold{number}/"
        mine = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        network = SoundNetwork(len(mine["mean"]), len(mine["direction.bias"]), config)
        network.load_state_dict(mine)
        networks.append(network.eval())
    return networks


def crop(bands: NDArray[np.floating], start: int, n_frames: int) -> NDArray[np.floating]:
    """Return (n_frames, n_mels); a recording that is too short goes round."""
    if len(bands) < n_frames:
        return bands[np.arange(n_frames) % len(bands)]
    return bands[start : start + n_frames]


def as_tensor(crops: list[NDArray[np.floating]], device: torch.device) -> Tensor:
    """Return (batch, n_mels, n_frames) float32."""
    batch = torch.from_numpy(np.stack(crops))  # (batch, n_frames, n_mels)
    return batch.to(device).float().transpose(1, 2)


def _starts(n_frames: int, crop_frames: int) -> NDArray[np.int64]:
    """Return where excerpts begin that overlap as little as covering all frames allows."""
    n_excerpts = max(1, -(-n_frames // crop_frames))
    return np.linspace(0, max(0, n_frames - crop_frames), n_excerpts).astype(np.int64)
