from __future__ import annotations

import time
import warnings

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from nni_privacy.bench.mixed_model import fit_reml, strata_of

Floats = npt.NDArray[np.float64]

# Standard deviations of cell, width and noise; the later ones have estimates at the edge (0).
TRUTHS = [(0.5, 0.3, 0.4), (0.5, 0.0, 0.4), (0.0, 0.3, 0.4), (0.0, 0.0, 0.4), (0.1, 0.1, 0.4), (2.0, 0.05, 0.1)]


def drawn(seed: int, truth: tuple[float, float, float], cells: int = 40, widths: int = 3, seeds: int = 2) -> Floats:
    rng = np.random.default_rng(seed)
    x = sum(rng.normal(size=(cells, *shape, 3)) for shape in ((1, 1), (widths, 1), (widths, seeds)))
    y = 1 + x @ [0.5, -0.3, 0.2] + truth[0] * rng.normal(size=(cells, 1, 1))
    y = y + truth[1] * rng.normal(size=(cells, widths, 1)) + truth[2] * rng.normal(size=(cells, widths, seeds))
    return np.concatenate([x, y[..., None]], axis=3)


def fitted(values: Floats) -> tuple[Floats, Floats, float]:
    """Components, coefficients and log likelihood."""
    strata = strata_of(values)
    fit = fit_reml(strata, np.ones((1, len(values))), bounded=True)
    return strata.components(fit.eigenvalues)[0], fit.coefficients[0], float(fit.log_likelihood[0])


class Dense:
    """The restricted likelihood written out, with the covariance of all rows."""

    def __init__(self, values: Floats) -> None:
        cell, width, _ = (axis.ravel() for axis in np.indices(values.shape[:3]))
        place = cell * values.shape[1] + width
        self.blocks = [np.equal.outer(cell, cell), np.equal.outer(place, place), np.eye(len(cell))]
        self.x = np.column_stack([np.ones(len(cell)), values.reshape(len(cell), -1)[:, :-1]])
        self.y = values[..., -1].ravel()

    def coefficients(self, components: Floats) -> Floats:
        inverse = np.linalg.inv(np.tensordot(components, self.blocks, axes=1))
        return np.linalg.solve(self.x.T @ inverse @ self.x, self.x.T @ inverse @ self.y)

    def log_likelihood(self, components: Floats) -> float:
        covariance = np.tensordot(components, self.blocks, axes=1)
        inverse = np.linalg.inv(covariance)
        rest = self.y - self.x @ self.coefficients(components)
        determinants = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(self.x.T @ inverse @ self.x)[1]
        return float(-0.5 * (determinants + rest @ inverse @ rest))

    def best(self) -> Floats:
        starts = [[0.1, 0.1, 0.1], [0.001, 0.001, 0.2]]
        bounds = [(0, None), (0, None), (1e-4, None)]
        options = {"ftol": 1e-14, "gtol": 1e-9}
        runs = [
            minimize(lambda v: -self.log_likelihood(v), start, bounds=bounds, method="L-BFGS-B", options=options)
            for start in starts
        ]
        return np.asarray(min(runs, key=lambda run: run.fun).x)


@pytest.mark.parametrize("truth", TRUTHS)
def test_the_fit_is_the_optimum_of_the_likelihood_written_out(truth: tuple[float, float, float]) -> None:
    values = drawn(3, truth, cells=15)
    components, coefficients, likelihood = fitted(values)
    dense = Dense(values)
    assert likelihood == pytest.approx(dense.log_likelihood(components), abs=1e-8)
    best = dense.best()
    assert likelihood >= dense.log_likelihood(best) - 1e-9
    assert components == pytest.approx(best, rel=2e-3, abs=2e-5)
    assert coefficients == pytest.approx(dense.coefficients(components), rel=1e-9)
    assert (components >= 0).all()


