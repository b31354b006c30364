from __future__ import annotations

import numpy as np
import pytest
from bench.planted_variance import PlantedVariance, population_covariance

from nni_privacy.bench.mixed_model import Floats, Strata, strata_of
from nni_privacy.bench.parts import influences_of, parts_of
from nni_privacy.bench.shares import Sample, bootstrap_shares, shares_of


def standardised(values: Floats) -> Strata:
    return strata_of((values - values.mean(axis=(0, 1, 2))) / values.std(axis=(0, 1, 2)))


def planted(seed: int, cells: int = 40) -> Strata:
    return standardised(PlantedVariance(cells=cells).arrays(np.random.default_rng(seed))[0])


def test_signed_parts_are_what_each_predictor_adds_to_those_before_it() -> None:
    values = PlantedVariance(cells=400).arrays(np.random.default_rng(0))[0]
    parts = parts_of(strata_of(values), np.ones((1, 400)), bounded=True)
    x = values.reshape(-1, 4)[:, :3]
    fitted = x @ parts.fit.coefficients[0, 1:]
    explained = [0.0]
    for number in (1, 2, 3):  # what a regression of the fitted values on the first predictors explains
        design = np.column_stack([np.ones(len(x)), x[:, :number]])
        explained.append(float(np.var(design @ np.linalg.lstsq(design, fitted, rcond=None)[0])))
    assert parts.signed[0] ** 2 == pytest.approx(np.diff(explained), rel=0.02)  # cells less one, in the covariance


def test_the_covariance_of_the_predictors_is_unbiased() -> None:
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        values = PlantedVariance(cells=8).arrays(rng)[0]
        factor = parts_of(strata_of(values - values.mean(axis=(0, 1, 2))), np.ones((1, 8)), bounded=False).factor[0]
        found.append(factor @ factor.T)
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - population_covariance()) < 4 * error).all()


@pytest.mark.parametrize(("seed", "cell"), [(seed, 7 * seed % 20) for seed in range(10)])
def test_influences_are_derivatives_by_the_weight_of_a_cell(seed: int, cell: int) -> None:
    strata = planted(seed, cells=20)
    weights = np.random.default_rng(seed).multinomial(20, np.full(20, 1 / 20), size=3).astype(float)
    found = influences_of(strata, weights, parts_of(strata, weights, bounded=False))
    step = 1e-4 * (np.eye(20)[cell] - weights / 20)  # towards the cell; the sum of the weights stays
    up, down = (parts_of(strata, weights + sign * step, bounded=False) for sign in (1, -1))
    for name in ("signed", "components"):
        wanted = (getattr(up, name) - getattr(down, name)) / 2e-4
        # The change of the degrees of freedom is neglected: a few percent of twenty cells.
        assert getattr(found, name)[..., cell] == pytest.approx(wanted, rel=0.15, abs=0.004)


def test_standard_errors_are_those_of_simulations() -> None:
    rng, values, errors = np.random.default_rng(0), [], []
    everything = np.ones((1, 80))
    for _ in range(150):
        table, known = PlantedVariance(cells=80).arrays(rng)
        table, unit = (table - table.mean(axis=(0, 1, 2))) / table.std(axis=(0, 1, 2)), table[..., -1].var()
        sample = Sample(strata_of(table), (known**2).mean(axis=(1, 2)) / unit)
        parts = parts_of(sample.strata, everything, bounded=False)
        shares = shares_of(sample, everything, parts, np.array([0.12, 0.12, 0.0]))
        values.append(shares.values[0])
        errors.append(shares.errors[0])
    assert np.mean(errors, axis=0) == pytest.approx(np.std(values, axis=0), rel=0.2)


def test_the_bootstrap_depends_on_its_seed_alone_and_not_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Sample(planted(0), np.full(40, 0.1))
    first, again = (bootstrap_shares(sample, rounds=50, seed=3) for _ in range(2))
    assert np.array_equal(first.drawn.values, again.drawn.values)
    monkeypatch.setattr("nni_privacy.bench.shares.CHUNK", 7 * sample.strata.moments.size)
    chunked = bootstrap_shares(sample, rounds=50, seed=3)
    assert chunked.drawn.values == pytest.approx(first.drawn.values)
    assert not np.allclose(bootstrap_shares(sample, rounds=50, seed=4).drawn.values, first.drawn.values)
