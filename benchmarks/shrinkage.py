"""The winner's curse of a simulated search, and what confirming and shrinking leave of it.

    python benchmarks/shrinkage.py [--searches 20000] [--architectures 40] [--top 5] [--seeds 5]

Numbers are in standard deviations of one training; rows differ by how much the architectures' true values scatter.
"""

from __future__ import annotations

import argparse

import numpy as np

from nni_privacy.analysis.shrinkage import expected_minimum, shrink, within_variance


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=20_000)
    parser.add_argument("--architectures", type=int, default=40)
    parser.add_argument("--top", type=int, default=5, help="architectures that are trained anew")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each of them")
    args = parser.parse_args()
    print(f"expected of the lowest of {args.architectures} equal ones: {expected_minimum(args.architectures):+.3f}\n")
    print("true scatter   error of the lowest: searched, shrunken (s.e.)   root mean square of all   interval covers")
    for between in (0.0, 0.3, 0.5, 0.7, 1.0, 2.0):
        rng = np.random.default_rng(0)
        errors = np.array([simulate(rng, between, args) for _ in range(args.searches)])
        searched, shrunken, square, covered = errors.mean(axis=0)
        error = errors[:, 1].std() / args.searches**0.5
        print(f"{between:12.1f} {searched:+23.3f} {shrunken:+19.3f} ({error:.3f}) {square**0.5:21.3f} {covered:17.1%}")


def simulate(rng: np.random.Generator, between: float, args: argparse.Namespace) -> tuple[float, float, float, bool]:
    """Errors of one search: the lowest as searched and shrunken, all squared, and if the lowest's interval is right."""
    truths = rng.normal(0.0, between, args.architectures)
    searched = truths + rng.normal(size=args.architectures)
    again = rng.normal(size=(args.top, args.seeds)) + rng.normal(size=args.seeds)
    variance, dof = within_variance(again)
    found, lowest = shrink(searched, variance, dof=dof), searched.argmin()
    estimates, margins = found.estimates(searched), 1.96 * found.standard_errors(searched)
    wrong = estimates - truths
    return searched[lowest] - truths[lowest], wrong[lowest], (wrong**2).mean(), abs(wrong[lowest]) < margins[lowest]


if __name__ == "__main__":
    main()
