"""The state of a training on disk, and its loss curves.

Enters: a network in training. Leaves: one safetensors file per network (weights, the best weights
so far, the optimiser's moments, and as metadata where the training stands), and curves as CSV, as
TensorBoard events and as a picture. Nothing is pickled.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from recsys.errors import InputError
from recsys.storage import Folder

__all__ = ["Checkpoint", "Curves", "Epoch", "State"]


@dataclass(frozen=True)
class Epoch:
    """One pass over the recordings."""

    fold: int
    epoch: int
    """From 1."""
    training_loss: float
    validation_loss: float
    """Mean squared error of the direction."""
    validation_cosine: float
    """Mean cosine of the predicted and the true direction."""
    learning_rate: float
    seconds: float


@dataclass
class State:
    """Where a training stands."""

    epoch: int = 0
    """Passes made."""
    best_loss: float = float("inf")
    """The lowest validation loss."""
    best_epoch: int = 0
    finished: bool = False
    curve: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    """Weights and buffers at the lowest validation loss."""


class Checkpoint:
    """Keeps one training in ``<folder>/<name>.safetensors``; nothing where `folder` is None."""

    def __init__(self, folder: Folder | None, name: str) -> None:
        self._folder = folder
        self._file = f"{name}.safetensors"

    def save(self, state: State, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Replace what was kept, atomically."""
        if self._folder is None:
            return
        tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in state.best.items()}
        for place, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{place}/{name}": value for name, value in moments.items()}
        told = asdict(state) | {"best": None}
        told["best_loss"] = state.best_loss if state.best else None
        content = save(
            {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
            {"state": json.dumps(told)},
        )
        self._folder.write(self._file, content)

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> State:
        """Put `network` and `optimizer` where they were and return where that is."""
        if self._folder is None or not self._folder.exists(self._file):
            return State()
        content = self._folder.read(self._file)
        try:
            tensors = load(content)
            told = json.loads(_metadata(content)["state"])
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                kind, _, rest = name.partition("/")
                if kind == "optimizer":
                    place, _, moment = rest.partition("/")
                    moments.setdefault(int(place), {})[moment] = value
            network.load_state_dict(_under("network", tensors))
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments, "param_groups": groups})
            return State(
                epoch=told["epoch"],
                best_loss=float("inf") if told["best_loss"] is None else told["best_loss"],
                best_epoch=told["best_epoch"],
                finished=told["finished"],
                curve=[Epoch(**one) for one in told["curve"]],
                best=_under("best", tensors),
            )
        except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise InputError(
                f"{self._folder.path}/{self._file}: not a state of this training ({error}); "
                f"delete it to begin anew"
            ) from error


class Curves:
    """Writes the passes of all networks of a training into `folder`; nothing where it is None."""

    def __init__(self, folder: Folder | None) -> None:
        self._folder = folder

    def write(self, epochs: list[Epoch]) -> None:
        """Write ``curves.csv``, ``curves.png`` and, on a local disk, ``tensorboard/``."""
        if self._folder is None or not epochs:
            return
        rows = [asdict(one) for one in epochs]
        lines = [",".join(rows[0]), *(",".join(f"{v:g}" for v in row.values()) for row in rows)]
        self._folder.write("curves.csv", ("\n".join(lines) + "\n").encode())
        self._folder.write("curves.png", _picture(epochs))
        if self._folder.is_local:
            _to_tensorboard(self._folder.locate("tensorboard"), epochs)


def _to_tensorboard(place: str, epochs: list[Epoch]) -> None:
    from tensorboardX import SummaryWriter

    with SummaryWriter(place) as writer:
        for one in epochs:
            for name, value in asdict(one).items():
                if name not in ("fold", "epoch"):
                    writer.add_scalar(f"fold{one.fold}/{name}", value, one.epoch)


def _picture(epochs: list[Epoch]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for fold in sorted({one.fold for one in epochs}):
        mine = [one for one in epochs if one.fold == fold]
        passes = [one.epoch for one in mine]
        (line,) = axes.plot(passes, [one.validation_loss for one in mine], label=f"fold {fold}")
        axes.plot(passes, [one.training_loss for one in mine], "--", color=line.get_color())
    axes.set(xlabel="pass over the recordings", ylabel="loss", title="validation; dashed: training")
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def _under(kind: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{kind}/"
    return {name.removeprefix(start): v for name, v in tensors.items() if name.startswith(start)}


def _metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file: a length, then a JSON header."""
    length = int.from_bytes(content[:8], "little")
    found = json.loads(content[8 : 8 + length])["__metadata__"]
    return dict(found)
