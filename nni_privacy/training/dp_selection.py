"""Epsilon of several private trainings of which one is chosen: what a search spends, not what one training spends.

Each training that was carried out has looked at the records, also one that failed or was not chosen. For a number of
trainings that was fixed beforehand the bound is plain composition in Renyi differential privacy, which also holds where
each training was proposed by the results of those before. Where the number was drawn at random, the trainings are
independent draws of one procedure, and only the best is given away, choosing costs far less (Papernot and Steinke,
ICLR 2022, arXiv 2110.03620).

Both take for granted that the choice looks at nothing but what private trainings gave out and records that are not the
members': accuracy on test records is such a thing; an attack's AUC and the training accuracy are measured on the
members themselves, and no epsilon here covers what is chosen by them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import ConfigError, nearest
from nni_privacy.runs.records import TrialRecord

__all__ = ["Distribution", "Selection", "Spent", "composed_epsilon", "draw_trials", "privacy_text", "selected_epsilon"]
__all__ += ["selection_of"]

Distribution = Literal["logarithmic", "geometric", "poisson"]
Floats = npt.NDArray[np.float64]

_SHAPES = {"logarithmic": 0.0, "geometric": 1.0}
"""Eta of the truncated negative binomial distribution (arXiv 2110.03620, definition 1)."""


@dataclass(frozen=True, order=True)
class Spent:
    """What a training with DP-SGD spends.

    Attributes:
        noise_multiplier: standard deviation of the noise in units of the clipping norm.
        sample_rate: probability with which a record is in a batch.
        steps: of the training.
        delta: at which its epsilon is meant.
    """

    noise_multiplier: float
    sample_rate: float
    steps: int
    delta: float

    @classmethod
    def of(cls, told: Any) -> Spent | None:
        """Of a mapping of the attributes, as a trial tells it; None if it is none."""
        if not isinstance(told, Mapping):
            return None
        values: list[Any] = [told.get(name) for name in ("noise_multiplier", "sample_rate", "steps", "delta")]
        if not all(isinstance(value, int | float) and 0 < value < math.inf for value in values):
            return None
        noise, rate, steps, delta = values
        return cls(float(noise), float(rate), int(steps), float(delta)) if rate <= 1 and delta < 1 else None


@dataclass(frozen=True)
class Selection:
    """Private trainings of a run, of which one may be chosen.

    Attributes:
        trainings: how many were carried out, failed and stopped ones among them.
        one: the largest epsilon of a single one.
        whole: epsilon of all of them together, by composition.
        delta: at which both are meant.
        costliest: what that single one spends.
    """

    trainings: int
    one: float
    whole: float
    delta: float
    costliest: Spent

    def __str__(self) -> str:
        single = f"epsilon {self.one:.3g} at delta {self.delta:g} is one training's"
        if self.trainings < 2:
            return f"{single}; it was the only one"
        return (
            f"{single}; choosing among the {self.trainings} spends up to {self.whole:.3g} (composition), and what is "
            "chosen by an AUC or by training accuracy, which are measured on the members, is covered by neither"
        )


def selection_of(trials: Iterable[TrialRecord]) -> Selection | None:
    """What the trainings of these trials spend together; None if none of them tells of a private training.

    A trial that failed or was stopped counts as a whole training; where it does not say which, as the costliest.
    """
    carried_out = list(trials)
    told = [Spent.of(trial.data.get("privacy")) for trial in carried_out]
    known = [one for one in told if one is not None]
    if not known:
        return None
    delta = max(one.delta for one in known)
    costs = {one: composed_epsilon([one], delta=delta) for one in set(known)}
    worst = max(known, key=costs.__getitem__)
    unknown = [worst for trial, one in zip(carried_out, told, strict=True) if one is None and not trial.succeeded]
    spent = [*known, *unknown]
    return Selection(len(spent), costs[worst], composed_epsilon(spent, delta=delta), delta, worst)


def privacy_text(trials: Iterable[TrialRecord], *, drawn: Any = None) -> str | None:
    """What a reader must know of the epsilons of these trials; None if none of them was trained privately.

    Args:
        trials: of a run.
        drawn: ``distribution`` and ``mean`` that their number was drawn from, if it was (``trials_drawn`` of a search).
    """
    carried_out = list(trials)
    found = selection_of(carried_out)
    if found is not None:
        if not isinstance(drawn, Mapping):
            return str(found)
        best = selected_epsilon(found.costliest, delta=found.delta, **drawn)
        return (
            f"{found}; if nothing but the best one is given away, the choice spends up to {best:.3g}, as the number of "
            f"trials was drawn ({drawn['distribution']}, mean {drawn['mean']:g})"
        )
    epsilons = [trial.metrics["epsilon"] for trial in carried_out if "epsilon" in trial.metrics]
    if not epsilons:
        return None
    return (
        f"epsilon {max(epsilons):.3g} is one training's; choosing among the {len(carried_out)} spends more (these "
        "trials do not tell how much)"
    )


def composed_epsilon(spent: Iterable[Spent], *, delta: float) -> float:
    """Epsilon of all trainings together, by Opacus' RDP accountant; 0 of none."""
    rdp = sum((_rdp(one) for one in spent), start=np.zeros(len(_orders())))
    return _epsilon(rdp, delta) if rdp.any() else 0.0


