"""Regression trees with a linear regression in each leaf, bagged: fitted by scikit-learn, kept as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sitsfusion.errors import MissingExtraError

Array = NDArray[np.float64]
_RIDGE = 1.0
_LEAF_SAMPLES = 10
# Columns of `Forest.leaves` behind the slopes: intercept, lowest and highest value that a leaf may give.
_EXTRA = 3


@dataclass(frozen=True)
class TreeRules:
    """How trees are grown: leaves at most, trees in the bag, bootstrap or not, linear regression in the leaves or
    their mean, how far a leaf may extrapolate as a share of its range.
    """

    leaves: int
    trees: int = 10
    bootstrap: bool = True
    linear: bool = True
    extrapolation: float = 0.25


@dataclass(frozen=True, eq=False)
class Forest:
    """Bagged trees as arrays, k trees of at most n nodes.

    `split` [k n 2]: feature (-1: a leaf) and threshold; `children` [k n 2]: node if value <= threshold, else;
    in a leaf: the row of `leaves` twice. `leaves` [k l c + 3]: slopes, intercept, lowest and highest value.
    """

    split: Array
    children: NDArray[np.int32]
    leaves: Array

    def predict(self, x: Array) -> Array:
        """Mean of the trees for samples [m c]: [m]."""
        total = np.zeros(len(x))
        for split, children, leaves in zip(self.split, self.children, self.leaves, strict=True):
            rows = leaves[_leaf_rows(split, children, x)]
            value = (rows[:, :-_EXTRA] * x).sum(1) + rows[:, -3]
            total += np.clip(value, rows[:, -2], rows[:, -1])
        return total / len(self.split)


def fit_forest(x: Array, y: Array, weights: Array, rules: TreeRules, seed: tuple[int, ...]) -> Forest:
    """Trees for samples `x` [m c] of values `y` [m] and weights [m]; drawings depend on `seed` only.

    The bootstrap multiplies weights by how often a sample was drawn. Samples of weight 0 have no say in the splits
    but enter the leaf regressions, as in pyDMS.

    Raises:
        MissingExtraError: no scikit-learn.
    """
    random = np.random.default_rng(seed)
    made = []
    for _ in range(rules.trees):
        counts = np.bincount(random.integers(0, len(y), len(y)), minlength=len(y)) if rules.bootstrap else 1.0
        made.append(_grow(x, y, weights * counts, rules))
    nodes, leaves = 2 * rules.leaves - 1, rules.leaves
    return Forest(
        np.stack([_padded(split, nodes) for split, _, _ in made]),
        np.stack([_padded(children, nodes) for _, children, _ in made]).astype(np.int32),
        np.stack([_padded(found, leaves) for _, _, found in made]),
    )


def _grow(x: Array, y: Array, weights: Array, rules: TreeRules) -> tuple[Array, NDArray[Any], Array]:
    """One tree: split [n 2], children [n 2], leaves [l c+3]."""
    if not (weights > 0).any():
        weights = np.ones_like(y)
    tree = _regressor()(max_leaf_nodes=rules.leaves, min_samples_leaf=_LEAF_SAMPLES, random_state=0)
    tree.fit(x.astype(np.float32), y, sample_weight=weights)
    inner = tree.tree_
    is_leaf = inner.children_left < 0
    values = np.unique(inner.value[is_leaf, 0, 0])  # leaves that predict the same value are one group
    group = np.searchsorted(values, inner.value[:, 0, 0])
    children = np.where(is_leaf[:, None], group[:, None], np.stack([inner.children_left, inner.children_right], 1))
    split = np.stack([np.where(is_leaf, -1, inner.feature), inner.threshold], 1)
    member = group[tree.apply(x.astype(np.float32))]
    rows = [_leaf_row(x[member == g], y[member == g], value, rules) for g, value in enumerate(values)]
    return split, children, np.stack(rows)


def _leaf_row(x: Array, y: Array, value: float, rules: TreeRules) -> Array:
    if not rules.linear:
        return np.array([*np.zeros(x.shape[1]), value, value, value])
    centre, middle = x.mean(0), y.mean()
    moved = x - centre
    slopes = np.linalg.solve(moved.T @ moved + _RIDGE * np.eye(x.shape[1]), moved.T @ (y - middle))
    margin = rules.extrapolation * (y.max() - y.min())
    return np.array([*slopes, middle - centre @ slopes, y.min() - margin, y.max() + margin])


def _leaf_rows(split: Array, children: NDArray[np.int32], x: Array) -> NDArray[np.int64]:
    """Row of the leaf that each sample falls into: [m]."""
    seen = x.astype(np.float32)
    node = np.zeros(len(x), np.int64)
    feature = split[:, 0].astype(np.int64)
    moving = feature[node] >= 0
    while moving.any():
        at = node[moving]
        goes_right = seen[moving, feature[at]] > split[at, 1]
        node[moving] = children[at, goes_right.astype(np.int64)]
        moving = feature[node] >= 0
    found: NDArray[np.int64] = children[node, 0].astype(np.int64)
    return found


def _padded(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """More rows up to a count; nodes that no sample reaches are leaves, so that they end a search."""
    return np.concatenate([rows, np.full((count - len(rows), rows.shape[1]), -1, rows.dtype)])


def _regressor() -> Any:
    try:
        from sklearn.tree import DecisionTreeRegressor  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("dms", "classical") from error
    return DecisionTreeRegressor
