"""Pareto fronts: what is not beaten in every respect by something else."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["non_dominated", "pareto_front"]


def non_dominated(costs: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point dominates, all objectives being minimised.

    ``a`` dominates ``b`` if it is nowhere larger and somewhere smaller. Equal points do not dominate each other, so
    that all copies of a point on the front are on the front. A point with a NaN is on no front and dominates nothing.

    Args:
        costs: ``(n, k)``-dim array, one point a row.

    Returns:
        ``(n,)``-dim boolean mask.

    >>> non_dominated([[0, 1], [1, 0], [1, 1], [0, 1]]).tolist()
    [True, True, False, True]
    """
    points = np.asarray(costs, dtype=float)
    if points.ndim != 2:
        raise ValueError(f"costs: expected an (n, k)-dim array, found shape {points.shape}")
    mask = np.zeros(len(points), dtype=bool)
    alive = np.flatnonzero(~np.isnan(points).any(axis=1))
    if not points.shape[1]:
        mask[alive] = True
        return mask
    alive = alive[np.lexsort(points[alive].T[::-1])]  # whoever dominates a point stands before it
    while alive.size:
        best = points[alive[0]]
        rest = points[alive]
        mask[alive[(rest == best).all(axis=1)]] = True
        alive = alive[(rest < best).any(axis=1)]
    return mask


def pareto_front(accuracy: ArrayLike, mia_auc: ArrayLike) -> list[int]:
    """Indices of the Pareto front: accuracy to be high, the attack's AUC to be low.

    Args:
        accuracy: ``(n,)``-dim.
        mia_auc: ``(n,)``-dim. Where either is NaN, the point is left out.

    Returns:
        The indices of the non-dominated points, from the highest accuracy (and AUC) to the lowest; equal points in
        their given order.

    >>> pareto_front([0.9, 0.8, 0.7, 0.9], [0.7, 0.6, 0.65, 0.7])
    [0, 3, 1]
    """
    up, down = np.asarray(accuracy, dtype=float), np.asarray(mia_auc, dtype=float)
    if up.ndim != 1 or up.shape != down.shape:
        raise ValueError(f"accuracy and mia_auc: expected equally long vectors, found shapes {up.shape}, {down.shape}")
    front = np.flatnonzero(non_dominated(np.column_stack([-up, down])))
    return [int(index) for index in front[np.argsort(-up[front], kind="stable")]]
