"""Trained factors: what a listener may love, what is alike, why, and who is new.

Enters: factors and biases of both sides, as `recsys.collaborative.als` leaves them. Leaves: ranked
rows, vectors of listeners and items that were not there in training, shares of a listener's history
in a score. The prediction for a pair is ``x_u.y_i + beta_u + beta_i + mean``.

A new listener is the exact minimiser of the training's own objective with the items fixed (fold-in;
Hu, Koren, Volinsky 2008). That minimiser is linear in what was observed, which is why each item of
the history has a share in every score (their section 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.bundle import Bundle, BundleWriter
from recsys.collaborative.checks import checked_times
from recsys.collaborative.dense import solve, weighted_gram
from recsys.collaborative.drift import bins_of
from recsys.collaborative.folding import Folding
from recsys.config import CollaborativeConfig, Config
from recsys.errors import UsageError
from recsys.retrieval.exact import ExactIndex

__all__ = ["Explanation", "Factors"]

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]
_ARRAYS = ("user_factors", "item_factors", "user_biases", "item_biases")
_OPTIONAL = ("feature_map", "item_drift", "drift_edges")
_PART = 1 << 16
"""Items of which a copy is made at once."""


@dataclass(frozen=True)
class Explanation:
    """Where one score comes from: ``score == baseline + sum of all shares``."""

    score: float
    baseline: float
    """What any listener with this many items would get: biases and the mean."""
    rows: Rows
    """(k,) items of the listener's history, the largest share first."""
    shares: NDArray[np.float64]
    """(k,) what each of them adds to the score."""


