"""What a search found, on one HTML page that needs nothing else.

Enters: the trials. Leaves: HTML with drawings inside: parallel coordinates, the importance of each
key, learning curves, and the front of quality against work.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from recsys.cluster.searched import Searched

__all__ = ["Tried", "importances", "pareto", "report"]

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
table{border-collapse:collapse}
td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}
svg{max-width:100%;height:auto}"""


@dataclass(frozen=True)
class Tried:
    """One trial as it ended."""

    number: int
    setting: dict[str, Any]
    curve: list[float]
    """The metric after each sweep."""
    worth: list[float]
    """What that is worth, its work considered."""
    work: list[float]
    """ALS work up to each sweep."""
    seconds: float
    whole: bool
    """Whether it made all sweeps, not stopped before."""

    @property
    def best(self) -> float:
        """The metric where it is worth most."""
        return self.curve[self.at - 1]

    @property
    def at(self) -> int:
        """The sweep where that is, from 1."""
        return 1 + int(np.argmax(self.worth))


def report(tried: Sequence[Tried], space: Sequence[Searched], metric: str) -> str:
    """Return the page; `tried` best first."""
    best = tried[0]
    rows = "".join(
        f"<tr><th>{html.escape(path)}</th><td>{html.escape(_short(value))}</td></tr>"
        for path, value in best.setting.items()
    )
    weights = importances(tried, space)
    parts = [
        ("Every trial, a line through its values", lambda axes: _coordinates(axes, tried, space)),
        ("How much each key matters", lambda axes: _importance(axes, weights)),
        ("Learning curves", lambda axes: _curves(axes, tried, metric)),
        ("Quality against work", lambda axes: _front(axes, tried, metric)),
    ]
    drawn = "".join(f"<h2>{title}</h2>{_svg(draw)}" for title, draw in parts)
    stopped = sum(not one.whole for one in tried)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>recsys tune</title>'
        f"<style>{_STYLE}</style><h1>{len(tried)} trials by {html.escape(metric)}</h1>"
        f"<p>The best, its work considered, reached {best.best:.4f} after {best.at} sweeps; "
        f"{stopped} were stopped early. All trials did {sum(one.work[-1] for one in tried):.3g} "
        f"units of work (iterations x (f&sup2; rows + f non-zeros)).</p>"
        f"<table>{rows}</table>{drawn}</html>\n"
    )


def importances(tried: Sequence[Tried], space: Sequence[Searched]) -> dict[str, float]:
    """Return each key's share in the variance of the metric (fANOVA, Hutter et al. 2014).

    All zeros where the trials do not tell: fewer than four, or all alike.
    """
    paths = [one.path for one in space]
    if len(tried) < 4 or len({one.best for one in tried}) < 2:
        return dict.fromkeys(paths, 0.0)
    study = optuna.create_study(direction="maximize")
    distributions = {one.path: _distribution(one) for one in space}
    for one in tried:
        study.add_trial(
            optuna.trial.create_trial(
                params=one.setting, distributions=distributions, value=one.best
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {path: float(found.get(path, 0.0)) for path in paths}


def pareto(tried: Sequence[Tried]) -> list[Tried]:
    """Return those that nothing beats with less work, the cheapest first."""
    front: list[Tried] = []
    for one in sorted(tried, key=lambda one: (one.work[one.at - 1], -one.best)):
        if not front or one.best > front[-1].best:
            front.append(one)
    return front


def _distribution(one: Searched) -> Any:
    if one.way == "of":
        return optuna.distributions.CategoricalDistribution(one.values)
    low, high = one.values
    log = one.way == "log"
    if isinstance(low, int):
        return optuna.distributions.IntDistribution(low, high, log=log)
    return optuna.distributions.FloatDistribution(low, high, log=log)


def _svg(draw: Callable[[Any], None]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4))
    draw(figure.subplots())
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, bbox_inches="tight")
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def _coordinates(axes: Any, tried: Sequence[Tried], space: Sequence[Searched]) -> None:
    from matplotlib import colormaps

    values = np.array([one.best for one in tried])
    for one in reversed(tried):
        heights = [_height(key, one.setting[key.path]) for key in space]
        shade = float((values <= one.best).mean())
        axes.plot(
            [*heights, shade], color=colormaps["viridis"](shade), alpha=0.3 + 0.7 * shade, lw=1.5
        )
    names = [f"{key.path}\n{_short(key.values[0])} .. {_short(key.values[-1])}" for key in space]
    axes.set_xticks(range(len(space) + 1), [*names, "rank of\nthe metric"], fontsize=8)
    axes.set_yticks([])


def _height(key: Searched, value: Any) -> float:
    """Return where a value lies on its axis, 0 to 1."""
    if key.way == "of":
        return key.values.index(value) / max(len(key.values) - 1, 1)
    low, high = key.values
    if key.way == "log":
        return float(np.log(value / low) / np.log(high / low))
    return float((value - low) / (high - low))


def _importance(axes: Any, weights: dict[str, float]) -> None:
    axes.barh(list(weights), list(weights.values()))
    axes.set_xlabel("share of the variance")


def _curves(axes: Any, tried: Sequence[Tried], metric: str) -> None:
    for place, one in enumerate(reversed(tried)):
        first = place == len(tried) - 1
        axes.plot(
            range(1, len(one.curve) + 1),
            one.curve,
            color="C1" if first else "0.7",
            lw=2 if first else 1,
        )
    axes.set(xlabel="sweeps", ylabel=metric)


def _front(axes: Any, tried: Sequence[Tried], metric: str) -> None:
    axes.scatter([one.work[one.at - 1] for one in tried], [one.best for one in tried], color="0.6")
    front = pareto(tried)
    axes.plot(
        [one.work[one.at - 1] for one in front], [one.best for one in front], "o-", color="C1"
    )
    axes.set(xlabel="work of one training", ylabel=metric, xscale="log")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