def selected_epsilon(spent: Spent, *, delta: float, distribution: Distribution, mean: float) -> float:
    """Epsilon of the best of a random number of independent trainings, of which nothing else is given away.

    Papernot and Steinke, arXiv 2110.03620: theorem 2 for the truncated negative binomial distributions, of which the
    logarithmic and the geometric one are, theorem 6 for Poisson's.

    Args:
        spent: of one training.
        delta: at which epsilon is meant.
        distribution: that the number of trainings was drawn from, see :func:`draw_trials`.
        mean: of that number.

    Raises:
        ConfigError: if the distribution is unknown, or the mean not above 1 (of Poisson's: above 0).
    """
    _check(distribution, mean)
    orders, rdp = _orders(), _rdp(spent)
    if distribution == "poisson":
        # The base is (log(1 + 1 / (order - 1)), failing)-DP.
        base = np.log1p(1 / (orders - 1))
        logs = (orders - 1) * (rdp - base[:, None] + np.log1p(-1 / orders)) - np.log(orders)
        failing = np.exp(np.minimum(0.0, logs.min(axis=1)))
        return _epsilon(rdp + mean * failing + math.log(mean) / (orders - 1), delta)
    shape = _SHAPES[distribution]
    rest = (1 - 1 / orders) * rdp - math.log(_gamma(distribution, mean)) / orders
    return _epsilon(rdp + (1 + shape) * rest.min() + math.log(mean) / (orders - 1), delta)


def draw_trials(distribution: Distribution, mean: float, *, seed: int) -> int:
    """A number of trainings to carry out, drawn before anything is known of their results; of Poisson's it may be 0.

    Args:
        distribution: ``logarithmic`` or ``geometric`` (1 or more), or ``poisson``.
        mean: of the number.
        seed: of the draw. Who knows it knows the number beforehand; the bound wants that nobody does.

    Raises:
        ConfigError: as :func:`selected_epsilon`.
    """
    _check(distribution, mean)
    generator = np.random.default_rng(seed)
    if distribution == "poisson":
        return int(generator.poisson(mean))
    gamma = _gamma(distribution, mean)
    return int(generator.logseries(1 - gamma) if distribution == "logarithmic" else generator.geometric(gamma))


def _check(distribution: str, mean: float) -> None:
    known = (*_SHAPES, "poisson")
    if distribution not in known:
        raise ConfigError(f"distribution: {distribution!r}; {nearest(distribution, known)}")
    least = 0 if distribution == "poisson" else 1
    if not least < mean < math.inf:
        raise ConfigError(f"mean: {mean}; of a {distribution} number of trainings it is above {least}")


def _gamma(distribution: str, mean: float) -> float:
    """The parameter of a truncated negative binomial distribution of that mean."""
    if distribution == "geometric":
        return 1 / mean
    from scipy.optimize import brentq

    # In the logarithm, as it may be as small as 1e-100; the mean rises as it falls.
    found = brentq(lambda log: math.expm1(-log) / -log - mean, -700.0, -1e-9)
    return math.exp(found)


def _orders() -> Floats:
    from opacus.accountants import RDPAccountant  # here, as it imports torch

    return np.array(RDPAccountant.DEFAULT_ALPHAS, dtype=np.float64)


@lru_cache(maxsize=256)
def _rdp(spent: Spent) -> Floats:
    from opacus.accountants.analysis.rdp import compute_rdp

    found = compute_rdp(
        q=spent.sample_rate, noise_multiplier=spent.noise_multiplier, steps=spent.steps, orders=_orders().tolist()
    )
    return np.asarray(found, dtype=np.float64)


def _epsilon(rdp: Floats, delta: float) -> float:
    from opacus.accountants.analysis.rdp import get_privacy_spent

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the")  # further orders would tighten it only
        return float(get_privacy_spent(orders=_orders().tolist(), rdp=rdp.tolist(), delta=delta)[0])
