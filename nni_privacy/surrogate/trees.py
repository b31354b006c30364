"""Ensembles of regression trees as plain arrays: what scikit-learn grows, stored and evaluated without it.

Predicting is three to four times faster than with scikit-learn, and files need no pickle. scikit-learn has no public
format for its boosted trees: their nodes are read from private attributes, of versions that this was tested with only
(:data:`SCIKIT_LEARN`, the range in the package's requirements). Any other is refused by name when trees are grown;
stored ones need no scikit-learn at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import ConfigError
from nni_privacy.surrogate.base import Floats, State

__all__ = ["SCIKIT_LEARN", "TreeEnsemble"]

SCIKIT_LEARN = ((1, 4), (1, 10))
"""The first version of scikit-learn whose boosted trees can be read, and the first later one that was not tried."""

_CHUNK = 4096
"""Rows at once, so that their columns stay in the processor's cache."""
_SMALL = 40
"""Nodes of a tree that is quicker evaluated whole than along every row's own way."""
_FEW = 64
"""Rows that go down all trees at once: one tree after another, the way from tree to tree would take the time."""
_Node = tuple[int, float, int, int, float]
"""Feature, threshold, left, right, value."""
_FIELDS = ("features", "thresholds", "left", "right", "values", "roots")


@dataclass(frozen=True, eq=False)
class TreeEnsemble:
    """A weighted sum of trees, all nodes one after another.

    A row goes left at a node where its feature is at most the threshold. A leaf is its own left and right child.

    Attributes:
        features: (m,) which feature a node asks for.
        thresholds: (m,).
        left: (m,) the node where it goes on.
        right: (m,).
        values: (m,) of a leaf: what it adds; else 0.
        roots: (t + 1,) where each tree begins, and m.
        base: what is added to the sum.
    """

    features: npt.NDArray[np.int16]
    thresholds: Floats
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    values: Floats
    roots: npt.NDArray[np.int32]
    base: float

    def __post_init__(self) -> None:
        size = len(self.features)
        if {len(getattr(self, name)) for name in _FIELDS[:-1]} != {size}:
            raise ValueError("the trees' arrays have different lengths")
        children = np.concatenate([self.left, self.right])
        inside = size and children.min() >= 0 and children.max() < size and self.features.min() >= 0
        if not inside or self.roots[0] != 0 or self.roots[-1] != size or (np.diff(self.roots) < 1).any():
            raise ValueError("the trees' nodes do not refer to each other")
        # A child stands behind its parent, so that every row arrives at a leaf.
        own = np.arange(size)
        leaf = (self.left == own) & (self.right == own)
        if not (leaf | ((self.left > own) & (self.right > own))).all():
            raise ValueError("the trees' nodes form a circle")

    def predict(self, features: npt.NDArray[Any]) -> Floats:
        """(n, k) features -> (n,) sums."""
        total = np.full(len(features), self.base)
        if len(features) <= _FEW:
            columns = np.ascontiguousarray(features.T, dtype=np.float64)
            for tree in self._from_roots_down(self.roots[:-1], columns):  # in this order, as for many rows
                total += tree
            return total
        nodes = list(zip(*(getattr(self, name).tolist() for name in _FIELDS[:-1]), strict=True))
        for begin in range(0, len(features), _CHUNK):
            columns = np.ascontiguousarray(features[begin : begin + _CHUNK].T, dtype=np.float64)
            for number, (root, end) in enumerate(pairwise(self.roots.tolist())):
                if end - root <= _SMALL:
                    total[begin : begin + _CHUNK] += _from_leaves_up(nodes, root, end, columns)
                else:
                    total[begin : begin + _CHUNK] += self._from_roots_down(self.roots[[number]], columns)[0]
        return total

    def _from_roots_down(self, roots: npt.NDArray[np.int32], columns: Floats) -> Floats:
        """(t, n) values of the trees at ``roots`` (t,): all rows go a level further at once, until all have arrived."""
        rows = np.arange(columns.shape[1])
        place = np.repeat(roots[:, None], len(rows), axis=1)
        while True:
            goes_left = columns[self.features[place], rows] <= self.thresholds[place]
            further = np.where(goes_left, self.left[place], self.right[place])
            if np.array_equal(further, place):
                values: Floats = self.values[place]
                return values
            place = further

    def state(self) -> State:
        """The arrays, thresholds and values at full precision."""
        return State({name: getattr(self, name) for name in _FIELDS}, {"base": self.base})

    @classmethod
    def from_state(cls, state: State) -> TreeEnsemble:
        """The ensemble that :meth:`state` describes; KeyError or ValueError if it describes none."""
        return cls(**{name: state.arrays[name] for name in _FIELDS}, base=float(state.facts["base"]))

    @classmethod
    def from_forest(cls, forest: Any) -> TreeEnsemble:
        """From a fitted random or extra-trees forest of scikit-learn: the mean of its trees.

        A forest compares in single precision; give :meth:`predict` float32 features for the very same answers.
        """
        parts = []
        for tree in (estimator.tree_ for estimator in forest.estimators_):
            left, right, value = tree.children_left, tree.children_right, tree.value[:, 0, 0]
            parts.append((tree.feature, tree.threshold, left, right, left < 0, value))
        return cls._join(parts, base=0.0, weight=1 / len(parts))

    @classmethod
    def from_boosting(cls, model: Any, *, trees: int | None = None) -> TreeEnsemble:
        """From a fitted HistGradientBoostingRegressor of scikit-learn (squared error, no categories).

        Args:
            model: the fitted model.
            trees: keep only the first so many.

        Raises:
            ConfigError: if the installed version of scikit-learn is none of :data:`SCIKIT_LEARN`.
        """
        from sklearn import __version__ as version

        (major, minor), beyond = SCIKIT_LEARN
        if not (major, minor) <= tuple(map(int, re.findall(r"\d+", version)[:2])) < beyond:  # as in 1.10rc1
            allowed = f">={major}.{minor},<{beyond[0]}.{beyond[1]}"
            raise ConfigError(
                f"scikit-learn {version}: its boosted trees cannot be read; install 'scikit-learn{allowed}'"
            )
        parts = []
        for (predictor,) in model._predictors[:trees]:  # the only place where scikit-learn keeps them
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            fields = ("feature_idx", "num_threshold", "left", "right")
            parts.append((*(nodes[name] for name in fields), leaf, nodes["value"]))
        return cls._join(parts, base=float(model._baseline_prediction.item()), weight=1.0)

    @classmethod
    def _join(cls, parts: Sequence[tuple[Any, ...]], *, base: float, weight: float) -> TreeEnsemble:
        roots = np.cumsum([0, *(len(part[0]) for part in parts)]).astype(np.int32)
        starts = np.repeat(roots[:-1], np.diff(roots))
        feature, threshold, left, right, leaf, value = map(np.concatenate, zip(*parts, strict=True))
        own = np.arange(len(leaf))
        return cls(
            features=np.where(leaf, 0, feature).astype(np.int16),
            thresholds=np.where(leaf, 0.0, threshold),
            left=np.where(leaf, own, left + starts).astype(np.int32),
            right=np.where(leaf, own, right + starts).astype(np.int32),
            values=np.where(leaf, value * weight, 0.0),
            roots=roots,
            base=base,
        )


def _from_leaves_up(nodes: Sequence[_Node], root: int, end: int, columns: Floats) -> Floats | float:
    """(n,) values of the tree of the nodes ``root`` to ``end``, from its leaves up; ``columns`` are (k, n) features.

    For small trees this is quicker than to follow every row on its way down.
    """
    found: dict[int, Floats | float] = {}
    for own in range(end - 1, root - 1, -1):
        feature, threshold, left, right, value = nodes[own]
        if left == own:
            found[own] = value
        else:
            found[own] = np.where(columns[feature] <= threshold, found.pop(left), found.pop(right))
    return found[root]
