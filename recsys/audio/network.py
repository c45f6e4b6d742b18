"""The network that hears where a recording lies among those that are played together.

Enters: log-mel bands (batch, n_mels, n_frames). Leaves: the item's direction in the collaborative
space, its length and bias there, and an understanding of the song (key, mode, tempo class, metre).

    bands -> [convolution over time, ReLU, max-pool] x n -> mean, max, L2 over all time
          -> [dense, ReLU, dropout] x m -> heads

After van den Oord, Dieleman, Schrauwen, Deep content-based music recommendation (2013), and
Dieleman, Recommending music on Spotify with deep learning (2014). What is *served* as key, tempo
and metre comes from the descriptors; those heads teach the network what to listen for.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recsys.audio.rhythm import METRES
from recsys.audio.tonality import PITCH_CLASSES
from recsys.config import NetworkConfig

__all__ = ["AUXILIARY", "TEMPO_CLASSES_BPM", "Prediction", "SoundNetwork"]

TEMPO_CLASSES_BPM = (70.0, 80.0, 90.0, 100.0, 112.0, 126.0, 142.0, 160.0)
"""Where one class of tempo ends and the next begins."""
AUXILIARY = {
    "key": len(PITCH_CLASSES),
    "mode": 2,
    "tempo": len(TEMPO_CLASSES_BPM) + 1,
    "time_signature": len(METRES),
}
"""Number of classes of each auxiliary head."""
_LEAST_SPREAD_DB, _LEAST_SPREAD = 1.0, 1e-6


class Prediction(NamedTuple):
    """What the network says of a batch of recordings."""

    direction: Tensor
    """(batch, f) the mean of the unit vectors that it thinks possible: shorter where unsure."""
    size: Tensor
    """(batch, 2) length and bias of the item's factors, standardised over the catalogue."""
    auxiliary: dict[str, Tensor]
    """(batch, classes) log-odds, by the names of `AUXILIARY`."""


class SoundNetwork(nn.Module):
    """Log-mel bands -> `Prediction`; any number of frames from `least_frames` up.

    Parameters
    ----------
    n_mels
        Bands of the input.
    n_factors
        Length f of the collaborative vectors.
    config
        Filters, pooling and dense layers.
    """

    mean: Tensor
    spread: Tensor
    size_mean: Tensor
    size_spread: Tensor

    def __init__(self, n_mels: int, n_factors: int, config: NetworkConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_mels, 1))
        self.register_buffer("spread", torch.ones(n_mels, 1))
        self.register_buffer("size_mean", torch.zeros(2))
        self.register_buffer("size_spread", torch.ones(2))
        layers: list[nn.Module] = []
        width = n_mels
        for n_filters, pool in zip(config.filters, config.pools, strict=True):
            layers += [
                nn.Conv1d(width, n_filters, config.filter_frames, bias=False),
                nn.BatchNorm1d(n_filters),
                nn.ReLU(),
            ]
            layers += [nn.MaxPool1d(pool)] if pool > 1 else []
            width = n_filters
        self.convolutions = nn.Sequential(*layers)
        layers, width = [], 3 * width
        for n_units in config.dense:
            layers += [nn.Linear(width, n_units), nn.ReLU(), Dropout(config.dropout)]
            width = n_units
        self.dense = nn.Sequential(Dropout(config.dropout), *layers)
        self.direction = nn.Linear(width, n_factors)
        self.size = nn.Linear(width, 2)
        self.auxiliary = nn.ModuleDict({n: nn.Linear(width, c) for n, c in AUXILIARY.items()})

    def draw_from(self, generator: torch.Generator) -> None:
        """Let dropout draw from `generator`, so that networks may be trained beside each other."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.generator = generator

    @staticmethod
    def least_frames(config: NetworkConfig) -> int:
        """Return the fewest frames that leave one after the last convolution."""
        frames = 1
        for pool in reversed(config.pools):
            frames = frames * pool + config.filter_frames - 1
        return frames

    def begin_at(self, direction: Tensor) -> None:
        """Say at first nearly the same of all recordings: (f,) the mean direction."""
        with torch.no_grad():
            self.direction.weight.mul_(0.1)
            self.direction.bias.copy_(direction)

    def standardise_by(
        self, mean_db: Tensor, spread_db: Tensor, size_mean: Tensor, size_spread: Tensor
    ) -> None:
        """Take mean and standard deviation of the training's bands, (n_mels,), and sizes, (2,)."""
        self.mean = mean_db[:, None]
        self.spread = spread_db[:, None].clamp(min=_LEAST_SPREAD_DB)
        self.size_mean = size_mean
        self.size_spread = size_spread.clamp(min=_LEAST_SPREAD)

    def standardised(self, size: Tensor) -> Tensor:
        """Return (n, 2) lengths and biases as the head for them gives them."""
        return (size - self.size_mean) / self.size_spread

    def unscaled(self, size: Tensor) -> Tensor:
        """Undo `standardised`."""
        return size * self.size_spread + self.size_mean

    def forward(self, bands_db: Tensor) -> Prediction:
        """Hear (batch, n_mels, n_frames) decibels."""
        heard = self.convolutions((bands_db - self.mean) / self.spread)  # (batch, filters, frames)
        energy = heard.square().mean(dim=2)
        pooled = torch.cat([heard.mean(dim=2), heard.amax(dim=2), (energy + 1e-8).sqrt()], dim=1)
        known = self.dense(pooled)
        return Prediction(
            self.direction(known),
            self.size(known),
            {name: head(known) for name, head in self.auxiliary.items()},
        )


class Dropout(nn.Module):
    """`torch.nn.Dropout`, but from a generator of its own."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.generator: torch.Generator | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Silence a share of `values` and raise the others, in training only."""
        if not self.training or not self.share:
            return values
        random = torch.rand(values.shape, generator=self.generator, device=values.device)
        return values * (random >= self.share) / (1 - self.share)
