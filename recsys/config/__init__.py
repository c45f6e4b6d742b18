"""What can be set, and its default: one frozen dataclass per stage of the pipeline.

A TOML file has one section per stage (``[collaborative]``, ``[ensemble]``, ...). ``--set
stage.key=value`` overrides single keys. Unknown keys fail and name the nearest known one, so a
misspelt option can never be dropped in silence.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from recsys.config.ranges import Range
from recsys.config.stages import (
    AudioConfig,
    CollaborativeConfig,
    CrawlConfig,
    EnsembleConfig,
    EvaluationConfig,
    InteractionsConfig,
    NetworkConfig,
    SegmentsConfig,
    ServingConfig,
    SlicesConfig,
    TextConfig,
    TuneConfig,
    WeeklyConfig,
)
from recsys.errors import ConfigError, nearest

__all__ = [
    "AudioConfig",
    "CollaborativeConfig",
    "Config",
    "CrawlConfig",
    "EnsembleConfig",
    "EvaluationConfig",
    "InteractionsConfig",
    "NetworkConfig",
    "SegmentsConfig",
    "ServingConfig",
    "SlicesConfig",
    "TextConfig",
    "TuneConfig",
    "WeeklyConfig",
    "check_stage",
    "load_config",
]

_FINITE = Range()


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every stage, in the order in which data meets it."""

    interactions: InteractionsConfig = field(default_factory=InteractionsConfig)
    collaborative: CollaborativeConfig = field(default_factory=CollaborativeConfig)
    crawl: CrawlConfig = field(default_factory=CrawlConfig)
    text: TextConfig = field(default_factory=TextConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    weekly: WeeklyConfig = field(default_factory=WeeklyConfig)
    segments: SegmentsConfig = field(default_factory=SegmentsConfig)
    slices: SlicesConfig = field(default_factory=SlicesConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    serving: ServingConfig = field(default_factory=ServingConfig)

    @classmethod
    def from_dict(cls, sections: Mapping[str, Any], *, source: str = "configuration") -> Config:
        """Build a configuration from nested mappings, as read from TOML or JSON.

        Raises
        ------
        ConfigError
            For an unknown section or key (the nearest is named), and for a value of another type or
            out of range.
        """
        stages = {stage.name: stage.default_factory for stage in fields(cls)}
        made: dict[str, Any] = {}
        for name, section in sections.items():
            if name not in stages:
                raise ConfigError(_unknown(source, "section", f"[{name}]", name, stages))
            if not isinstance(section, Mapping):
                raise ConfigError(f"{source}: {name} must be a section [{name}], got {section!r}")
            made[name] = _stage(stages[name](), section, f"{source}: ", name)  # type: ignore[operator]
        return cls(**made)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return nested plain dictionaries, ready for JSON; `from_dict` takes them back."""
        return asdict(self)

    def to_toml(self) -> str:
        """Return TOML text with every key; `load_config` takes it back."""
        return "\n".join(
            f"[{stage}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in section.items())
            for stage, section in self.to_dict().items()
        )

    def override(self, assignments: Sequence[str]) -> Config:
        """Return a copy with ``stage.key=value`` assignments applied, in order.

        A value is TOML (``true``, ``0.1``, ``[16, 32]``); a bare word is taken as a string.
        """
        sections = self.to_dict()
        for assignment in assignments:
            path, separator, text = assignment.partition("=")
            stage, dot, key = path.strip().partition(".")
            if not separator or not dot:
                raise ConfigError(f"--set {assignment!r}: want stage.key=value")
            if stage not in sections:
                raise ConfigError(_unknown("--set", "section", f"[{stage}]", stage, sections))
            try:
                value = tomllib.loads(f"value = {text}")["value"]
            except tomllib.TOMLDecodeError:
                value = text.strip()
            checked = _stage(getattr(self, stage), {key: value}, "--set: ", stage)
            sections[stage][key] = getattr(checked, key)
        return Config.from_dict(sections, source="--set")


def load_config(path: str | Path | None = None, assignments: Sequence[str] = ()) -> Config:
    """Read a TOML file (or take the defaults) and apply ``stage.key=value`` assignments."""
    config = Config()
    if path is not None:
        try:
            sections = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; give an existing TOML file") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from error
        config = Config.from_dict(sections, source=str(path))
    return config.override(assignments)


def check_stage(stage: Any, name: str) -> None:
    """Raise ConfigError for a value of a stage that was made without `Config.from_dict`."""
    _stage(stage, vars(stage), "", name)


def _stage(stage: Any, section: Mapping[str, Any], source: str, name: str) -> Any:
    types = get_type_hints(type(stage), include_extras=True)
    values: dict[str, Any] = {}
    for key, value in section.items():
        if key not in types:
            raise ConfigError(_unknown(f"{source}[{name}]", "key", key, key, types))
        values[key] = _coerce(value, types[key], f"{source}{name}.{key}")
    return replace(stage, **values)


def _coerce(value: Any, wanted: Any, where: str, within: Range = _FINITE) -> Any:
    if get_origin(wanted) is Annotated:
        plain, within = get_args(wanted)
        return _coerce(value, plain, where, within)
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise ConfigError(f"{where}: want one of {', '.join(get_args(wanted))}, got {value!r}")
        return value
    if get_origin(wanted) is tuple:
        types = get_args(wanted)
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: want a list, got {value!r}")
        if types[-1] is Ellipsis:
            types = (types[0],) * len(value)
        if len(types) != len(value):
            raise ConfigError(f"{where}: want {len(types)} values, got {len(value)}")
        return tuple(_coerce(v, t, where) for v, t in zip(value, types, strict=True))
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        raise ConfigError(f"{where}: want {wanted.__name__}, got {value!r}")
    if wanted in (int, float) and value not in within:
        raise ConfigError(f"{where}: want {within}, got {value!r}")
    return value


def _unknown(where: str, what: str, shown: str, name: str, known: Mapping[str, Any]) -> str:
    close = nearest(name, known)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
    return f"{where}: unknown {what} {shown}; {hint}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)