# Elsewhere the optimiser of statsmodels stops early, up to 70 units of log likelihood below ours (last of TRUTHS).
@pytest.mark.parametrize(
    ("truth", "seed"), [(0, 0), (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 0), (2, 1), (2, 3), (4, 2)]
)
def test_the_fit_is_that_of_statsmodels(truth: int, seed: int) -> None:
    models = pytest.importorskip("statsmodels.formula.api")
    pandas = pytest.importorskip("pandas")
    values = drawn(seed, TRUTHS[truth])
    components, coefficients, _ = fitted(values)
    cell, width, _ = (axis.ravel() for axis in np.indices(values.shape[:3]))
    table = pandas.DataFrame(values.reshape(-1, 4), columns=list("abcy")).assign(cell=cell, width=width)
    model = models.mixedlm("y ~ a + b + c", table, groups="cell", vc_formula={"w": "0 + C(width)"}, re_formula="1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of estimates at the edge
        theirs = model.fit(reml=True)
    found = [theirs.cov_re.iloc[0, 0], theirs.vcomp[0], theirs.scale]
    assert components == pytest.approx(found, rel=1e-4, abs=1e-4 * sum(found))
    assert coefficients == pytest.approx(theirs.fe_params.to_numpy(), rel=1e-4, abs=1e-6)


def test_both_edges_are_met() -> None:
    zeros = {tuple(fitted(drawn(seed, truth))[0] == 0) for truth in TRUTHS for seed in range(3)}
    assert {(False, False, False), (True, False, False), (False, True, False), (True, True, False)} <= zeros


@pytest.mark.parametrize("shape", [(12, 1, 1), (12, 1, 3), (12, 3, 1)])
def test_strata_without_dimension_are_left_out(shape: tuple[int, int, int]) -> None:
    values = drawn(0, (0.5, 0.3, 0.4), *shape)
    strata = strata_of(values)
    assert strata.dimensions.tolist() == [size for size in (1, shape[1] - 1, shape[1] * (shape[2] - 1)) if size]
    assert strata.moments.sum(axis=1) == pytest.approx(
        np.einsum("cwsa,cwsb->cab", *[np.insert(values, 0, 1.0, axis=3)] * 2), abs=1e-9
    )


def test_one_stratum_is_ordinary_least_squares() -> None:
    values = drawn(0, (0.5, 0.3, 0.4), 30, 1, 1)
    components, coefficients, _ = fitted(values)
    x = np.column_stack([np.ones(30), values.reshape(30, 4)[:, :3]])
    wanted, (square,), *_ = np.linalg.lstsq(x, values[..., -1].ravel(), rcond=None)
    assert coefficients == pytest.approx(wanted)
    assert components == pytest.approx([square / (30 - 4)])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 3), min_size=9, max_size=9), st.booleans())
def test_weights_are_cells_written_several_times(seed: int, counts: list[int], bounded: bool) -> None:
    values = drawn(seed, (0.2, 0.2, 0.4), cells=15)
    weights = np.array([*counts, *[1] * 6])
    once = fit_reml(strata_of(values), weights[None].astype(float), bounded=bounded)
    repeated = np.repeat(values, weights, axis=0)
    written = fit_reml(strata_of(repeated), np.ones((1, len(repeated))), bounded=bounded)
    assert once.eigenvalues == pytest.approx(written.eigenvalues, rel=1e-6)
    assert once.coefficients == pytest.approx(written.coefficients, rel=1e-6, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_no_variance_is_negative_and_the_bound_costs_likelihood(seed: int, cell: float, width: float) -> None:
    strata = strata_of(drawn(seed, (cell, width, 0.4), cells=12))
    weights = np.random.default_rng(seed).multinomial(12, np.full(12, 1 / 12), size=5).astype(float)
    bound, free = (fit_reml(strata, weights, bounded=bounded) for bounded in (True, False))
    assert (strata.components(bound.eigenvalues) >= -1e-12).all()
    assert (bound.log_likelihood <= free.log_likelihood + 1e-8).all()


def test_two_thousand_replicates_are_fast() -> None:
    strata = strata_of(drawn(0, (0.5, 0.3, 0.4)))
    weights = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), size=2000).astype(float)
    start = time.process_time()
    fit = fit_reml(strata, weights, bounded=True)
    assert time.process_time() - start < 2
    assert fit.eigenvalues.shape == (2000, 3)
