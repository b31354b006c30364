"""How often 95% intervals cover the truth: of effects in studies, and of an attack's AUC and TPR at a fixed FPR.

Effects: each simulation has effects of each architecture's own (sd .015) and noise of each pair (sd .012) around -0.02;
beside ours, a percentile bootstrap of architectures.

Attacks: non-members' scores are normal, members' are so too, shifted to a wanted AUC or TPR, as wide, wider (as LiRA's
are) or narrower (as losses are), or shifted for half of the members only; and rounded, to a tenth or a half of a
standard deviation. Beside ours stand Clopper and Pearson's at the threshold found, as if it were known (of TPRs), and a
stratified percentile bootstrap that finds it anew (of both, normal scores, up to 1,000 records a side). Printed are
coverage and mean width of each, and the mean of TPRs as they are and corrected; at the end, the lowest and the highest
coverage of each size.

Run: python benchmarks/intervals.py [--simulations 4000] [--only effects,auc,rates,differences]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from nni_privacy.analysis.bootstrap import clustered_estimate
from nni_privacy.analysis.paired_auc import compare_aucs
from nni_privacy.attacks import RocCurve, clopper_pearson, roc_curve
from nni_privacy.attacks.intervals import auc_interval, rate_interval

Floats = npt.NDArray[np.float64]
Ends = tuple[float, float]

TRUTH, OWN, NOISE = -0.02, 0.015, 0.012
SIZES = ((3, 1), (3, 2), (5, 2), (8, 2), (10, 1), (10, 2), (10, 4), (30, 2))
"""Architectures and seeds."""

AUC_SIZES = ((20, 20), (50, 50), (50, 1000), (1000, 50), (200, 200), (1000, 1000), (5000, 5000))
"""Members and non-members."""
AUCS = (0.5, 0.6, 0.75, 0.9, 0.95, 0.99)
RATE_SIZES = (
    (0.1, 50, 50),
    (0.01, 200, 200),
    (0.01, 50, 1000),
    (0.01, 1000, 200),
    (0.01, 1000, 1000),
    (0.01, 5000, 5000),
    (0.001, 1000, 1000),
    (0.001, 5000, 5000),
)
"""FPR, members and non-members."""
RATES = (0.01, 0.05, 0.1, 0.2, 0.4)
ROUNDS = 300
"""Of the bootstraps."""
MOST = 1000
"""Records a side that are bootstrapped."""
NORMAL = NormalDist()
STEPS = 200
"""Half the number of steps that rounded scores can take."""


@dataclass(frozen=True)
class World:
    """Distributions of scores: non-members' are standard normal.

    Attributes:
        name: to be printed.
        spread: standard deviation of the members that are shifted.
        share: of the members that are; the others are as non-members.
        step: to which scores are rounded; 0: not at all.
    """

    name: str
    spread: float = 1.0
    share: float = 1.0
    step: float = 0.0

    def shift_for(self, truth: float, number: Callable[[float], float]) -> float | None:
        """The shift at which a number has a wanted value; None where there is none."""
        if not number(-15.0) < truth < number(15.0):
            return None
        return float(brentq(lambda shift: number(shift) - truth, -15.0, 15.0, xtol=1e-12))

    def above(self, threshold: float, shift: float) -> float:
        """Share of the members with scores above a threshold."""
        far = 1 - NORMAL.cdf((threshold - shift) / self.spread)
        return self.share * far + (1 - self.share) * (1 - NORMAL.cdf(threshold))

    def smooth_auc(self, shift: float) -> float:
        """AUC before rounding."""
        far = NORMAL.cdf(shift / (1 + self.spread**2) ** 0.5)
        return self.share * far + (1 - self.share) / 2

    def smooth_tpr(self, shift: float, fpr: float) -> float:
        """TPR before rounding."""
        return self.above(NORMAL.inv_cdf(1 - fpr), shift)

    def auc(self, shift: float) -> float:
        """The true AUC."""
        if not self.step:
            return self.smooth_auc(shift)
        member, other = self._lattice(shift)
        return float(np.sum(member * (1 - np.cumsum(other) + other / 2)))

    def tpr(self, shift: float, fpr: float) -> float:
        """The true TPR: the largest with an FPR of at most this."""
        if not self.step:
            return self.smooth_tpr(shift, fpr)
        member, other = (np.cumsum(side) for side in self._lattice(shift))
        allowed = np.flatnonzero(other <= fpr)
        return float(member[allowed[-1]]) if len(allowed) else 0.0

    def _lattice(self, shift: float) -> tuple[Floats, Floats]:
        """Probabilities of the rounded scores of members and non-members, from the highest down."""
        edges = (np.arange(STEPS, -STEPS - 1, -1) - 0.5) * self.step
        member = np.array([self.above(edge, shift) for edge in edges])
        other = np.array([1 - NORMAL.cdf(edge) for edge in edges])
        return np.diff(member, prepend=0.0), np.diff(other, prepend=0.0)

    def draw(self, shift: float, members: int, others: int, generator: np.random.Generator) -> Floats:
        """Scores of the members, then of the non-members."""
        scores = generator.normal(size=members + others)
        far = generator.random(members) < self.share
        scores[:members] = np.where(far, shift + self.spread * scores[:members], scores[:members])
        return np.round(scores / self.step) * self.step if self.step else scores


WORLDS = (
    World("normal"),
    World("wider", spread=2.0),
    World("narrower", spread=0.6),
    World("half", share=0.5),
    World("tenths", step=0.1),
    World("halves", step=0.5),
)


@dataclass
class Tally:
    """Coverage and width of one kind of interval."""

    inside: int = 0
    width: float = 0.0
    count: int = 0

    def add(self, ends: Ends, truth: float) -> None:
        """Counts one interval."""
        self.inside += ends[0] <= truth <= ends[1]
        self.width += ends[1] - ends[0]
        self.count += 1

    def __str__(self) -> str:
        return f"{self.inside / self.count:.3f} ({self.width / self.count:.3f})" if self.count else "      -      "


def percentile_covers(values: Floats, generator: np.random.Generator) -> bool:
    """Whether the ordinary bootstrap interval of the architectures' means covers the truth."""
    means = values.mean(axis=1)
    resampled = means[generator.integers(len(means), size=(999, len(means)))].mean(axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return bool(low <= TRUTH <= high)


def effects(simulations: int) -> None:
    """One line a size of a study."""
    print("architectures  seeds   ours  percentile")
    for architectures, seeds in SIZES:
        generator = np.random.default_rng([11, architectures, seeds])
        labels = np.repeat(np.arange(architectures), seeds).tolist()
        ours = percentile = 0
        for number in range(simulations):
            own = generator.normal(TRUTH, OWN, (architectures, 1))
            values = own + generator.normal(0, NOISE, (architectures, seeds))
            estimate = clustered_estimate(values.ravel(), labels, seed=number)
            ours += estimate.low <= TRUTH <= estimate.high
            percentile += percentile_covers(values, generator)
        print(f"{architectures:>13}{seeds:>7}{ours / simulations:>7.3f}{percentile / simulations:>12.3f}", flush=True)


def resampled_aucs(inside: Floats, outside: Floats, generator: np.random.Generator) -> Ends:
    """The stratified percentile bootstrap's interval of an AUC."""
    wins = (inside[:, None] > outside) + (inside[:, None] == outside) / 2
    times = [generator.multinomial(size, np.full(size, 1 / size), size=ROUNDS) for size in wins.shape]
    areas = ((times[0] @ wins) * times[1]).sum(axis=1) / wins.size
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(low), float(high)


def resampled_rates(inside: Floats, outside: Floats, fpr: float, generator: np.random.Generator) -> Ends:
    """That of a TPR, with a threshold of its own in each round."""
    others = np.sort(generator.choice(outside, (ROUNDS, len(outside))), axis=1)
    # The highest score that is accused too often: members above it are found.
    threshold = others[:, -1 - int(fpr * len(outside) + 1e-9)]
    found = (generator.choice(inside, (ROUNDS, len(inside))) > threshold[:, None]).mean(axis=1)
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def known_threshold(curve: RocCurve, fpr: float) -> Ends:
    """Clopper and Pearson's interval of the TPR at the threshold found."""
    point = curve.point_at(fpr)
    return clopper_pearson(int(curve.true_positives[0 if point is None else point]), curve.members)


def aucs(simulations: int) -> Iterator[tuple[str, float]]:
    """One line a world, AUC and size; gives size and coverage."""
    print("world     members others    AUC   ours           bootstrap")
    for members, others in AUC_SIZES:
        member = np.arange(members + others) < members
        for world in WORLDS:
            for wanted in AUCS:
                shift = world.shift_for(wanted, world.smooth_auc)
                if shift is None:
                    continue
                generator = np.random.default_rng([12, members, others, int(1000 * wanted)])
                truth, ours, bootstrap = world.auc(shift), Tally(), Tally()
                for _ in range(simulations):
                    scores = world.draw(shift, members, others, generator)
                    ours.add(auc_interval(roc_curve(scores, member)), truth)
                    if members * others <= 50_000 and world.name == "normal":
                        bootstrap.add(resampled_aucs(scores[member], scores[~member], generator), truth)
                print(f"{world.name:<10}{members:>7}{others:>7}{truth:>7.3f}   {ours}  {bootstrap}", flush=True)
                yield f"AUC, {members:,} + {others:,}", ours.inside / simulations


def rates(simulations: int) -> Iterator[tuple[str, float]]:
    """One line a world, TPR and size; gives size and coverage."""
    print("world        FPR members others    TPR   ours           known          bootstrap      found  corrected")
    for fpr, members, others in RATE_SIZES:
        member = np.arange(members + others) < members
        for world in WORLDS:
            for wanted in RATES:
                shift = world.shift_for(wanted, lambda shift, world=world, fpr=fpr: world.smooth_tpr(shift, fpr))
                if shift is None or shift < 0:
                    continue
                generator = np.random.default_rng([13, members, others, int(1000 * wanted)])
                truth, tallies, found = world.tpr(shift, fpr), [Tally(), Tally(), Tally()], np.zeros(2)
                for _ in range(simulations):
                    scores = world.draw(shift, members, others, generator)
                    curve = roc_curve(scores, member)
                    low, corrected, high = rate_interval(curve, fpr)
                    found += [curve.tpr_at(fpr) or 0.0, corrected]
                    tallies[0].add((low, high), truth)
                    tallies[1].add(known_threshold(curve, fpr), truth)
                    if max(members, others) <= MOST and world.name == "normal":
                        tallies[2].add(resampled_rates(scores[member], scores[~member], fpr, generator), truth)
                shown = "  ".join(map(str, tallies))
                means = "{:>7.3f}{:>9.3f}".format(*found / simulations)
                print(f"{world.name:<10}{fpr:>6}{members:>8}{others:>7}{truth:>7.3f}   {shown}{means}", flush=True)
                yield f"TPR at {fpr:.1%} FPR, {members:,} + {others:,}", tallies[0].inside / simulations


def differences(simulations: int) -> Iterator[tuple[str, float]]:
    """One line a size and AUCs, of two attacks on the same records whose scores correlate by .7."""
    print("members others   AUCs           ours")
    for members, others in AUC_SIZES:
        member = np.arange(members + others) < members
        for pair in ((0.5, 0.5), (0.6, 0.75), (0.75, 0.75), (0.9, 0.95), (0.95, 0.99)):
            shifts = np.array([2**0.5 * NORMAL.inv_cdf(auc) for auc in pair])
            generator, ours = np.random.default_rng([14, members, others, int(1000 * sum(pair))]), Tally()
            for _ in range(simulations):
                common, own = generator.normal(size=len(member)), generator.normal(size=(2, len(member)))
                scores = 0.7**0.5 * common + 0.3**0.5 * own + shifts[:, None] * member
                (found,) = compare_aucs(scores, member)
                ours.add((found.low, found.high), pair[0] - pair[1])
            print(f"{members:>7}{others:>7}   {pair[0]:.2f} - {pair[1]:.2f}   {ours}", flush=True)
            yield f"difference of AUCs, {members:,} + {others:,}", ours.inside / simulations


OF_ATTACKS = {"auc": aucs, "rates": rates, "differences": differences}


def main() -> None:
    """Simulates and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--only", default="effects,auc,rates,differences")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if "effects" in chosen:
        effects(options.simulations)
    coverage: dict[str, list[float]] = {}
    for name, simulate in OF_ATTACKS.items():
        for size, covered in simulate(options.simulations) if name in chosen else ():
            coverage.setdefault(size, []).append(covered)
    for size, found in coverage.items():
        print(f"{size:<40} covered: {min(found):.3f} to {max(found):.3f}, mean {np.mean(found):.3f}")


if __name__ == "__main__":
    main()
