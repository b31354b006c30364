"""Lower bounds on the epsilon of differential privacy, from an attack's scores of one trained model.

Four bounds, each of which holds with the confidence that is asked for. They differ in what they assume:

- ``one_run``: nothing but that membership was drawn at random. An attacker who guesses about some records and abstains
  from the others is right so often only if privacy is weak (Steinke, Nasr and Jagielski, arXiv 2305.08846; Mahloujifar,
  Melis and Chaudhuri, arXiv 2410.22235: each bounds the same probability, the smaller bound counts).
- ``one_run_gaussian``: besides, that the trade-off curve is that of Gaussian noise (Dong, Roth and Su, arXiv
  1905.02383), as it nearly is of DP-SGD: the smallest mu that the same guesses do not refute (arXiv 2410.22235).
- ``threshold``: that records are independent trials. Clopper-Pearson on the rates at a threshold that is chosen on one
  half of the records and tested on the other (Jagielski et al., arXiv 2006.07709; Nasr et al., arXiv 2302.07956).
- ``gaussian``: both. Clopper-Pearson on the share of right guesses, which Gaussian noise of each mu limits.

Membership is drawn either by a coin for each record, as for canaries, or by dealing a fixed number to the members, as a
split does. Of dealt records, a random member and a random non-member make a pair: which of the two is the member is a
fair coin, whatever else is known. The two possible trainings then differ by one record that is put in the place of
another, two steps of adding or removing one. All epsilons here are for adding or removing one record. Where records are
independent there is no need for pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.metrics import roc_curve
from nni_privacy.errors import AuditError

__all__ = ["DELTA", "Drawn", "EpsilonBounds", "Guesses", "Known", "epsilon_bounds", "gaussian_accuracy"]
__all__ += ["gaussian_epsilon", "least_fpr", "paired", "threshold_epsilon"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Drawn = Literal["coins", "dealt"]
Scored = tuple[npt.ArrayLike, npt.ArrayLike]
Shares = tuple[float, float]

DELTA = 1e-5
"""Where nothing says at which delta epsilon is meant."""

GUESSES: tuple[tuple[Shares, float], ...] = (
    ((1 / 2, 1 / 2), 1 / 2),
    ((1 / 4, 1 / 4), 1 / 8),
    ((1 / 16, 1 / 16), 1 / 8),
    ((1 / 4, 0.0), 1 / 8),
    ((1 / 16, 0.0), 1 / 8),
)
"""Shares of the records that are guessed to be members (the highest scores) and non-members (the lowest), and the part
of the error that this way to guess has. They are fixed beforehand."""

MOST = 60.0
"""Epsilons and mus are looked for up to here: no number of records could show more."""

_GRID, _ROUNDS = 33, 4
_THRESHOLDS = 256
_NOTHING = 1e-15


@dataclass(frozen=True)
class Known:
    """A lower bound, and the attack that it is from.

    Attributes:
        epsilon: at least this, 0 or more; 0 says nothing.
        attack: name.
    """

    epsilon: float
    attack: str


@dataclass(frozen=True)
class EpsilonBounds:
    """What attacks show of a training's epsilon; see this module.

    Attributes:
        delta: at which epsilon is meant.
        confidence: with which each of the four holds, whatever the number of attacks.
        drawn: how membership was: by ``coins``, or ``dealt``.
        records: canaries, or pairs of a member and a non-member, of the attack that has the most.
        one_run: without any further assumption.
        one_run_gaussian: if the trade-off curve is that of Gaussian noise.
        threshold: if records are independent trials.
        gaussian: if both is so.
    """

    delta: float
    confidence: float
    drawn: Drawn
    records: int
    one_run: Known
    one_run_gaussian: Known
    threshold: Known
    gaussian: Known

    def __str__(self) -> str:
        what = "canaries" if self.drawn == "coins" else "pairs of a member and a non-member"
        return (
            f"epsilon is at least {self.one_run.epsilon:.3f} with {self.confidence:.0%} confidence at delta "
            f"{self.delta:g} ({self.one_run.attack}, {self.records} {what}); at least "
            f"{self.one_run_gaussian.epsilon:.3f} if its noise is Gaussian, {self.threshold.epsilon:.3f} if records "
            f"are independent, {self.gaussian.epsilon:.3f} if both"
        )


def epsilon_bounds(
    attacks: Mapping[str, Scored],
    *,
    delta: float = DELTA,
    drawn: Drawn = "dealt",
    confidence: float = 0.95,
    seed: int = 0,
) -> EpsilonBounds:
    """The best of several attacks' lower bounds, corrected for their number (Bonferroni).

    Args:
        attacks: name to scores ``(n,)``, higher = more likely a member, and membership ``(n,)``. Scores must be
            functions of the trained model and of public data: an attack that has learned from the membership of records
            that it is judged by would know what it is to find out.
        delta: at which epsilon is meant, between 0 and 1.
        drawn: whether membership of each record was drawn by a fair coin (``coins``), or so many were dealt to either
            side at random (``dealt``).
        confidence: of each bound, between 0 and 1.
        seed: of pairs, halves, and the order of equal scores.

    Raises:
        AuditError: if there is no attack, an option is out of its range, or scores are not valid.
    """
    if not attacks:
        raise AuditError("attacks is {}: expected one or more")
    if not 0 < delta < 1 or not 0 < confidence < 1:
        raise AuditError(f"delta is {delta}, confidence {confidence}: allowed are numbers between 0 and 1")
    level = (1 - confidence) / len(attacks)
    found: list[tuple[Known, ...]] = []
    records = 0
    for name, (scores, is_member) in attacks.items():
        roc_curve(scores, is_member)  # checks them
        values, member = np.asarray(scores, dtype=np.float64), np.asarray(is_member).astype(np.bool_)
        generator, dealt = np.random.default_rng(seed), drawn == "dealt"
        played = paired(values, member, generator) if dealt else (values, member)
        records = max(records, len(played[0]))
        known = (
            *_one_run(*played, delta=delta, level=level, swapped=dealt, generator=generator),
            threshold_epsilon(values, member, delta=delta, level=level, seed=seed),
            _independent(values, member, delta=delta, level=level, dealt=dealt, generator=generator),
        )
        found.append(tuple(Known(one, name) for one in known))
    best = [max(several, key=lambda one: one.epsilon) for several in zip(*found, strict=True)]
    return EpsilonBounds(delta, confidence, drawn, records, *best)


def _one_run(
    scores: Floats, coins: Flags, *, delta: float, level: float, swapped: bool, generator: np.random.Generator
) -> tuple[float, float]:
    """The best over all ways to guess, with any trade-off curve and with Gaussian noise's."""
    ways = [(Guesses.of(scores, coins, shares, generator), part * level) for shares, part in GUESSES]
    options: dict[str, Any] = {"delta": delta, "swapped": swapped}
    return (
        max(way.epsilon(**options, level=error) for way, error in ways),
        max(way.epsilon(**options, level=error, gaussian=True) for way, error in ways),
    )


