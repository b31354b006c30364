"""Parts of an outcome's variance in a nested design, and how much each cell moves each of them.

The fixed effects' part ``b' S b``, with ``S`` the covariance of the predictors over rows, is split in the order of the
predictors: with ``L`` the Cholesky factor of ``S``, the squares of ``L' b`` are what the first predictor explains, what
the second adds to it, and so on. They depend on the order; their sum does not.

An estimate's derivative by the weight of one cell is the cell's *influence*. Influences give a standard error that
costs no further fit (the infinitesimal jackknife; Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
chapter 21), of every replicate of a bootstrap at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nni_privacy.bench.mixed_model import Fit, Floats, Strata, fit_reml

__all__ = ["Influences", "Parts", "centred", "influences_of", "parts_of"]


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of the variance of several replicates, in squared units of the outcome.

    Attributes:
        fit: of the model.
        factor: ``(replicates, k, k)`` Cholesky factor of the predictors' covariance over rows.
        signed: ``(replicates, k)`` what each predictor adds, as a standard deviation that has the effect's sign.
        components: ``(replicates, strata)`` variances of the effects, the coarsest level first.
    """

    fit: Fit
    factor: Floats
    signed: Floats
    components: Floats


@dataclass(frozen=True, eq=False)
class Influences:
    """Derivatives of the parts by the cells' weights.

    Attributes:
        coefficients: ``(replicates, p, cells)`` of the fit's coefficients.
        signed: ``(replicates, k, cells)`` of :attr:`Parts.signed`.
        components: ``(replicates, strata, cells)`` of :attr:`Parts.components`.
    """

    coefficients: Floats
    signed: Floats
    components: Floats


def parts_of(strata: Strata, weights: Floats, *, bounded: bool) -> Parts:
    """Fits the model and splits the variance, for each row of ``(replicates, cells)`` weights; see fit_reml."""
    fit = fit_reml(strata, weights, bounded=bounded)
    factor = np.linalg.cholesky(_predictor_covariance(strata, weights)).astype(np.float64, copy=False)
    signed = np.einsum("rij,ri->rj", factor, fit.coefficients[:, 1:])
    return Parts(fit, factor, signed, strata.components(fit.eigenvalues))


def _predictor_covariance(strata: Strata, weights: Floats) -> Floats:
    """``(replicates, k, k)`` unbiased covariance over the rows of a table of more and more cells of the same widths.

    Widths and their number are given, cells are a sample: only the spread between cells is divided by one less.
    """
    cells = weights.sum(axis=1)[:, None, None]
    moments = np.tensordot(weights, strata.moments[:, :, :-1, :-1], axes=1)
    between, within = moments[:, 0], moments[:, 1:, 1:, 1:].sum(axis=1)
    ones, sums = between[:, :1, :1], between[:, 1:, :1]
    spread = between[:, 1:, 1:] - sums * sums.swapaxes(1, 2) / ones
    covariance: Floats = (spread * cells / (cells - 1) + within) / ones
    return covariance


def influences_of(strata: Strata, weights: Floats, parts: Parts) -> Influences:
    """How much each cell moves the parts of each replicate, at the free (not bounded) optimum.

    Derivatives of the estimating equations, with the small share of the degrees of freedom that goes into the
    coefficients taken as given.
    """
    fit = parts.fit
    coefficients, eigenvalues = _fit_influences(strata, weights, fit)
    finer = np.concatenate([eigenvalues[:, 1:], np.zeros_like(eigenvalues[:, :1])], axis=1)
    components = (eigenvalues - finer) / strata.rows[:, None]
    signed = np.einsum("rij,ric->rjc", parts.factor, coefficients[:, 1:]) + _factor_influences(strata, weights, parts)
    return Influences(coefficients, signed, components)


def _fit_influences(strata: Strata, weights: Floats, fit: Fit) -> tuple[Floats, Floats]:
    """Influences on coefficients, ``(replicates, p, cells)``, and eigenvalues, ``(replicates, strata, cells)``."""
    p, number = fit.coefficients.shape[1], len(strata.rows)
    contrast = np.concatenate([-fit.coefficients, np.ones((len(weights), 1))], axis=1)
    scores = np.einsum("ckab,rb->rkac", strata.moments, contrast, optimize=True)
    squares = np.einsum("rkac,ra->rkc", scores, contrast, optimize=True)
    scores = scores[:, :, :-1]
    total = np.einsum("rkac,rc->rka", scores, weights)
    inverse = 1 / fit.eigenvalues
    jacobian = np.zeros((len(weights), p + number, p + number))
    jacobian[:, :p, :p] = np.linalg.inv(fit.covariance)
    jacobian[:, :p, p:] = (total * inverse[..., None] ** 2).swapaxes(1, 2)
    jacobian[:, p:, :p] = 2 * total
    jacobian[:, p + np.arange(number), p + np.arange(number)] = fit.freedom
    moved = np.concatenate([np.einsum("rkac,rk->rac", scores, inverse), centred(squares, weights)], axis=1)
    found = np.linalg.inv(jacobian) @ moved  # of thousands of cells, far faster than solving; all is standardised
    return found[:, :p], found[:, p:]


def _factor_influences(strata: Strata, weights: Floats, parts: Parts) -> Floats:
    """``(replicates, k, cells)`` influences on ``L' b`` of the covariance of the predictors alone.

    From ``dL = L Phi(K)`` with ``K = inverse(L) dS inverse(L)'`` and ``Phi`` the lower triangle with half the diagonal.
    """
    cells = weights.sum(axis=1)
    moments = strata.moments[:, :, :-1, :-1]
    total = np.tensordot(weights, moments[:, 0], axes=1)
    whiten = np.linalg.inv(parts.factor)
    # Whitened deviations from the replicate's own mean: [-mean, 1] maps [1, x] to x - mean.
    mean = total[:, 1:, 0] / total[:, :1, 0]
    towards = np.concatenate([-np.einsum("rij,rj->ri", whiten, mean)[..., None], whiten], axis=2)
    scale = np.ones((len(weights), len(strata.rows)))
    scale[:, 0] = cells / (cells - 1)
    scale /= total[:, :1, 0]
    k = parts.factor.shape[1]
    # Phi(K)' s = sum over i >= j of K_ij s_i, half of it where i = j; a bilinear form in each stratum's moments.
    moved = np.empty((len(weights), k, strata.cells))
    for j in range(k):
        taken = parts.signed * np.where(np.arange(k) > j, 1.0, np.where(np.arange(k) == j, 0.5, 0.0))
        left = np.einsum("ri,ria->ra", taken, towards)
        moved[:, j] = np.einsum("ra,rb,rk,ckab->rc", left, towards[:, j], scale, moments, optimize=True)
    return centred(moved, weights)


def centred(values: Floats, weights: Floats) -> Floats:
    """``(replicates, n, cells)`` values less their weighted mean over the cells of the replicate."""
    mean = np.einsum("rnc,rc->rn", values, weights) / weights.sum(axis=1)[:, None]
    found: Floats = values - mean[..., None]
    return found
