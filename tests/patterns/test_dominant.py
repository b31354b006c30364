"""Edges that forward selection takes, and conditional t-statistics of the others."""

from __future__ import annotations

import numpy as np
import pytest

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import CELL_TYPES
from nni_privacy.patterns.edge_regression import SELECTION_T, conditional_t_statistics, edge_design
from nni_privacy.surrogate.search import random_architectures

N = 1500


@pytest.fixture(scope="module")
def codes() -> GenotypeCodes:
    return random_architectures(N, seed=0)


def t_of_last(columns: np.ndarray, response: np.ndarray) -> float:
    """The textbook's t-statistic of the last column in least squares with an intercept."""
    full = np.column_stack([np.ones(len(response)), columns])
    inverse = np.linalg.inv(full.T @ full)
    coefficients = inverse @ full.T @ response
    residual = response - full @ coefficients
    variance = residual @ residual / (len(response) - full.shape[1])
    return float(coefficients[-1] / np.sqrt(variance * inverse[-1, -1]))


def flat(found: dict) -> np.ndarray:
    return np.concatenate([found[cell] for cell in CELL_TYPES])


def test_what_is_planted_is_selected_and_its_echo_is_not(codes: GenotypeCodes) -> None:
    design = edge_design(codes)
    often = np.flatnonzero((design**2).sum(axis=0) > 100)
    planted = often[[3, 40, 70]]
    effects = np.array([-0.06, 0.06, -0.09])
    auc = 0.8 + design[:, planted] @ effects + np.random.default_rng(1).normal(0, 0.02, N)
    t = flat(conditional_t_statistics(codes, auc))
    assert set(np.flatnonzero(np.abs(t) > SELECTION_T)) == set(planted)
    assert np.array_equal(np.sign(t[planted]), [1, -1, 1])
    for other in (*planted, *often[:30:7]):
        given = [one for one in planted if one != other]
        expected = -t_of_last(design[:, [*given, other]], auc)
        assert t[other] == pytest.approx(expected, rel=1e-8)
    # By itself, an alternative to a planted edge looks as if it mattered.
    alone = [abs(t_of_last(design[:, [other]], auc)) for other in often if other not in planted]
    assert max(alone) > SELECTION_T > np.abs(np.delete(t, planted)).max()


def test_of_noise_nothing_is_selected(codes: GenotypeCodes) -> None:
    for seed in range(5):
        t = flat(conditional_t_statistics(codes, np.random.default_rng(seed).normal(0.8, 0.02, N)))
        assert np.abs(t).max() < SELECTION_T
        assert 0.8 < t[t != 0].std() < 1.2


def test_an_edge_that_all_or_none_have_says_nothing(codes: GenotypeCodes) -> None:
    few = codes[:3]
    t = flat(
        conditional_t_statistics(
            GenotypeCodes(few.sources.repeat(40, 0), few.operations.repeat(40, 0)), np.arange(120.0)
        )
    )
    constant = ~edge_design(few).any(axis=0)
    assert np.isfinite(t).all() and np.all(t[constant] == 0)
