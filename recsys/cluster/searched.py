"""The space of a search, as ``[tune] space`` writes it.

Enters: lines such as ``collaborative.alpha log 0.3 100``. Leaves: `Searched` keys with their
domains, checked against the stages of the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ray import tune as ray_tune

from recsys.config import Config
from recsys.errors import ConfigError, nearest

__all__ = ["Searched", "read_space"]

_STAGES = ("interactions", "collaborative", "ensemble")
_WAYS = ("log", "even", "of")


@dataclass(frozen=True)
class Searched:
    """One key that is searched."""

    path: str
    """``stage.key``."""
    way: str
    """``log`` or ``even`` over a range, ``of`` some values."""
    values: tuple[Any, ...]
    """The range's ends, or the values."""

    @property
    def domain(self) -> Any:
        """What Ray Tune samples from."""
        if self.way == "of":
            return ray_tune.choice(list(self.values))
        whole = all(isinstance(value, int) for value in self.values)
        low, high = self.values
        if self.way == "log":
            return ray_tune.lograndint(low, high + 1) if whole else ray_tune.loguniform(low, high)
        return ray_tune.randint(low, high + 1) if whole else ray_tune.uniform(low, high)

    def given(self, config: Config) -> Any:
        """Return the key's value in `config`."""
        stage, _, key = self.path.partition(".")
        return getattr(getattr(config, stage), key)

    def nearest(self, value: Any) -> Any:
        """Return `value` where the search may try it, else what comes nearest."""
        if self.way != "of":
            low, high = self.values
            return min(max(value, low), high)
        if value in self.values:
            return value
        if any(isinstance(one, bool | str | tuple) for one in self.values):
            return self.values[0]
        return min(self.values, key=lambda one: abs(one - value))


def read_space(config: Config) -> list[Searched]:
    """Return what ``[tune] space`` of `config` names.

    Raises
    ------
    ConfigError
        For a line that is not understood, an unknown key, a value that the key cannot have, and an
        empty range; the line is named.
    """
    space = [_read(line, config) for line in config.tune.space]
    paths = [one.path for one in space]
    if not space or len(set(paths)) < len(paths):
        raise ConfigError(f"[tune] space: want different keys, at least one, got {paths}")
    return space


def _read(line: str, config: Config) -> Searched:
    where = f"[tune] space: {line!r}"
    path, *words = line.split() or [""]
    stage, _, key = path.partition(".")
    if stage not in _STAGES:
        raise ConfigError(f"{where}: want a key of {', '.join(_STAGES)}, got {path!r}")
    known = [field.name for field in fields(getattr(config, stage))]
    if key not in known:
        close = nearest(key, known)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        raise ConfigError(f"{where}: unknown key {key!r}; {hint}")
    if len(words) < 2 or words[0] not in _WAYS or (words[0] != "of" and len(words) != 3):
        raise ConfigError(
            f"{where}: want `{path} log LOW HIGH`, `{path} even LOW HIGH` or `{path} of VALUE ...`"
        )
    way = words[0]
    values = tuple(
        getattr(getattr(config.override([f"{path}={word}"]), stage), key) for word in words[1:]
    )
    if way != "of":
        if any(isinstance(value, bool | str | tuple) for value in values):
            raise ConfigError(f"{where}: {key} has no range; write `{path} of VALUE ...`")
        if not values[0] < values[1] or (way == "log" and values[0] <= 0):
            raise ConfigError(f"{where}: want LOW < HIGH, above 0 on a log scale")
    return Searched(path, way, values)
