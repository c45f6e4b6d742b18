"""May a new recipe serve? Only if it does not lose to the one that does.

Enters: a dataset and two configurations. Leaves: a `Verdict`. Both recipes are trained on the same
events before one cut-off and measured on the same listeners after it, so that neither knows more.
The new one passes where its NDCG@30, as served, is not below the other's by more than
``evaluation.margin``, a share of the other's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.bundle import Models
from recsys.config import Config
from recsys.errors import InputError, RecsysError
from recsys.evaluation.compare import Difference, paired_bootstrap
from recsys.evaluation.metrics import ranking_metrics
from recsys.evaluation.protocol import KS, Trial, measure
from recsys.pipeline import IDLE_KEYS, MODEL_NAMES, Content
from recsys.progress import note

__all__ = ["Verdict", "challenge", "judge"]

_METRIC = "ndcg@30"
_RECIPE = ("interactions", "collaborative", "text", "audio", "network", "ensemble")
"""The stages that make a version what it is."""


@dataclass(frozen=True)
class Verdict:
    """What came of the comparison."""

    passed: bool
    new: float
    """NDCG@30 of the new recipe."""
    old: float
    """NDCG@30 of the one that serves."""
    margin: float
    """How much of the old figure the new one may lose."""
    difference: Difference
    """New minus old, with its interval."""

    def sentence(self) -> str:
        """Return the verdict in words."""
        word = "passes" if self.passed else "does not pass"
        return (
            f"the new recipe {word}: NDCG@30 {self.new:.4f} against {self.old:.4f} "
            f"({self.difference.low:+.4f} to {self.difference.high:+.4f}); "
            f"it may lose {self.margin:.0%}"
        )


def challenge(content: Content, models: Models) -> Verdict | None:
    """Judge what `content` is made by against what serves in `models`.

    None where there is nothing to judge: nothing serves, or only a part of the models; the recipe
    is the same; or nobody loved anything new in the test slice, which is said.
    """
    if not models.versions():
        return None
    try:
        bundle = models.open()
        old = bundle.config
    except RecsysError as error:
        note(f"not judged: {error}")
        return None
    if "not asked for" in bundle.facts["left_out"].values():
        return None
    if set(content.only) < set(MODEL_NAMES) or _recipe(content.config) == _recipe(old):
        return None
    try:
        return judge(content, old)
    except InputError as error:
        note(f"not judged against {bundle.version}: {error}")
        return None


def _recipe(config: Config) -> dict[str, dict[str, object]]:
    stages = config.to_dict()
    for key in IDLE_KEYS:
        del stages["collaborative"][key]
    return {name: stages[name] for name in _RECIPE}


def judge(content: Content, old: Config) -> Verdict:
    """Compare the recipe of `content` with another, on its source.

    Slices, listeners and what counts as love are the new one's.

    Raises
    ------
    InputError
        Where nobody loved anything new in the test slice.
    """
    source, new, backend = content.source, content.config, content.backend
    shared = {"interactions": new.interactions, "slices": new.slices, "evaluation": new.evaluation}
    rival = Config.from_dict(
        old.to_dict() | {name: vars(stage) for name, stage in shared.items()}, source="old recipe"
    )
    rivals = Content(source, rival, backend=backend)
    figures = [_served(measure(one, one.config, backend)) for one in (content, rivals)]
    ours, theirs = (float(np.nanmean(one)) for one in figures)
    margin = new.evaluation.margin
    return Verdict(
        passed=ours >= theirs * (1 - margin),
        new=ours,
        old=theirs,
        margin=margin,
        difference=paired_bootstrap(*figures, seed=new.evaluation.seed),
    )


def _served(trial: Trial) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    lists = trial.lists.get("as served", trial.lists["hybrid"])
    return ranking_metrics(lists, trial.truth, KS)[_METRIC]