def _independent(
    scores: Floats, is_member: Flags, *, delta: float, level: float, dealt: bool, generator: np.random.Generator
) -> float:
    """The best over all ways to guess about records that are independent, with Gaussian noise's trade-off curve."""
    if dealt:  # as many of either side: a guess is right half of the time without a look
        sides = [generator.permutation(np.flatnonzero(side)) for side in (is_member, ~is_member)]
        chosen = np.concatenate([side[: min(map(len, sides))] for side in sides])
        scores, is_member = scores[chosen], is_member[chosen]
    mus = [
        Guesses.of(scores, is_member, shares, generator).independent_mu(shares, level=part * level)
        for shares, part in GUESSES
    ]
    return gaussian_epsilon(max(mus), delta)


def paired(scores: Floats, is_member: Flags, generator: np.random.Generator) -> tuple[Floats, Flags]:
    """Differences of scores within random pairs of a member and a non-member, and which of the two is the member.

    Returns:
        ``(p,)``: score of the first of a pair less that of the second; ``(p,)``: whether the first is the member. As
        many pairs as the smaller side has records.
    """
    inside, outside = (generator.permutation(scores[side]) for side in (is_member, ~is_member))
    count = min(len(inside), len(outside))
    first = generator.random(count) < 0.5
    gaps = inside[:count] - outside[:count]
    return np.where(first, gaps, -gaps), first