@dataclass(frozen=True)
class Factors:
    """User and item factors with biases, and the configuration that they minimise."""

    user_factors: Floats
    """(n_users, f) float32."""
    item_factors: Floats
    """(n_items, f) float32."""
    user_biases: Floats
    """(n_users,) float32; zeros where the configuration has no biases."""
    item_biases: Floats
    """(n_items,) float32; of the latest time bin, where there are bins."""
    global_mean: float
    """Mean rating of explicit feedback; 0 for implicit."""
    config: CollaborativeConfig
    feature_map: Floats | None = None
    """(d, f) B': an item with features g is drawn to ``g @ feature_map``; None without features."""
    item_drift: Floats | None = None
    """(n_items, n_bins) by how much each item's bias was higher in each time bin than it is in the
    latest; None without bins."""
    drift_edges: NDArray[np.int64] | None = None
    """(n_bins - 1,) milliseconds since 1970 at which a new bin begins."""

    @cached_property
    def mean_item_biases(self) -> Floats:
        """(n_items,) the mean over time bins: what evidence of unknown date and zeros meet."""
        if self.item_drift is None:
            return self.item_biases
        return np.asarray(self.item_biases + self.item_drift.mean(axis=1), np.float32)

    def scores(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> Floats:
        """Return the predictions (m, k) for user rows (m,) and item rows (m, k)."""
        products = np.einsum("mf,mkf->mk", self.user_factors[users], self.item_factors[items])
        level = self.user_biases[users, None] + np.float32(self.global_mean)
        return cast("Floats", products + self.item_biases[items] + level)

    def recommend(
        self,
        users: NDArray[np.integer],
        k: int,
        *,
        exclude: csr_array | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[Rows, Floats]:
        """Return the `k` items of highest prediction for each user row.

        Parameters
        ----------
        users
            (m,) user rows.
        exclude
            (m, n_items); stored entries of row j are left out for ``users[j]``.
        allowed
            (n_items,) bool; only these items are returned.

        Returns
        -------
        rows : (m, k) int32
            Item rows, best first, -1 after the last.
        scores : (m, k) float32
            Predictions; -inf after the last.
        """
        rows, scores = self._index.search(
            self.user_factors[users], k, exclude=exclude, allowed=allowed
        )
        scores += self.user_biases[users, None] + np.float32(self.global_mean)
        return rows, scores

    def similar_items(self, rows: NDArray[np.integer], k: int) -> tuple[Rows, Floats]:
        """Return the `k` items of largest cosine for each item row, itself left out.

        A row without factors is like nothing: its list is all -1.
        """
        return _similar(*self._item_directions, np.asarray(rows), k)

    def similar_users(self, rows: NDArray[np.integer], k: int) -> tuple[Rows, Floats]:
        """Return the `k` users of largest cosine for each user row, as `similar_items`."""
        return _similar(*self._user_directions, np.asarray(rows), k)

    def warm_up(self) -> None:
        """Prepare for `fold_in`: the first one is then as quick as those that follow."""
        self._listeners.warm_up()

    def fold_in(
        self, evidence: csr_array, *, at: NDArray[np.int64] | None = None
    ) -> tuple[Floats, Floats]:
        """Return factors (m, f) and biases (m,) of listeners with `evidence` (m, n_items).

        Parameters
        ----------
        at
            (nnz,) milliseconds since 1970 of each entry, in the order of sorted rows; NO_TIME, or
            None for all, where unknown. Counts where items have time bins.

        Raises
        ------
        UsageError
            Where `evidence` has another number of columns than there are items.
        InputError
            For NaN or infinite evidence, and times of another number.
        """
        _require_columns(evidence, len(self.item_factors), "item")
        return self._listeners.solve(evidence, offsets=self._offsets(evidence, at))

    def fold_in_items(
        self, evidence: csr_array, *, features: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Return factors and biases of items with `evidence` (m, n_users), as `fold_in`.

        An item without evidence is what its `features` say; the more there is, the less they count.

        Parameters
        ----------
        features
            (m, d) float32, columns as in training; default: nothing is known of the items.

        Raises
        ------
        UsageError
            For features of another shape, or where the training had none.
        """
        prior = None
        if features is not None:
            if self.feature_map is None:
                raise UsageError("features: this model was trained without item features")
            wanted = (evidence.shape[0], len(self.feature_map))
            if features.shape != wanted:
                raise UsageError(f"features: want shape {wanted}, got {features.shape}")
            prior = features.astype(np.float32, copy=False) @ self.feature_map
        _require_columns(evidence, len(self.user_factors), "user")
        return self._items.solve(evidence, prior=prior)

    def explain(self, evidence: csr_array, item: int, *, k: int = 10) -> Explanation:
        """Split a listener's score for an item into shares of the listener's own history.

        Parameters
        ----------
        evidence
            (1, n_items), the listener's; the score is that of the listener folded in.
        item
            Item row.
        k
            Shares to return, the largest first.
        """
        shares, baselines = self.shares(evidence, np.array([item]))
        best = np.argsort(-shares[0], kind="stable")[:k]
        return Explanation(
            score=float(baselines[0] + shares[0].sum()),
            baseline=float(baselines[0]),
            rows=evidence.indices[best].astype(np.int32),
            shares=shares[0, best],
        )

    def shares(
        self, evidence: csr_array, items: NDArray[np.integer]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Split a listener's scores for many items as `explain` does, by one factorisation.

        Returns
        -------
        shares : (m, n) float64
            What each of the listener's n stored items adds to the score of each of the m `items`.
        baselines : (m,) float64
            The rest of each score.
        """
        config = self.config
        history, values = evidence.indices, evidence.data.astype(np.float64)
        y = self._extended(history)
        b = self.mean_item_biases[history].astype(np.float64)
        if config.feedback == "explicit":
            w0, c, t = 0.0, np.ones(len(values)), values - self.global_mean
        else:
            w0, t = config.unobserved_weight, (values > 0).astype(np.float64)
            c = (config.confidence == "excess") + config.alpha * np.abs(values)
        ridge = config.regularization * float(max(len(values), 1)) ** (
            config.regularization_exponent
        )
        penalty = np.full(y.shape[1], ridge)
        if config.bias and config.feedback == "implicit":
            penalty[-1] = 0.0
        gram, drift = self._unobserved
        normal = weighted_gram(y, c - w0)
        normal += w0 * gram
        normal.flat[:: len(normal) + 1] += penalty
        targets = self._extended(items)
        if not config.bias:
            normal, y, targets, drift = normal[:-1, :-1], y[:, :-1], targets[:, :-1], drift[:-1]
        directions = solve(normal, targets)
        shares = (directions @ y.T) * (c * t - (c - w0) * b)
        baselines = self.item_biases[items] + self.global_mean - w0 * directions @ drift
        return shares, baselines

    def renumbered(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> Factors:
        """Return factors under other row numbers, to start a new training from.

        Parameters
        ----------
        users, items
            (n_users,) and (n_items,): for each new row the row here, or -1; a new one gets zeros,
            which the first half-steps replace.
        """
        return replace(
            self,
            user_factors=_taken(self.user_factors, users),
            item_factors=_taken(self.item_factors, items),
            user_biases=_taken(self.user_biases, users),
            item_biases=_taken(self.item_biases, items),
            item_drift=None if self.item_drift is None else _taken(self.item_drift, items),
        )

    def shaken(self, seed: int) -> Factors:
        """Return factors whose items moved by as little as a cold start's are long.

        Exact half-steps never leave the span of where they start: without this, items that are new
        and dimensions that had died out would add nothing, however much evidence has come since.
        """
        n_items, n_factors = self.item_factors.shape
        scale = 0.1 / np.sqrt(n_factors)
        moves = np.random.default_rng(seed).normal(0, scale, (n_items, n_factors))
        return replace(self, item_factors=self.item_factors + moves.astype(np.float32))

    def aligned_to(self, former: Factors, items: NDArray[np.integer]) -> Factors:
        """Turn the factors so that items lie where they lay before; no prediction changes.

        The orthogonal Procrustes problem: min over rotations Q of ``|Y Q - Y_former|`` over the
        items that both have (Schoenemann 1966).

        Parameters
        ----------
        former
            Factors of the version before; must have as many factors.
        items
            (n_items,) row of each item in `former`, or -1.
        """
        if former.item_factors.shape[1] != self.item_factors.shape[1]:
            raise UsageError(
                f"former factors: want {self.item_factors.shape[1]} a row, got "
                f"{former.item_factors.shape[1]}; align versions of equal factor counts"
            )
        both = np.flatnonzero(items >= 0)
        ours = self.item_factors[both].astype(np.float64)
        left, _, right = np.linalg.svd(ours.T @ former.item_factors[items[both]])
        turn = (left @ right).astype(np.float32)
        return replace(
            self,
            user_factors=self.user_factors @ turn,
            item_factors=self.item_factors @ turn,
            feature_map=None if self.feature_map is None else self.feature_map @ turn,
        )

    def write(self, writer: BundleWriter) -> None:
        """Add the arrays and the configuration to a version."""
        for name in _ARRAYS:
            writer.add(f"collaborative/{name}", getattr(self, name))
        for name in _OPTIONAL:
            if getattr(self, name) is not None:
                writer.add(f"collaborative/{name}", getattr(self, name))
        writer.note(collaborative={"global_mean": self.global_mean, "config": asdict(self.config)})

    @classmethod
    def read(cls, bundle: Bundle) -> Factors:
        """Open the factors of a version, memory-mapped."""
        names = [*_ARRAYS, *(name for name in _OPTIONAL if f"collaborative/{name}" in bundle)]
        arrays = {name: bundle.array(f"collaborative/{name}") for name in names}
        facts: Mapping[str, Any] = bundle.facts["collaborative"]
        config = Config.from_dict({"collaborative": facts["config"]}, source=bundle.version)
        return cls(**arrays, global_mean=float(facts["global_mean"]), config=config.collaborative)

    @cached_property
    def _listeners(self) -> Folding:
        """What solves for listeners."""
        held = self.item_factors, self.mean_item_biases
        return Folding(*held, self.config, global_mean=self.global_mean)

    @cached_property
    def _items(self) -> Folding:
        held = self.user_factors, self.user_biases
        return Folding(*held, self.config, global_mean=self.global_mean)

    @cached_property
    def _index(self) -> ExactIndex:
        return ExactIndex(self.item_factors, self.item_biases, num_threads=self.config.num_threads)

    @cached_property
    def _item_directions(self) -> tuple[Floats, ExactIndex]:
        return _directions(self.item_factors, self.config.num_threads)

    @cached_property
    def _user_directions(self) -> tuple[Floats, ExactIndex]:
        return _directions(self.user_factors, self.config.num_threads)

    def _extended(self, items: NDArray[np.integer] | slice) -> NDArray[np.float64]:
        """Return (n, f + 1) vectors of items, and a last column 1 for the listener's bias."""
        vectors = self.item_factors[items]
        extended = np.ones((len(vectors), vectors.shape[1] + 1))
        extended[:, :-1] = vectors
        return extended

    @cached_property
    def _unobserved(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Gram matrix of [Y 1], and [Y 1]' b."""
        width = self.item_factors.shape[1] + 1
        gram, drift = np.zeros((width, width)), np.zeros(width)
        # In parts: a copy of all vectors would be each replica's own, and twice as large as they.
        for start in range(0, len(self.item_factors), _PART):
            part = slice(start, start + _PART)
            y = self._extended(part)
            gram += y.T @ y
            drift += y.T @ self.mean_item_biases[part].astype(np.float64)
        return gram, drift

    def _offsets(self, evidence: csr_array, at: NDArray[np.int64] | None) -> Floats | None:
        """Return (nnz,) how far each entry's bias lay from the mean at its time."""
        checked_times(at, evidence)
        if at is None or self.item_drift is None or self.drift_edges is None:
            return None
        bins, items = bins_of(at, self.drift_edges), evidence.indices
        apart = self.item_drift[items, bins] + self.item_biases[items]
        return np.where(bins < 0, np.float32(0), apart - self.mean_item_biases[items])


def _require_columns(evidence: csr_array, n: int, side: str) -> None:
    if evidence.shape[1] != n:
        raise UsageError(f"evidence: want {n} columns, one per {side}, got {evidence.shape[1]}")


def _taken(array: Floats, rows: NDArray[np.integer]) -> Floats:
    taken = np.zeros((len(rows), *array.shape[1:]), np.float32)
    known = rows >= 0
    taken[known] = array[rows[known]]
    return taken


def _directions(vectors: Floats, num_threads: int) -> tuple[Floats, ExactIndex]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(norms == 0, 1, norms)).astype(np.float32)
    return unit, ExactIndex(unit, num_threads=num_threads)


def _similar(
    unit: Floats, index: ExactIndex, rows: NDArray[np.integer], k: int
) -> tuple[Rows, Floats]:
    itself = csr_array(
        (np.ones(len(rows), np.int8), rows.astype(np.int32), np.arange(len(rows) + 1)),
        shape=(len(rows), len(unit)),
    )
    known: NDArray[np.bool_] = np.asarray(unit.any(axis=1))
    found, scores = index.search(unit[rows], k, exclude=itself, allowed=known)
    found[~known[rows]], scores[~known[rows]] = -1, -np.inf
    return found, scores
