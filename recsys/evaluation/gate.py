"""May a new recipe serve? Only if it does not lose to the one that does.

Enters: a dataset and two configurations. Leaves: a `Verdict`. Both recipes are trained on the same
events before one cut-off and measured on the same listeners after it, so that neither knows more.
The new one passes where its NDCG@30, as served, is not below the other's by more than a margin,
counted in shares of the other's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.backend import Backend
from recsys.config import Config
from recsys.evaluation.compare import Difference, paired_bootstrap
from recsys.evaluation.metrics import ranking_metrics
from recsys.evaluation.protocol import KS, Trial, measure
from recsys.pipeline import Content, Source

__all__ = ["Verdict", "judge"]

_METRIC = "ndcg@30"


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


def judge(source: Source, new: Config, old: Config, backend: Backend, *, margin: float) -> Verdict:
    """Compare two recipes; slices, listeners and what counts as love are the new one's.

    Raises
    ------
    InputError
        Where nobody loved anything new in the test slice.
    """
    shared = {"interactions": new.interactions, "slices": new.slices, "evaluation": new.evaluation}
    rival = Config.from_dict(
        old.to_dict() | {name: vars(stage) for name, stage in shared.items()}, source="old recipe"
    )
    figures = [
        _served(measure(Content(source, config, backend=backend), config, backend))
        for config in (new, rival)
    ]
    ours, theirs = (float(np.nanmean(one)) for one in figures)
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
