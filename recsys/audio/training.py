"""Recordings and collaborative vectors -> networks, and what they say of every item.

Enters: log-mel bands of items, and the factors of those that were played. Leaves: `Learned`. The
artists are cut into folds; one network is trained for each fold on the other artists and answers
for its own, so that no played item is described by a network that has met its factors, or another
item of its artist. Items that nobody played have no factors to meet: they get the mean of all
networks. Some of a network's artists are kept back and decide when its training stops.

A training keeps its state in a folder and goes on from there after a kill; the loss curves lie
beside it (checkpoints.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from recsys import progress
from recsys.audio.answers import Answers, answer, as_tensor, crop
from recsys.audio.checkpoints import Checkpoint, Curves, Epoch, State
from recsys.audio.described import ItemDescriptors
from recsys.audio.network import TEMPO_CLASSES_BPM, SoundNetwork
from recsys.config import NetworkConfig, check_stage
from recsys.errors import ConfigError
from recsys.storage import Folder

__all__ = ["Learned", "Targets", "classes_of", "learn"]

_SIZE_WEIGHT = 0.05
_WARM_UP = 0.3
"""Share of the steps after which the learning rate is at its largest."""
_STANDARDISED_BY = 2000
"""Recordings whose bands tell mean and spread."""


@dataclass(frozen=True)
class Targets:
    """What is known of n recordings besides their sound."""

    factors: NDArray[np.float32]
    """(n, f) collaborative vectors; a zero row where nobody played the item."""
    biases: NDArray[np.float32]
    """(n,) collaborative biases."""
    weights: NDArray[np.float32]
    """(n,) how much each item counts."""
    artist: NDArray[np.int32]
    """(n,) artist row; -1: unknown, an artist of its own."""
    classes: dict[str, NDArray[np.int64]]
    """(n,) class for each of `AUXILIARY`, -1 where unknown."""
    curvature: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None
    """Rows (m,) -> (m, f, f): how the error of the predicted plays bends in the item's factors;
    for ``loss = "weighted"``."""


@dataclass(frozen=True)
class Learned:
    """Trained networks, and their answers."""

    answers: Answers
    """Of every recording; of one that was played, by a network that never met its artist."""
    networks: list[SoundNetwork]
    """One per fold, on the CPU."""


def learn(
    bands: Sequence[NDArray[np.floating]],
    targets: Targets,
    config: NetworkConfig,
    folder: Folder | None = None,
) -> Learned | None:
    """Train one network per fold; None where fewer than two artists a fold were played.

    Parameters
    ----------
    bands
        n arrays (n_frames, n_mels) in dB; read piece by piece, so they may be memory-mapped.
    targets
        Of the same n recordings.
    folder
        Where states and curves are kept; None keeps none.

    Raises
    ------
    ConfigError
        For a shape that leaves nothing of the crop, and for a device that is not there.
    InputError
        For a state in `folder` of another network.
    """
    device = _checked(config)
    played = np.flatnonzero(np.any(targets.factors, axis=1))
    lonely = targets.artist < 0
    group = np.where(lonely, -1 - np.arange(len(lonely)), targets.artist)
    if len(np.unique(group[played])) < 2 * config.folds:
        return None
    fold = _shares(group, config.folds, config.seed)
    trainings = []
    for number in range(config.folds):
        others = played[fold[played] != number]
        network = _initial(bands, targets, others, config)
        kept_back = _shares(group[others], round(1 / config.validation), config.seed + 1) == 0
        trainings.append(
            _Training(
                number=number,
                network=network.to(device),
                rows=others[~kept_back],
                validation=others[kept_back],
                bands=bands,
                targets=targets,
                config=config,
                checkpoint=Checkpoint(folder, f"fold{number}"),
                device=device,
            )
        )
    threads = torch.get_num_threads()
    # A small network gains more from a core of its own than from a share of every core.
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(1 if device.type == "cuda" else os.cpu_count()) as workers:
            curves = list(progress.track(workers.map(_run, trainings), "network", config.folds))
            networks = [one.network.to("cpu").eval() for one in trainings]
            said = list(workers.map(partial(answer, bands=bands, config=config), networks))
    finally:
        torch.set_num_threads(threads)
    Curves(folder).write([epoch for curve in curves for epoch in curve])
    met = np.zeros(len(bands), bool)
    met[played] = True

    def chosen(name: str) -> NDArray[np.float32]:
        each = np.stack([getattr(one, name) for one in said])  # (folds, n, ...)
        values = each.mean(axis=0)
        values[met] = each[fold[met], np.flatnonzero(met)]
        return np.asarray(values, np.float32)

    answers = Answers(chosen("directions"), chosen("lengths"), chosen("biases"))
    return Learned(answers, networks)


def classes_of(
    descriptors: ItemDescriptors, rows: NDArray[np.integer]
) -> dict[str, NDArray[np.int64]]:
    """Return the classes of the auxiliary heads, (n,) each, for item rows (n,)."""
    tempo_bpm = descriptors.tempo_bpm[rows]
    classes = {
        "key": descriptors.key[rows],
        "mode": descriptors.mode[rows],
        "tempo": np.where(
            np.isnan(tempo_bpm), -1, np.digitize(np.nan_to_num(tempo_bpm), TEMPO_CLASSES_BPM)
        ),
        "time_signature": descriptors.time_signature[rows],
    }
    return {name: values.astype(np.int64) for name, values in classes.items()}


@dataclass
class _Training:
    """One network on its way."""

    number: int
    network: SoundNetwork
    rows: NDArray[np.int64]
    validation: NDArray[np.int64]
    bands: Sequence[NDArray[np.floating]]
    targets: Targets
    config: NetworkConfig
    checkpoint: Checkpoint
    device: torch.device


def _run(training: _Training) -> list[Epoch]:
    """Train a network from where its checkpoint stands, and leave it at its best."""
    config, network = training.config, training.network
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    state = training.checkpoint.restore(network, optimizer)
    while not state.finished:
        _pass(training, optimizer, state)
        state.finished = (
            state.epoch == config.epochs or state.epoch - state.best_epoch >= config.patience
        )
        training.checkpoint.save(state, network, optimizer)
    network.load_state_dict(state.best)
    return state.curve


def _pass(training: _Training, optimizer: torch.optim.Optimizer, state: State) -> None:
    """Go once through the recordings, and note how well the network then does."""
    config, network = training.config, training.network
    began = time.perf_counter()
    # What is drawn depends on the pass alone, so that a resumed training draws the same.
    seeds = [config.seed, training.number, state.epoch]
    random = np.random.default_rng(seeds)
    generator = torch.Generator(training.device)
    generator.manual_seed(int(random.integers(2**62)))
    network.draw_from(generator)
    order = random.permutation(training.rows)
    n_steps = max(1, len(order) // config.batch_size)
    total, rate = 0.0, 0.0
    network.train()
    for step in range(n_steps):
        rows = order[step::n_steps]
        rate = _learning_rate(config, (state.epoch + (step + 1) / n_steps) / config.epochs)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _loss(training, rows, random)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        total += loss.item()
    state.epoch += 1
    loss_then, cosine = _validate(training)
    if loss_then < state.best_loss:
        state.best_loss, state.best_epoch = loss_then, state.epoch
        state.best = {name: value.clone() for name, value in network.state_dict().items()}
    seconds = time.perf_counter() - began
    mean = total / n_steps
    state.curve.append(Epoch(training.number, state.epoch, mean, loss_then, cosine, rate, seconds))


def _loss(training: _Training, rows: NDArray[np.int64], random: np.random.Generator) -> Tensor:
    """Return what one step lowers: the error of directions, and a little of all the rest."""
    targets, config, device = training.targets, training.config, training.device
    crops = []
    for row in rows.tolist():
        last = max(0, len(training.bands[row]) - config.crop_frames)
        start = int(random.integers(last + 1))
        crops.append(crop(training.bands[row], start, config.crop_frames))
    on_gpu = device.type == "cuda"
    with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
        said = training.network(as_tensor(crops, device))
    factors = torch.from_numpy(targets.factors[rows]).to(device)
    error = said.direction.float() - functional.normalize(factors)
    if config.loss == "weighted" and targets.curvature is not None:
        bent = torch.from_numpy(targets.curvature(rows)).to(device)
        trace = bent.diagonal(dim1=1, dim2=2).sum(dim=1)
        squared = torch.einsum("nf,nfg,ng->n", error, bent, error) * error.shape[1] / trace
    else:
        squared = error.square().sum(dim=1)
    weights = torch.from_numpy(targets.weights[rows]).to(device)
    loss = (weights * squared).sum() / weights.sum()
    size = torch.stack([factors.norm(dim=1), torch.from_numpy(targets.biases[rows]).to(device)], 1)
    missed = said.size.float() - training.network.standardised(size)
    loss = loss + _SIZE_WEIGHT * missed.square().mean()
    for name, odds in said.auxiliary.items():
        classes = torch.from_numpy(targets.classes[name][rows]).to(device)
        known = classes >= 0
        if known.any():
            miss = functional.cross_entropy(odds.float()[known], classes[known])
            loss = loss + config.auxiliary * miss
    assert isinstance(loss, Tensor)
    return loss


def _validate(training: _Training) -> tuple[float, float]:
    """Return mean squared error and mean cosine of the directions of the artists kept back."""
    rows = training.validation
    heard = [training.bands[row] for row in rows]
    said = answer(training.network, heard, training.config).directions
    factors = training.targets.factors[rows]
    unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    squared = ((said - unit) ** 2).sum(axis=1)
    cosine = (said * unit).sum(axis=1) / np.maximum(np.linalg.norm(said, axis=1), 1e-9)
    weights = training.targets.weights[rows]
    return (
        float(np.average(squared, weights=weights)),
        float(np.average(cosine, weights=weights)),
    )


def _learning_rate(config: NetworkConfig, done: float) -> float:
    """Return the rate after a share of all steps: up in a line, then down in half a cosine."""
    if done < _WARM_UP:
        return config.learning_rate * done / _WARM_UP
    falling = (done - _WARM_UP) / (1 - _WARM_UP)
    return float(config.learning_rate * 0.5 * (1 + np.cos(np.pi * min(falling, 1.0))))


def _initial(
    bands: Sequence[NDArray[np.floating]],
    targets: Targets,
    rows: NDArray[np.int64],
    config: NetworkConfig,
) -> SoundNetwork:
    """Return a network that has learned nothing but the scale of what it will meet in `rows`."""
    drawn = np.random.default_rng(config.seed).permutation(rows)[:_STANDARDISED_BY]
    frames = np.concatenate([bands[row][::4] for row in drawn]).astype(np.float32)
    mean, spread = torch.from_numpy(frames.mean(axis=0)), torch.from_numpy(frames.std(axis=0))
    factors = targets.factors[rows]
    lengths = np.linalg.norm(factors, axis=1)
    sizes = torch.from_numpy(np.stack([lengths, targets.biases[rows]], axis=1))  # (n, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = SoundNetwork(frames.shape[1], factors.shape[1], config)
    network.begin_at(torch.from_numpy((factors / lengths[:, None]).mean(axis=0)))
    network.standardise_by(mean, spread, sizes.mean(dim=0), sizes.std(dim=0))
    return network


def _checked(config: NetworkConfig) -> torch.device:
    """Return the device to train on; ConfigError for what cannot be trained."""
    check_stage(config, "network")
    if len(config.filters) != len(config.pools) or not config.filters:
        raise ConfigError(
            f"network.filters and network.pools: want one of each per convolution, "
            f"got {len(config.filters)} and {len(config.pools)}"
        )
    least = SoundNetwork.least_frames(config)
    if config.crop_frames < least:
        raise ConfigError(
            f"network.crop_frames: want at least {least} for these filters and pools, "
            f"got {config.crop_frames}"
        )
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise ConfigError("network.device: cuda, but no GPU is there; set auto or cpu")
    return torch.device("cuda" if there and config.device != "cpu" else "cpu")


def _shares(group: NDArray[np.integer], n: int, seed: int) -> NDArray[np.int64]:
    """Return (len(group),) numbers 0 to n - 1, the same within a group, drawn by `seed`."""
    _, place = np.unique(group, return_inverse=True)
    order = np.random.default_rng(seed).permutation(place.max(initial=-1) + 1)
    return np.asarray(order[place] % n, np.int64)
