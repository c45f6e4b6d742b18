"""Boosted trees that stay apart: a score that is a sum of one share per signal.

Enters: a model of LightGBM, or what a version keeps of it. Leaves: for each row of features the
share of each signal. Interaction constraints keep every path from a root to a leaf within one
signal's features, context aside, so each leaf belongs to one signal, and

    score(x) = sum_g share_g(x),    share_g(x) = sum of the leaves that x reaches and g owns

exactly. A listener's slider multiplies a share. The arrays are flat (no pickle) and scored by a
compiled loop, tree by tree, so that one tree stays in the first-level cache. LambdaMART: Burges,
From RankNet to LambdaRank to LambdaMART, 2010; LightGBM: Ke et al., NIPS 2017.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from recsys.data.arrays import ArraySink, ArraySource

__all__ = ["Trees"]


@dataclass(frozen=True)
class Trees:
    """Nodes of all trees, one after the other; a child below 0 is a leaf, ``~child`` its row."""

    root: NDArray[np.int32]
    """(n_trees,) first node of each tree; below 0 where the whole tree is a leaf."""
    feature: NDArray[np.int32]
    """(n_nodes,) the column that decides."""
    threshold: NDArray[np.float64]
    """(n_nodes,) at most this goes left."""
    left: NDArray[np.int32]
    """(n_nodes,)"""
    right: NDArray[np.int32]
    """(n_nodes,)"""
    value: NDArray[np.float64]
    """(n_leaves,) what a leaf adds to the score."""
    signal: NDArray[np.int32]
    """(n_leaves,) whose share it is."""

    @classmethod
    def of(
        cls, dump: Mapping[str, Any], group: Sequence[int], *, context: int, scale: float = 1.0
    ) -> Trees:
        """Flatten what ``Booster.dump_model()`` returned.

        Parameters
        ----------
        dump
            The model, trained with ``use_missing=False`` on numbers.
        group
            (n_features,) the signal of each feature.
        context
            The signal whose features may join any; it owns leaves that no other feature leads to.
        scale
            Factor of every leaf.
        """
        flat = _Flat(group, context, scale)
        for tree in dump["tree_info"]:
            flat.root.append(flat.add(tree["tree_structure"], context))
        return cls(
            np.array(flat.root, np.int32),
            np.array([node[0] for node in flat.nodes], np.int32),
            np.array([node[1] for node in flat.nodes], np.float64),
            np.array([node[2] for node in flat.nodes], np.int32),
            np.array([node[3] for node in flat.nodes], np.int32),
            np.array([leaf[0] for leaf in flat.leaves], np.float64),
            np.array([leaf[1] for leaf in flat.leaves], np.int32),
        )

    def __len__(self) -> int:
        return len(self.root)

    def shares(self, features: NDArray[np.float32], n_signals: int) -> NDArray[np.float64]:
        """Return (n, n_signals) the share of each signal in the score of each row."""
        shares = np.zeros((len(features), n_signals))
        _score(
            self.root, self.feature, self.threshold, self.left, self.right, self.value,
            self.signal, features, shares,
        )  # fmt: skip
        return shares

    def write(self, sink: ArraySink, name: str) -> None:
        """Store every array under `name`."""
        for field in fields(self):
            sink.add(f"{name}/{field.name}", getattr(self, field.name))

    @classmethod
    def read(cls, source: ArraySource, name: str) -> Trees:
        """Read what `write` stored."""
        return cls(*(source.array(f"{name}/{field.name}") for field in fields(cls)))


class _Flat:
    """Gathers nodes and leaves while a tree is walked."""

    def __init__(self, group: Sequence[int], context: int, scale: float) -> None:
        self.root: list[int] = []
        self.nodes: list[tuple[int, float, int, int]] = []
        self.leaves: list[tuple[float, int]] = []
        self._group = group
        self._context = context
        self._scale = scale

    def add(self, node: Mapping[str, Any], owner: int) -> int:
        """Return the number of a node, or ~row of a leaf, below features of the signal `owner`."""
        if "leaf_value" in node:
            self.leaves.append((self._scale * float(node["leaf_value"]), owner))
            return ~(len(self.leaves) - 1)
        assert node["decision_type"] == "<=", node["decision_type"]
        column = int(node["split_feature"])
        group = self._group[column]
        if group != self._context:
            assert owner in (group, self._context), "a path holds the features of two signals"
            owner = group
        number = len(self.nodes)
        self.nodes.append((0, 0.0, 0, 0))  # its place: children have higher numbers
        left, right = self.add(node["left_child"], owner), self.add(node["right_child"], owner)
        self.nodes[number] = (column, float(node["threshold"]), left, right)
        return number


@numba.njit(nogil=True, cache=True)
def _score(
    root: NDArray[np.int32],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float64],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    value: NDArray[np.float64],
    signal: NDArray[np.int32],
    features: NDArray[np.float32],
    shares: NDArray[np.float64],
) -> None:
    """Add to shares (n, n_signals) the leaf that each row of features reaches in each tree."""
    for tree in range(len(root)):
        for row in range(len(features)):
            node = root[tree]
            while node >= 0:
                goes_left = features[row, feature[node]] <= threshold[node]
                node = left[node] if goes_left else right[node]
            shares[row, signal[~node]] += value[~node]
