"""AlternatingLeastSquares: the engine under the names of the `implicit` library.

Enters: a users x items CSR matrix, row numbers. Leaves: (ids, scores). Change
``from implicit.als import AlternatingLeastSquares`` to
``from recsys.collaborative import AlternatingLeastSquares`` and go on; docs/from-implicit.md says
what differs. As there, an entry v has confidence ``alpha |v|``, an unobserved pair has 1, and a
negative entry is a dislike. ``bias=True`` learns a scalar per user and item beside the factors.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import is_
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from recsys.backend import LocalBackend
from recsys.collaborative import als
from recsys.collaborative.arguments import (
    Sparse,
    as_ids,
    csr,
    require_known,
    rows_of,
    selection,
    stored,
    unit,
)
from recsys.collaborative.factors import Factors
from recsys.config import CollaborativeConfig
from recsys.errors import InputError, UsageError
from recsys.retrieval.exact import ExactIndex

__all__ = ["AlternatingLeastSquares"]

Floats = NDArray[np.float32]
Ranked = tuple[NDArray[np.int32], Floats]

_ARRAYS = ("user_factors", "item_factors", "user_biases", "item_biases")
_SETTINGS = (
    "factors", "regularization", "alpha", "iterations", "use_cg", "calculate_training_loss",
    "num_threads", "random_state", "bias",
)  # fmt: skip


class AlternatingLeastSquares:
    """Implicit-feedback matrix factorisation in memory.

    Parameters
    ----------
    factors
        Length of the vectors.
    regularization
        lambda, the weight of the squared factor norms.
    alpha
        Factor of the matrix's values; the product is the confidence.
    dtype
        float32; another is refused.
    use_native, use_gpu
        Accepted for compatibility and without effect.
    use_cg
        False asks for plain alternation with the exact row solver, step for step as `implicit`
        does it; True lets the engine choose what is fastest by measurement.
    iterations
        Sweeps over users and items.
    calculate_training_loss
        Give the loss to the callback of `fit`.
    num_threads
        0 takes all cores.
    random_state
        Seed of the first factors; None draws one.
    bias
        Learn a bias per user and item; they take part in every score.

    Attributes
    ----------
    user_factors, item_factors : (n, factors) float32
        None before `fit`; assign them before it to choose the start.
    user_biases, item_biases : (n,) float32
        Zeros without `bias`.
    """

    def __init__(
        self,
        factors: int = 100,
        regularization: float = 0.01,
        alpha: float = 1.0,
        dtype: DTypeLike = np.float32,
        use_native: bool = True,
        use_cg: bool = True,
        use_gpu: bool = False,
        iterations: int = 15,
        calculate_training_loss: bool = False,
        num_threads: int = 0,
        random_state: int | np.random.Generator | None = None,
        *,
        bias: bool = False,
    ) -> None:
        if np.dtype(dtype) != np.float32:
            raise UsageError(f"dtype: want float32, the only one there is, got {np.dtype(dtype)}")
        if not isinstance(random_state, int | np.integer):
            random_state = int(np.random.default_rng(random_state).integers(2**31))
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.iterations = iterations
        self.use_cg = use_cg
        self.calculate_training_loss = calculate_training_loss
        self.num_threads = num_threads
        self.random_state = int(random_state)
        self.bias = bias
        self.user_factors: Floats | None = None
        self.item_factors: Floats | None = None
        self.user_biases: Floats | None = None
        self.item_biases: Floats | None = None

    @property
    def config(self) -> CollaborativeConfig:
        """The objective and the way to minimise it, as the present attributes say."""
        return CollaborativeConfig(
            factors=self.factors,
            iterations=self.iterations,
            regularization=float(self.regularization),
            alpha=float(self.alpha),
            confidence="total",
            bias=self.bias,
            solver="auto" if self.use_cg else "cholesky",
            relaxation=CollaborativeConfig.relaxation if self.use_cg else 1.0,
            num_threads=self.num_threads,
            seed=self.random_state,
        )

    def fit(
        self,
        user_items: Sparse,
        show_progress: bool = True,
        callback: Callable[[int, float, float | None], object] | None = None,
    ) -> None:
        """Factorise `user_items` (n_users, n_items), starting from the present factors if any.

        Parameters
        ----------
        show_progress
            Accepted for compatibility; `recsys.progress.report_to` decides who sees progress.
        callback
            Called after each iteration with its number, its seconds, and the loss or None.

        Raises
        ------
        InputError
            For NaN or infinite entries.
        """
        evidence, config, backend = csr(user_items), self.config, LocalBackend()
        initial = None if self.user_factors is None else self._factors()
        started, last = perf_counter(), None
        steps = als.alternate(
            evidence, config, backend, initial=initial, losses=self.calculate_training_loss
        )
        for last in steps:
            if callback is not None and last.side == "items" and last.iteration:
                callback(last.iteration - 1, perf_counter() - started, last.loss)
                started = perf_counter()
        assert last is not None
        trained = als.gather(last, config, backend)
        for name in _ARRAYS:
            setattr(self, name, getattr(trained, name))

    def recommend(
        self,
        userid: int | ArrayLike,
        user_items: Sparse | None,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: ArrayLike | None = None,
        recalculate_user: bool = False,
        items: ArrayLike | None = None,
    ) -> Ranked:
        """Return the `N` best items for one user id or an array of them.

        Parameters
        ----------
        userid
            One id or (m,) ids.
        user_items
            (m, n_items), row j of ``userid[j]``; needed for the next two options.
        filter_already_liked_items
            Leave out what `user_items` holds.
        filter_items
            Item ids to leave out for all.
        recalculate_user
            Solve the users again from `user_items`; their ids need not be known.
        items
            Rank only these item ids; not together with `filter_items`.

        Returns
        -------
        ids, scores
            (N,) for one id, (m, N) for an array, best first. Where fewer than N items are left
            after filtering, the rest is id -1 with score -inf; N beyond the catalogue is cut to it.
        """
        factors = self._factors()
        users, alone = as_ids(userid)
        wanted = None
        if filter_already_liked_items or recalculate_user:
            wanted = rows_of(user_items, len(users), factors.item_factors.shape[0])
        if recalculate_user and wanted is not None:
            vectors, biases = factors.fold_in(wanted)
        else:
            require_known(users, len(factors.user_factors), "userid")
            vectors, biases = factors.user_factors[users], factors.user_biases[users]
        allowed, n_left = selection(items, filter_items, len(factors.item_factors), "item")
        rows, scores = self._index(factors).search(
            vectors,
            min(N, n_left),
            exclude=wanted if filter_already_liked_items else None,
            allowed=allowed,
        )
        scores += biases[:, None]
        return (rows[0], scores[0]) if alone else (rows, scores)

    def similar_items(
        self,
        itemid: int | ArrayLike,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Sparse | None = None,
        filter_items: ArrayLike | None = None,
        items: ArrayLike | None = None,
    ) -> Ranked:
        """Return the `N` items of largest cosine, the item itself first; shapes as `recommend`."""
        factors = self._factors()
        rows, alone = as_ids(itemid)
        if recalculate_item:
            evidence = rows_of(item_users, len(rows), len(factors.user_factors))
            queries = factors.fold_in_items(evidence)[0]
        else:
            require_known(rows, len(factors.item_factors), "itemid")
            queries = factors.item_factors[rows]
        chosen = selection(items, filter_items, len(factors.item_factors), "item")
        return self._alike(queries, factors.item_factors, N, *chosen, alone)

    def similar_users(
        self,
        userid: int | ArrayLike,
        N: int = 10,
        filter_users: ArrayLike | None = None,
        users: ArrayLike | None = None,
    ) -> Ranked:
        """Return the `N` users of largest cosine, the user itself first; shapes as `recommend`."""
        factors = self._factors()
        rows, alone = as_ids(userid)
        require_known(rows, len(factors.user_factors), "userid")
        chosen = selection(users, filter_users, len(factors.user_factors), "user")
        return self._alike(factors.user_factors[rows], factors.user_factors, N, *chosen, alone)

    def recalculate_user(self, userid: int | ArrayLike, user_items: Sparse) -> Floats:
        """Return exact factors of users from their rows `user_items`, storing nothing."""
        factors = self._factors()
        users, alone = as_ids(userid)
        evidence = rows_of(user_items, len(users), len(factors.item_factors))
        vectors = factors.fold_in(evidence)[0]
        return vectors[0] if alone else vectors

    def recalculate_item(self, itemid: int | ArrayLike, item_users: Sparse) -> Floats:
        """Return exact factors of items from their rows `item_users`, storing nothing."""
        factors = self._factors()
        items, alone = as_ids(itemid)
        evidence = rows_of(item_users, len(items), len(factors.user_factors))
        vectors = factors.fold_in_items(evidence)[0]
        return vectors[0] if alone else vectors

    def partial_fit_users(self, userids: ArrayLike, user_items: Sparse) -> None:
        """Solve users from their rows and store them; ids beyond the known ones are added."""
        factors = self._factors()
        users, _ = as_ids(userids)
        evidence = rows_of(user_items, len(users), len(factors.item_factors))
        vectors, biases = factors.fold_in(evidence)
        self.user_factors = stored(factors.user_factors, users, vectors)
        self.user_biases = stored(factors.user_biases, users, biases)

    def partial_fit_items(self, itemids: ArrayLike, item_users: Sparse) -> None:
        """Solve items from their rows and store them; ids beyond the known ones are added."""
        factors = self._factors()
        items, _ = as_ids(itemids)
        evidence = rows_of(item_users, len(items), len(factors.user_factors))
        vectors, biases = factors.fold_in_items(evidence)
        self.item_factors = stored(factors.item_factors, items, vectors)
        self.item_biases = stored(factors.item_biases, items, biases)

    def explain(
        self,
        userid: int,
        user_items: Sparse,
        itemid: int,
        user_weights: None = None,
        N: int = 10,
    ) -> tuple[float, list[tuple[int, float]], None]:
        """Split a score into what each liked item adds.

        Parameters
        ----------
        user_items
            (n_users, n_items), all users', as in `implicit`.
        user_weights
            Accepted for compatibility; nothing needs to be passed on between calls.

        Returns
        -------
        total_score : float
        top_contributions : list of (itemid, score)
            The `N` largest. All of them add up to the total score without biases.
        user_weights : None
        """
        own = csr(user_items)[[userid]]
        why = self._factors().explain(own, itemid, k=N)
        parts = list(zip(why.rows.tolist(), why.shares.tolist(), strict=True))
        return why.score, parts, None

    def save(self, fileobj_or_path: str | Path | BinaryIO) -> None:
        """Save to one .npz file, without pickle; the suffix is added where it is missing."""
        factors = self._factors()
        arrays = {name: getattr(factors, name) for name in _ARRAYS}
        settings = {name: getattr(self, name) for name in _SETTINGS}
        np.savez(fileobj_or_path, settings=np.array(json.dumps(settings)), **arrays)

    @classmethod
    def load(cls, fileobj_or_path: str | Path | BinaryIO) -> AlternatingLeastSquares:
        """Open a model that `save` wrote.

        Raises
        ------
        InputError
            Where the file is none.
        """
        place: Any = fileobj_or_path
        if isinstance(place, str | Path) and not str(place).endswith(".npz"):
            place = f"{place}.npz"
        try:
            with np.load(place, allow_pickle=False) as file:
                model = cls(**json.loads(str(file["settings"])))
                arrays = {name: file[name] for name in _ARRAYS}
        except (KeyError, TypeError, ValueError, EOFError, OSError) as error:
            raise InputError(f"{place}: not a model saved by recsys ({error})") from error
        for name, array in arrays.items():
            setattr(model, name, array)
        return model

    def _factors(self) -> Factors:
        """Return the present state, which users may have assigned to; prepared for it once."""
        if self.user_factors is None or self.item_factors is None:
            raise UsageError("the model has no factors yet; call fit first")
        held, config = tuple(getattr(self, name) for name in _ARRAYS), self.config
        cached = self.__dict__.get("_cached_factors")
        if cached and cached[1].config == config and all(map(is_, cached[0], held)):
            known: Factors = cached[1]
            return known
        zeros = [np.zeros(len(side), np.float32) for side in (self.user_factors, self.item_factors)]
        factors = Factors(
            user_factors=np.asarray(self.user_factors, np.float32),
            item_factors=np.asarray(self.item_factors, np.float32),
            user_biases=zeros[0] if self.user_biases is None else self.user_biases,
            item_biases=zeros[1] if self.item_biases is None else self.item_biases,
            global_mean=0.0,
            config=config,
        )
        self.__dict__["_cached_factors"] = held, factors
        return factors

    def _index(self, factors: Factors) -> ExactIndex:
        """Return the index of the items, built once for the present arrays."""
        held = (factors.item_factors, factors.item_biases)
        cached = self.__dict__.get("_cached_index")
        if cached is None or cached[0][0] is not held[0] or cached[0][1] is not held[1]:
            cached = (held, ExactIndex(*held, num_threads=self.num_threads))
            self.__dict__["_cached_index"] = cached
        index: ExactIndex = cached[1]
        return index

    def _alike(
        self,
        queries: Floats,
        vectors: Floats,
        n: int,
        allowed: NDArray[np.bool_] | None,
        n_left: int,
        alone: bool,
    ) -> Ranked:
        index = ExactIndex(unit(vectors), num_threads=self.num_threads)
        rows, scores = index.search(unit(queries), min(n, n_left), allowed=allowed)
        return (rows[0], scores[0]) if alone else (rows, scores)
