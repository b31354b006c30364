"""Pareto fronts, their hypervolume, and the selection of NSGA-II, as pure functions of arrays.

Fronts and hypervolume are of accuracy and AUC; for NSGA-II all objectives are costs, to be minimised: K. Deb, A.
Pratap, S. Agarwal, T. Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Transactions on
Evolutionary Computation 6(2), 2002, section III.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["REFERENCE", "binary_tournament", "crowding_distance", "environmental_selection", "hypervolume"]
__all__ += ["hypervolume_growth", "non_dominated", "non_dominated_ranks", "pareto_front"]

REFERENCE = (0.0, 1.0)
"""Accuracy and AUC than which nothing is worse: never right, and every member told from every non-member. It does not
depend on the run, so runs on the same data can be compared."""

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


def non_dominated(costs: ArrayLike) -> NDArray[np.bool_]:
    """Mask of the points that no other point dominates, all objectives being minimised.

    ``a`` dominates ``b`` if it is nowhere larger and somewhere smaller. Equal points do not dominate each other, so
    that all copies of a point on the front are on the front. A point with a NaN is on no front and dominates nothing.

    Args:
        costs: ``(n, k)``-dim array, one point per row.

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
    if points.shape[1] == 2 and alive.size:
        second = points[alive, 1]
        best_so_far = np.minimum.accumulate(second)
        first = np.flatnonzero(np.append(True, second[1:] < best_so_far[:-1]))  # of each copy of a point on the front
        best = points[alive[first]][np.searchsorted(first, np.arange(len(alive)), side="right") - 1]
        mask[alive[(points[alive] == best).all(axis=1)]] = True
        return mask
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
        if ((up[front] >= up[index]) & (down[front] <= down[index])).any():  # it adds nothing
            grown[index] = grown[index - 1]
            continue
        seen = np.append(front, index)
        front = seen[pareto_front(up[seen], down[seen])]
        grown[index] = hypervolume(up[front], down[front], reference=reference)
    return np.maximum.accumulate(grown)


def non_dominated_ranks(costs: ArrayLike, violations: ArrayLike | None = None) -> Integers:
    """The front that each point belongs to (non-dominated sort, section III-A).

    Front 0 holds what nothing dominates, front 1 what only points of front 0 dominate, and so on; equal points share a
    front. Infeasible points, those with a violation, come behind all feasible ones, by rising violation (section VI,
    constrained domination); where all are infeasible, rank 0 is that of the least violation.

    Args:
        costs: ``(n, k)``-dim finite numbers, one point per row.
        violations: ``(n,)``-dim, at least 0 and perhaps infinite; 0 of a feasible point. By default all are feasible.

    Returns:
        ``(n,)``-dim ranks from 0, the best.

    Raises:
        ValueError: if the shape is another or a number is not finite.

    >>> non_dominated_ranks([[0, 1], [1, 0], [1, 1], [2, 2]]).tolist()
    [0, 0, 1, 2]
    """
    points = _checked(costs)
    ranks = np.zeros(len(points), dtype=np.intp)
    off = np.zeros(len(points)) if violations is None else np.asarray(violations, dtype=np.float64)
    left = np.flatnonzero(off == 0)
    infeasible = np.flatnonzero(off != 0)
    ranks[infeasible] = np.unique(off[infeasible], return_inverse=True)[1]
    while left.size:
        ranks[infeasible] += 1
        left = left[~non_dominated(points[left])]
        ranks[left] += 1
    return ranks


def crowding_distance(costs: ArrayLike) -> Floats:
    """Crowding distance of each point of one front (section III-B): how much room it has.

    Per objective, a point gets the difference between its two neighbours' costs, divided by the range of the front;
    the ends of the front get infinity. Of several equal points only one keeps its room and the others get 0: they hold
    nothing that it does not. (In the paper's version two copies of an end would both count as infinitely precious.)

    Args:
        costs: ``(n, k)``-dim finite numbers, the points of one front.

    Returns:
        ``(n,)``-dim distances in [0, inf]; more is better.

    Raises:
        ValueError: as :func:`non_dominated_ranks`.

    >>> crowding_distance([[0, 4], [1, 2], [4, 0], [1, 2]]).tolist()
    [inf, 2.0, inf, 0.0]
    """
    points = _checked(costs)
    distances = np.zeros(len(points))
    if not len(points):
        return distances
    _, first = np.unique(points, axis=0, return_index=True)
    different = points[first]
    room = np.zeros(len(first))
    for column in different.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        room[order[[0, -1]]] = np.inf
        if ordered[-1] > ordered[0]:
            room[order[1:-1]] += (ordered[2:] - ordered[:-2]) / (ordered[-1] - ordered[0])
    distances[first] = room
    return distances


def environmental_selection(costs: ArrayLike, size: int, violations: ArrayLike | None = None) -> Integers:
    """Indices of the points that survive: whole fronts, the best first, and of the last one those with the most room.

    Points of the last front leave one at a time, the most crowded first, and the room of the rest is measured anew:
    two close neighbours are then not both dropped for being close. Where they tie, the later point leaves.

    Args:
        costs: ``(n, k)``-dim finite numbers.
        size: how many survive, at least 0; all do where there are no more.
        violations: as :func:`non_dominated_ranks`.

    Returns:
        ``(min(n, size),)``-dim indices in ascending order.

    Raises:
        ValueError: as :func:`non_dominated_ranks`.

    >>> environmental_selection([[0, 4], [4, 0], [1, 3], [1.5, 2], [5, 5]], 3).tolist()
    [0, 1, 3]
    """
    points = _checked(costs)
    ranks = non_dominated_ranks(points, violations)
    kept: list[int] = []
    for rank in range(int(ranks.max(initial=-1)) + 1):
        front = np.flatnonzero(ranks == rank)
        while len(kept) + len(front) > size:
            distances = crowding_distance(points[front])
            front = np.delete(front, len(front) - 1 - int(np.argmin(distances[::-1])))
        kept.extend(int(index) for index in front)
        if len(kept) >= size:
            break
    return np.sort(np.array(kept, dtype=np.intp))


def binary_tournament(costs: ArrayLike, rng: np.random.Generator, violations: ArrayLike | None = None) -> int:
    """The better of two different points drawn at random, by the crowded comparison of section III-B.

    The lower front wins; on the same front more room wins; the first drawn wins a tie.

    Args:
        costs: ``(n, k)``-dim finite numbers, n at least 1.
        rng: draws the two.
        violations: as :func:`non_dominated_ranks`.

    Returns:
        The winner's index.

    Raises:
        ValueError: as :func:`non_dominated_ranks`, or if there is no point.
    """
    points = _checked(costs)
    if not len(points):
        raise ValueError("costs: there is no point to choose")
    drawn = [int(index) for index in rng.permutation(len(points))[:2]]
    ranks = non_dominated_ranks(points, violations)
    room = np.zeros(len(points))
    for rank in {int(ranks[index]) for index in drawn}:
        front = ranks == rank
        room[front] = crowding_distance(points[front])
    return min(drawn, key=lambda index: (ranks[index], -room[index]))


def _checked(costs: ArrayLike) -> Floats:
    points = np.asarray(costs, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"costs: expected an (n, k)-dim array, found shape {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError("costs: expected finite numbers only")
    return points
