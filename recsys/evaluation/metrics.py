"""How good ranked lists are, against what listeners went on to love.

Enters: lists as a padded matrix of item rows, best first, and the truth as a sparse matrix.
Leaves: one figure per listener and metric, so that callers may average, slice or bootstrap.

With hit_j = 1 where the item at rank j (from 1) is in the truth T, and n = min(k, |T|):

======== ======================================================================================
recall   sum_j hit_j / n
ndcg     sum_j hit_j / log2(j + 1)  over the same sum for a list that begins with n hits
map      sum_j hit_j (hits up to j) / j  / n
mrr      1 / (rank of the first hit), 0 where there is none
hit_rate 1 where any hit_j is 1
======== ======================================================================================

Dividing by n rather than |T| lets a perfect list of k reach 1 for a listener who loved more than k.
Nothing is sampled: sampled metrics change the order of rankers (Krichene and Rendle, KDD 2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["gini", "list_metrics", "ranking_metrics", "summary"]


def ranking_metrics(
    ranked: NDArray[np.int32], truth: csr_array, ks: Sequence[int] = (10, 30)
) -> dict[str, NDArray[np.float64]]:
    """Score each listener's list.

    Parameters
    ----------
    ranked
        (m, k_max) int32 item rows, best first, -1 where a list has ended; no item twice in a list.
    truth
        (m, n_items); the stored entries of row `u` are the items that listener `u` loved.
    ks
        Cut-offs. A list shorter than `k` is scored as if nothing followed.

    Returns
    -------
    dict
        ``{"recall@10": (m,) float64, "ndcg@10": ..., "map@10", "mrr@10", "hit_rate@10", ...}``,
        all in [0, 1]; NaN for a listener without truth, whom no list can please.
    """
    hits = _hits(ranked, truth)
    loved = np.diff(truth.indptr)
    scores: dict[str, NDArray[np.float64]] = {}
    for k in ks:
        at_k = hits[:, :k]  # (m, min(k, k_max))
        ranks = np.arange(1, at_k.shape[1] + 1)
        best = np.minimum(k, loved)
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])[best]
        first = np.where(at_k.any(axis=1), at_k.argmax(axis=1) + 1, np.inf)
        per_metric = {
            "recall": _ratio(at_k.sum(axis=1), best),
            "ndcg": _ratio(at_k @ (1 / np.log2(ranks + 1)), ideal),
            "map": _ratio((at_k * np.cumsum(at_k, axis=1) / ranks).sum(axis=1), best),
            "mrr": np.where(loved > 0, 1 / first, np.nan),
            "hit_rate": np.where(loved > 0, at_k.any(axis=1), np.nan),
        }
        scores |= {f"{name}@{k}": values for name, values in per_metric.items()}
    return scores


def list_metrics(
    ranked: NDArray[np.int32],
    listeners: NDArray[np.integer],
    n_users: int,
    *,
    n_eligible: int | None = None,
    spaces: Sequence[NDArray[np.float32]] = (),
    ks: Sequence[int] = (10, 30),
) -> dict[str, float]:
    """Describe what all lists together show, whoever likes it.

    Parameters
    ----------
    ranked
        (m, k_max) int32 item rows, -1 where a list has ended.
    listeners
        (n_items,) number of users who played each item before.
    n_users
        Number of users behind `listeners`.
    n_eligible
        Number of items that a list could have shown; all by default.
    spaces
        (n_items, d) unit item vectors of each model; the diversity of a list is measured in each.
    ks
        Cut-offs.

    Returns
    -------
    dict
        ``coverage@k``: share of the eligible items that some list shows. ``novelty@k``: mean
        surprise -log2 p in bits over all places of all lists, p = (listeners + 1) / (n_users + 1)
        so that an item nobody played is finite. ``diversity@k``: mean of 1 - cosine over the pairs
        of a list, over lists, over `spaces`. ``gini@k``: how unevenly the places fall on the
        eligible items, 0 evenly, 1 all on one. NaN where every list is empty.
    """
    surprise = -np.log2((np.asarray(listeners, np.float64) + 1) / (n_users + 1))
    described: dict[str, float] = {}
    for k in ks:
        shown = ranked[:, :k][ranked[:, :k] >= 0]
        eligible = len(surprise) if n_eligible is None else n_eligible
        described[f"coverage@{k}"] = len(np.unique(shown)) / eligible if eligible else np.nan
        described[f"novelty@{k}"] = float(surprise[shown].mean()) if len(shown) else np.nan
        described[f"gini@{k}"] = gini(shown, eligible)
        if spaces:
            per_space = [_diversity(ranked[:, :k], vectors) for vectors in spaces]
            described[f"diversity@{k}"] = float(np.mean(per_space))
    return described


def gini(shown: NDArray[np.integer], n_eligible: int) -> float:
    """Return sum_j (2j - n - 1) c_(j) / (n sum c), c_(j) how often the j-th rarest item is shown.

    `shown` (n_places,) are item rows; items never shown count with c = 0.
    """
    if not len(shown) or not n_eligible:
        return np.nan
    counts = np.sort(np.bincount(shown))[::-1][:n_eligible][::-1].astype(np.float64)
    counts = np.concatenate([np.zeros(n_eligible - len(counts)), counts])
    j = np.arange(1, n_eligible + 1)
    return float(((2 * j - n_eligible - 1) * counts).sum() / (n_eligible * counts.sum()))


def _diversity(ranked: NDArray[np.int32], vectors: NDArray[np.float32]) -> float:
    """Return the mean over lists of 1 - cosine over their pairs; lists of one are left out."""
    found = []
    for items in ranked:
        shown = vectors[items[items >= 0]].astype(np.float64)
        if (n := len(shown)) > 1:
            # |sum v|^2 is the sum over all ordered pairs, each with itself included.
            alike = (np.square(shown.sum(axis=0)).sum() - np.square(shown).sum()) / (n * (n - 1))
            found.append(1 - alike)
    return float(np.mean(found)) if found else np.nan


def summary(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Return each metric's mean over the listeners who have truth; NaN where nobody has."""
    means: dict[str, float] = {}
    for name, values in scores.items():
        counted = values[~np.isnan(values)]
        means[name] = float(counted.mean()) if len(counted) else np.nan
    return means


def _hits(ranked: NDArray[np.int32], truth: csr_array) -> NDArray[np.bool_]:
    """Return (m, k_max) bool: whether the item at that place is in its listener's truth."""
    m, n_items = truth.shape
    assert ranked.shape[0] == m, (ranked.shape, truth.shape)
    assert _distinct(ranked), "an item stands twice in one list"
    # One ascending array of (listener, item) numbers turns all look-ups into one binary search.
    row_of_entry = np.repeat(np.arange(m, dtype=np.int64), np.diff(truth.indptr))
    pairs = np.sort(row_of_entry * n_items + truth.indices)
    sought = np.arange(m, dtype=np.int64)[:, None] * n_items + ranked
    if not len(pairs):
        return np.zeros(ranked.shape, bool)
    place = np.minimum(np.searchsorted(pairs, sought), len(pairs) - 1)
    hits: NDArray[np.bool_] = (pairs[place] == sought) & (ranked >= 0)
    return hits


def _distinct(ranked: NDArray[np.int32]) -> bool:
    ordered = np.sort(ranked, axis=1)
    return not np.any((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0))


def _ratio(part: NDArray[np.generic], whole: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return ``part / whole``, NaN where `whole` is 0."""
    ratio: NDArray[np.float64] = np.full(len(part), np.nan)
    np.divide(part, whole, out=ratio, where=np.asarray(whole) > 0)
    return ratio
