"""Selection of NSGA-II as pure functions of arrays; all objectives are costs, to be minimised.

Source: K. Deb, A. Pratap, S. Agarwal, T. Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II",
IEEE Transactions on Evolutionary Computation 6(2), 2002, section III.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["binary_tournament", "crowding_distance", "environmental_selection", "non_dominated_ranks"]

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


def non_dominated_ranks(costs: ArrayLike) -> Integers:
    """The front that each point belongs to (fast non-dominated sort, section III-A).

    ``a`` dominates ``b`` if it is nowhere larger and somewhere smaller. Front 0 holds what nothing dominates, front 1
    what only points of front 0 dominate, and so on; equal points share a front.

    Args:
        costs: ``(n, k)``-dim finite numbers, one point a row.

    Returns:
        ``(n,)``-dim ranks from 0, the best.

    Raises:
        ValueError: if the shape is another or a number is not finite.

    >>> non_dominated_ranks([[0, 1], [1, 0], [1, 1], [2, 2]]).tolist()
    [0, 0, 1, 2]
    """
    points = _checked(costs)
    first, second = points[:, None, :], points[None, :, :]
    dominates = np.asarray((first <= second).all(axis=2) & (first < second).any(axis=2))
    dominators = dominates.sum(axis=0)
    ranks = np.full(len(points), -1, dtype=np.intp)
    rank = 0
    while (ranks < 0).any():
        front = np.flatnonzero((ranks < 0) & (dominators == 0))
        ranks[front] = rank
        dominators = dominators - dominates[front].sum(axis=0)
        rank += 1
    return ranks


def crowding_distance(costs: ArrayLike) -> Floats:
    """How much room each point of one front has (section III-B).

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


def environmental_selection(costs: ArrayLike, size: int) -> Integers:
    """Which points survive: whole fronts, the best first, and of the last one those with the most room.

    Points of the last front leave one at a time, the most crowded first, and the room of the rest is measured anew:
    two close neighbours are then not both dropped for being close. Where they tie, the later point leaves.

    Args:
        costs: ``(n, k)``-dim finite numbers.
        size: how many survive, at least 0; all do where there are no more.

    Returns:
        ``(min(n, size),)``-dim indices in ascending order.

    Raises:
        ValueError: as :func:`non_dominated_ranks`.

    >>> environmental_selection([[0, 4], [4, 0], [1, 3], [1.5, 2], [5, 5]], 3).tolist()
    [0, 1, 3]
    """
    points = _checked(costs)
    ranks = non_dominated_ranks(points)
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


def binary_tournament(costs: ArrayLike, rng: np.random.Generator) -> int:
    """The better of two different points drawn at random, by the crowded comparison of section III-B.

    The lower front wins; on the same front more room wins; the first drawn wins a tie.

    Args:
        costs: ``(n, k)``-dim finite numbers, n at least 1.
        rng: draws the two.

    Returns:
        The winner's index.

    Raises:
        ValueError: as :func:`non_dominated_ranks`, or if there is no point.
    """
    points = _checked(costs)
    if not len(points):
        raise ValueError("costs: there is no point to choose")
    drawn = [int(index) for index in rng.permutation(len(points))[:2]]
    ranks = non_dominated_ranks(points)
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