@dataclass(frozen=True)
class Guesses:
    """Guesses about the coins that one training's membership was drawn by.

    Attributes:
        right: how many are right.
        made: how many there are, chosen without a look at the coins; the others were abstained from.
        coins: how many there are in all.

    Raises:
        AuditError: unless 0 <= right <= made <= coins.
    """

    right: int
    made: int
    coins: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.made <= self.coins:
            raise AuditError(
                f"{self.right} right of {self.made} guesses about {self.coins} coins: "
                "expected 0 <= right <= guesses <= coins"
            )

    @classmethod
    def of(cls, scores: Floats, coins: Flags, shares: Shares, generator: np.random.Generator) -> Guesses:
        """Guesses that the highest scores are members and the lowest are not; equal scores are in random order.

        Args:
            scores: ``(n,)``, higher = more likely a member.
            coins: ``(n,)``, the truth.
            shares: of the records, guessed to be members and guessed not to be.
            generator: of the order of equal scores.
        """
        order = np.lexsort((generator.random(len(scores)), -scores))
        top, bottom = (int(share * len(scores)) for share in shares)
        right = np.count_nonzero(coins[order[:top]]) + np.count_nonzero(~coins[order[len(scores) - bottom :]])
        return cls(int(right), top + bottom, len(scores))

    def refute(self, curve: Callable[[Floats], Floats], level: float, levels: int) -> Flags:
        """Whether so many right guesses have at most the probability ``level``, for several trade-off curves.

        Mahloujifar et al., arXiv 2410.22235: let p_i be the probability that i of g guesses about m coins are right,
        R_i the sum of j p_j / m over j >= i, and H_i that of (g - j) p_j / m. Turning one coin makes a right guess
        wrong, so H_i is at least the least false positive rate of a test of power R_{i+1}. From p = ``level`` at the
        observed count downwards, this gives the least that each p_i must be; if their sum exceeds 1, so large a p was
        not possible.

        Args:
            curve: see :func:`least_fpr`.
            level: a probability.
            levels: how many curves ``curve`` has.

        Returns:
            ``(levels,)``.
        """
        whole = self.made / self.coins
        rest = np.full(levels, level * (self.made - self.right) / self.coins)
        power = np.full(levels, level * self.right / self.coins)
        for count in range(self.right - 1, -1, -1):
            needed = np.maximum(rest, curve(np.minimum(power, 1.0)))
            grown = needed - rest
            rest, power = needed, power + grown * (count / (self.made - count))
            # What has run over stays so; and what hardly grows any more will not run over.
            if not ((grown > _NOTHING) & (rest + power <= whole)).any():
                break
        return np.asarray(rest + power > whole)

    def tail(self, epsilon: float, delta: float) -> float:
        """The most that the probability of so many right guesses can be with (epsilon, delta)-DP.

        Steinke et al., arXiv 2305.08846: a binomial tail, and 2 m delta times the largest mean of the probabilities
        just below the observed count.
        """
        from scipy.special import bdtrc  # here, as all of scipy: attacks need numpy only

        if not self.right:
            return 1.0
        share = 1 / (1 + math.exp(-epsilon))
        tail = float(bdtrc(self.right - 1, self.made, share))
        # Ten deviations below the mean all probability has been met, and means only fall.
        reach = math.ceil(max(0.0, self.right - self.made * share) + 10 * math.sqrt(self.made))
        below = np.arange(1, min(self.right, reach) + 1)
        lower = np.where(below < self.right, bdtrc(np.maximum(self.right - below - 1, 0), self.made, share), 1.0)
        return min(1.0, tail + 2 * self.coins * delta * float(np.max((lower - tail) / below)))

    def epsilon(self, *, delta: float, level: float = 0.05, swapped: bool = False, gaussian: bool = False) -> float:
        """The largest epsilon that the guesses refute with an error of ``level``; 0 if they refute none.

        Args:
            delta: at which epsilon is meant.
            level: error.
            swapped: whether a coin chose between two records, rather than between a record and none.
            gaussian: whether the trade-off curve is taken to be that of Gaussian noise.
        """
        if not self.made:
            return 0.0

        def refuted(grid: Floats) -> Flags:
            return self.refute(least_fpr(grid, delta=delta, swapped=swapped, gaussian=gaussian), level, len(grid))

        def unlikely(grid: Floats) -> Flags:
            both = zip(*(part.tolist() for part in _meant(grid, delta, swapped)), strict=True)
            verdicts = takewhile(bool, (self.tail(*one) <= level for one in both))
            return np.arange(len(grid)) < sum(verdicts)

        if gaussian:
            return gaussian_epsilon(_largest(refuted), delta)
        # Both bound the same probability: that one of them is below the level is enough.
        return max(_largest(refuted), _largest(unlikely))

    def independent_mu(self, shares: Shares, *, level: float = 0.05) -> float:
        """The largest mu of Gaussian noise that the guesses refute if they are independent; 0 if they refute none.

        Args:
            shares: as of :meth:`of`.
            level: error.
        """
        from scipy.optimize import brentq
        from scipy.special import betaincinv

        if not self.right:
            return 0.0
        low = float(betaincinv(self.right, self.made - self.right + 1, level))  # Clopper and Pearson's
        if low <= 0.5:
            return 0.0
        made = [share for share in (int(share * self.coins) / self.coins for share in shares) if share]

        def missing(mu: float) -> float:
            return sum(share * gaussian_accuracy(mu, share) for share in made) / sum(made) - low

        return float(brentq(missing, 0.0, MOST)) if missing(MOST) > 0 else MOST


