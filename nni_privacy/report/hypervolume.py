"""Hypervolume of accuracy and AUC: how good a set of trade-offs is, as one number."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nni_privacy.report.pareto import pareto_front

__all__ = ["REFERENCE", "hypervolume", "hypervolume_growth"]

REFERENCE = (0.0, 1.0)
"""Accuracy and AUC than which nothing is worse: never right, and every member told from every non-member. It does not
depend on the run, so runs on the same data can be compared."""


def hypervolume(accuracy: ArrayLike, mia_auc: ArrayLike, *, reference: tuple[float, float] = REFERENCE) -> float:
    """Area that the points dominate, up to a reference point; exact.

    ``HV = area of {(a, u): ref_accuracy <= a <= accuracy_i and mia_auc_i <= u <= ref_auc for some point i}``

    Source: E. Zitzler, L. Thiele, "Multiobjective optimization using evolutionary algorithms: a comparative case
    study", PPSN 1998.

    Args:
        accuracy: ``(n,)``-dim, to be high.
        mia_auc: ``(n,)``-dim, to be low. Where either is NaN, the point is left out.
        reference: accuracy and AUC of the reference point; points that are not better in both add nothing.

    Returns:
        The area: 0 without a point better than the reference, and with the default reference at most 1, which is
        reached by an accuracy of 1 at an AUC of 0 only. Guessing (AUC 0.5) at accuracy 1 has 0.5.

    Raises:
        ValueError: if the two are not equally long vectors.

    >>> hypervolume([0.9, 0.8], [0.75, 0.5])
    0.625
    """
    up, down = np.asarray(accuracy, dtype=float), np.asarray(mia_auc, dtype=float)
    front = pareto_front(up, down)[::-1]  # accuracy and AUC rising
    widths = np.diff(np.maximum(up[front], reference[0]), prepend=reference[0])
    heights = np.maximum(reference[1] - down[front], 0.0)
    return float(widths @ heights)


def hypervolume_growth(
    accuracy: ArrayLike, mia_auc: ArrayLike, *, reference: tuple[float, float] = REFERENCE
) -> NDArray[np.float64]:
    """The hypervolume after each point, in the given order; arguments as :func:`hypervolume`.

    Returns:
        ``(n,)``-dim, never falling; a point with a NaN leaves it as it was.
    """
    up, down = np.asarray(accuracy, dtype=float), np.asarray(mia_auc, dtype=float)
    grown = np.zeros(len(up))
    front = np.zeros(0, dtype=np.intp)
    for index in range(len(up)):
        seen = np.append(front, index)
        front = seen[pareto_front(up[seen], down[seen])]
        grown[index] = hypervolume(up[front], down[front], reference=reference)
    return np.maximum.accumulate(grown)
