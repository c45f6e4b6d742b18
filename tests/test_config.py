"""Configuration: nothing misspelt is ever dropped in silence."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from recsys.config import Config, load_config
from recsys.errors import ConfigError


def test_defaults_survive_the_way_through_toml() -> None:
    config = Config()
    assert Config.from_dict(tomllib.loads(config.to_toml())) == config


def test_assignments_survive_the_way_through_toml() -> None:
    config = load_config(None, ["collaborative.factors=7", "evaluation.max_users=8"])
    again = Config.from_dict(tomllib.loads(config.to_toml()))
    assert again.collaborative.factors == 7
    assert again.evaluation.max_users == 8


def test_a_later_assignment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "recsys.toml"
    file.write_text("[collaborative]\nfactors = 8\nalpha = 3\n")
    config = load_config(file, ["collaborative.factors=9", "collaborative.factors=10"])
    assert config.collaborative.factors == 10
    assert config.collaborative.alpha == 3.0
    assert isinstance(config.collaborative.alpha, float)


def test_a_bare_word_is_a_string() -> None:
    assert load_config(None, ["interactions.transform=linear"]).interactions.transform == "linear"


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("colaborative.factors=3", r"unknown section \[colaborative\]; did you mean collaborative"),
        ("collaborative.factor=3", "unknown key factor; did you mean factors"),
        ("collaborative.factors=many", "factors: want int, got 'many'"),
        ("collaborative.factors=1.5", "factors: want int, got 1.5"),
        ("collaborative.bias=1", "bias: want bool, got 1"),
        ("collaborative.factors=true", "factors: want int, got True"),
        ("collaborative.solver=magic", "solver: want one of auto, cholesky, cg"),
        ("tune.space=[1.0]", "space: want str, got 1.0"),
        ("collaborative.factors=0", "collaborative.factors: want 1 or more, got 0"),
        ("collaborative.alpha=nan", "collaborative.alpha: want 0 or more, got nan"),
        ("collaborative.alpha=inf", "collaborative.alpha: want 0 or more, got inf"),
        ("collaborative.relaxation=0", "relaxation: want above 0, at most 2, got 0.0"),
        ("collaborative.regularization_exponent=inf", "exponent: want a finite number, got inf"),
        ("ensemble.diversity=1.1", "ensemble.diversity: want 0 to 1, got 1.1"),
        ("network.filters=[48, 0]", "network.filters: want 1 or more, got 0"),
        ("tune.reduction=1", "tune.reduction: want above 1, got 1.0"),
        ("factors=3", "want stage.key=value"),
        ("collaborative.factors", "want stage.key=value"),
    ],
)
def test_a_wrong_assignment_is_refused_by_name(assignment: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(None, [assignment])


def test_a_wrong_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give an existing TOML file"):
        load_config(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[collaborative\n")
    with pytest.raises(ConfigError, match="not TOML"):
        load_config(broken)
    loose = tmp_path / "loose.toml"
    loose.write_text("collaborative = 3\n")
    with pytest.raises(ConfigError, match="must be a section"):
        load_config(loose)


def test_every_stage_is_a_section() -> None:
    assert set(tomllib.loads(Config().to_toml())) == {stage.name for stage in fields(Config)}