def gaussian_accuracy(mu: float, share: float) -> float:
    """The largest share of right guesses that Gaussian noise allows, of those about the likeliest ``share`` members.

    Every other record is a member. By symmetry it is that of guesses about the likeliest non-members, too.

    Args:
        mu: signal-to-noise ratio, 0 or more.
        share: of all records, above 0 and at most 1/2.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    threshold = brentq(lambda t: (ndtr(mu - t) + ndtr(-t)) / 2 - share, -40.0, mu + 40.0)
    return float(ndtr(mu - threshold)) / (2 * share)


def _largest(refuted: Callable[[Floats], Flags]) -> float:
    """The end of the parameters, from 0, that are refuted; 0 if none is."""
    low, high = 0.0, MOST
    for _ in range(_ROUNDS):
        grid = np.linspace(low, high, _GRID)
        verdicts = refuted(grid)
        first = len(grid) - 1 if verdicts.all() else int(np.argmin(verdicts))
        if not first:
            break
        low, high = float(grid[first - 1]), float(grid[first])
    return low


def _meant(epsilon: Floats, delta: float, swapped: bool) -> tuple[Floats, Floats]:
    """(epsilon, delta) of one record added or removed as what holds for the two trainings that a coin chose from."""
    if swapped:  # removed, and another one added
        return 2 * epsilon, np.minimum(1.0, (1 + np.exp(epsilon)) * delta)
    return epsilon, np.full_like(epsilon, delta)


def least_fpr(
    parameter: Floats, *, delta: float = 0.0, swapped: bool = False, gaussian: bool = False
) -> Callable[[Floats], Floats]:
    """The smallest false positive rate that a test of a true positive rate can have, for several levels of privacy.

    Args:
        parameter: ``(g,)``, epsilons; with ``gaussian`` mus, the signal-to-noise ratios.
        delta: of all epsilons.
        swapped: whether the tested trainings differ by a record that is put in the place of another.
        gaussian: see ``parameter``.

    Returns:
        A function of true positive rates ``(g,)``, one for each level.
    """
    if gaussian:
        from scipy.special import ndtr, ndtri

        mu = parameter * (2 if swapped else 1)
        return lambda tpr: np.asarray(ndtr(ndtri(tpr) - mu))
    epsilon, deltas = _meant(parameter, delta, swapped)
    odds = np.exp(epsilon)
    return lambda tpr: np.maximum(0.0, np.maximum((tpr - deltas) / odds, 1 - deltas - odds * (1 - tpr)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The epsilon at ``delta`` of Gaussian noise of signal-to-noise ratio ``mu`` (arXiv 1905.02383, corollary 2.13).

    >>> round(gaussian_epsilon(1.0, 1e-5), 3)
    4.377
    """
    from scipy.optimize import brentq
    from scipy.special import log_ndtr, ndtr

    if mu <= 0:
        return 0.0

    def missing(epsilon: float) -> float:
        second = math.exp(epsilon + float(log_ndtr(-epsilon / mu - mu / 2)))
        return float(ndtr(mu / 2 - epsilon / mu)) - second - delta

    if missing(0.0) <= 0:
        return 0.0
    high = 1.0
    while missing(high) > 0:
        high *= 2
    return float(brentq(missing, 0.0, high))


