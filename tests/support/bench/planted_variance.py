"""Tables of cells x widths x seeds whose leakage has a variance with known shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

PARTS = ("size", "accuracy", "gap", "remaining", "seed", "records")

# Predictors: log10 parameters, accuracy and gap. How they differ between the three widths (given, not a sample), and
# factors of their covariance between cells, between widths of a cell, and between seeds of a width.
WIDTHS = np.array([[-0.35, -0.04, 0.01], [0.0, 0.0, 0.0], [0.35, 0.03, 0.01]])
CELLS = np.array([[0.15, 0.0, 0.0], [0.008, 0.02, 0.0], [-0.004, -0.008, 0.015]])
WITHIN = np.array([[0.02, 0.0, 0.0], [0.001, 0.006, 0.0], [0.0, -0.002, 0.005]])
SEEDS = np.array([[0.0, 0.0, 0.0], [0.0, 0.004, 0.0], [0.0, -0.002, 0.004]])
LEVEL = np.array([6.0, 0.85, 0.12])
SIGNS = np.array([1.0, -1.0, 1.0])
SPREAD = 0.03
"""Standard deviation of the outcome."""


def population_covariance() -> Floats:
    """Of the predictors, over the rows of a table of infinitely many cells of the three widths."""
    widths = WIDTHS - WIDTHS.mean(axis=0)
    return CELLS @ CELLS.T + WITHIN @ WITHIN.T + SEEDS @ SEEDS.T + widths.T @ widths / len(widths)


def normal(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.normal(size=shape)


def heavy(rng: np.random.Generator, *shape: int) -> Floats:
    """Student's t with 5 degrees of freedom, of variance 1."""
    return rng.standard_t(5, size=shape) / np.sqrt(5 / 3)


@dataclass(frozen=True)
class PlantedVariance:
    """What is planted.

    Attributes:
        shares: of PARTS; they sum to 1.
        cells: how many.
        seeds: of each of three widths.
        between: share of the remaining architecture that all widths of a cell have in common.
        noise: draws effects of variance 1.
    """

    shares: Sequence[float] = (0.30, 0.08, 0.22, 0.15, 0.13, 0.12)
    cells: int = 40
    seeds: int = 2
    between: float = 0.6
    noise: Callable[..., Floats] = normal

    @property
    def slopes(self) -> Floats:
        """Those with which the squares of ``L' b`` are the shares of the variance, of the population's L."""
        factor = np.linalg.cholesky(population_covariance())
        slopes: Floats = np.linalg.solve(factor.T, SIGNS * SPREAD * np.sqrt(self.shares[:3]))
        return slopes

    def arrays(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """``(cells, 3, seeds, 4)`` predictors and outcome, and ``(cells, 3, seeds)`` standard errors over records."""
        shape = (self.cells, len(WIDTHS), self.seeds)
        predictors = LEVEL + WIDTHS[:, None] + self._effects(rng, shape)
        remaining, seed, records = (SPREAD**2 * share for share in self.shares[3:])
        squares = records * rng.gamma(20, 1 / 20, size=shape)
        outcome = 0.7 + (predictors - LEVEL) @ self.slopes
        outcome += np.sqrt(remaining * self.between) * self.noise(rng, self.cells, 1, 1)
        outcome += np.sqrt(remaining * (1 - self.between)) * self.noise(rng, *shape[:2], 1)
        outcome += np.sqrt(seed) * self.noise(rng, *shape) + np.sqrt(squares) * rng.normal(size=shape)
        return np.concatenate([predictors, outcome[..., None]], axis=3), np.sqrt(squares)

    def _effects(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
        cells, widths, seeds = shape
        effects: Floats = rng.normal(size=(cells, 1, 1, 3)) @ CELLS.T
        effects = effects + rng.normal(size=(cells, widths, 1, 3)) @ WITHIN.T
        return effects + rng.normal(size=(cells, widths, seeds, 3)) @ SEEDS.T

    def table(self, rng: np.random.Generator) -> pd.DataFrame:
        """The arrays as a table of the bench: outcome ``rmia_auc`` and its standard error."""
        values, errors = self.arrays(rng)
        cell, width, seed = (axis.ravel() for axis in np.indices(errors.shape))
        flat = values.reshape(-1, 4)
        return pd.DataFrame(
            {
                "dataset": "cifar10",
                "cell": [f"darts-{number}" for number in cell],
                "variant": "original",
                "width": np.array([8, 16, 24])[width],
                "seed": seed,
                "epoch": 30,
                "parameters": 10 ** flat[:, 0],
                "accuracy": flat[:, 1],
                "gap": flat[:, 2],
                "rmia_auc": flat[:, 3],
                "rmia_auc_se": errors.ravel(),
            }
        )
