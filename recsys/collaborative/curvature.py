"""How much an error in an item's vector costs: the weight of weighted prediction errors.

Enters: trained factors and the evidence. Leaves: a matrix for each item asked for, by which
`recsys.audio.training` weighs how far a network's answer lies from the item's factors (van den
Oord, Dieleman, Schrauwen: Deep content-based music recommendation, 2013).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.collaborative.factors import Factors

__all__ = ["Curvature"]

Floats = NDArray[np.float32]


class Curvature:
    """How the weighted error of predicted plays bends in an item's factors.

    Half its second derivative: sum_u c_ui x_u x_u', with all users, observed or not.

    Parameters
    ----------
    factors
        Their users' side is taken as fixed.
    evidence
        (n_users, n_items), as in training.
    """

    def __init__(self, factors: Factors, evidence: csr_array) -> None:
        self._users = factors.user_factors.astype(np.float32)
        self._config = factors.config
        self._columns = evidence.tocsc()
        unobserved = 0.0 if self._config.feedback == "explicit" else self._config.unobserved_weight
        self._unobserved = unobserved
        self._all = unobserved * (self._users.T @ self._users)

    def __call__(self, items: NDArray[np.integer]) -> Floats:
        """Return (m, f, f) float32 for item rows (m,)."""
        bent = np.repeat(self._all[None], len(items), axis=0)
        for place, item in enumerate(items.tolist()):
            stored = slice(self._columns.indptr[item], self._columns.indptr[item + 1])
            users = self._users[self._columns.indices[stored]]  # (n, f)
            weights = np.ones(len(users), np.float32)
            if self._config.feedback == "implicit":
                heard = self._config.alpha * np.abs(self._columns.data[stored])
                weights = heard + (self._config.confidence == "excess") - self._unobserved
            bent[place] += (users * weights[:, None]).T @ users
        return np.asarray(bent, np.float32)