def threshold_epsilon(
    scores: npt.ArrayLike, is_member: npt.ArrayLike, *, delta: float, level: float = 0.05, seed: int = 0
) -> float:
    """Clopper-Pearson's lower bound at the best threshold: chosen on one half of the records, tested on the other.

    The larger of log((TPR - delta) / FPR), for records above the threshold, and log((TNR - delta) / FNR), for those
    below; which of them is chosen on the first half, too. Either rate has half of the error.

    Args:
        scores: ``(n,)``, higher = more likely a member.
        is_member: ``(n,)`` booleans.
        delta: at which epsilon is meant.
        level: error.
        seed: of the halves.

    Returns:
        0 or more; 0 where one side has a single record.
    """
    values, member = np.asarray(scores, dtype=np.float64), np.asarray(is_member).astype(np.bool_)
    generator = np.random.default_rng([seed, 1])
    sides = [generator.permutation(values[side]) for side in (member, ~member)]
    if min(map(len, sides)) < 2:
        return 0.0
    halves = [(inside[::2], outside[::2]) for inside, outside in (sides, [side[1:] for side in sides])]
    candidates = np.unique(np.quantile(np.concatenate(halves[0]), np.linspace(0, 1, _THRESHOLDS), method="lower"))
    first = _bounds_at(candidates, *halves[0], delta=delta, level=level)
    side, place = np.unravel_index(int(np.argmax(first)), first.shape)
    tested = _bounds_at(candidates[place : place + 1], *halves[1], delta=delta, level=level)
    return float(max(0.0, tested[side, 0]))


def _bounds_at(thresholds: Floats, inside: Floats, outside: Floats, *, delta: float, level: float) -> Floats:
    """Lower bounds on epsilon ``(2, t)`` at each threshold, from the records above it and from those below."""
    from scipy.special import betaincinv

    def ends(hits: Any, wrong: Any, hit_trials: int, wrong_trials: int) -> Any:
        low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), hit_trials - hits + 1, level / 2), 0.0)
        high = betaincinv(wrong + 1, np.maximum(wrong_trials - wrong, 1), 1 - level / 2)
        return low, np.where(wrong < wrong_trials, high, 1.0)

    above = [len(side) - np.searchsorted(np.sort(side), thresholds) for side in (inside, outside)]
    found = [
        ends(above[0], above[1], len(inside), len(outside)),
        ends(len(outside) - above[1], len(inside) - above[0], len(outside), len(inside)),
    ]
    return np.array([np.log(np.maximum(low - delta, 1e-300) / high) for low, high in found])
