"""What a study will cost: hours and disk, by a model of its trainings that is measured on this machine.

A training's time is that of its steps, and a step's is linear in the network's multiply-adds to within a few percent
where layers are few and alike, as in cells of one search space: small networks pay for their layers' calls, large ones
for arithmetic. So a few of the study's own networks are timed for some steps, and a line is fitted through them. Looks
at a model in training (after each epoch on some records, at snapshots and at the end on all) are forward passes, a
third of a step each.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from nni_privacy.analysis.statistics import grouped
from nni_privacy.auditing.options import ShadowSettings, is_genotype
from nni_privacy.studies.config import StudyConfig
from nni_privacy.studies.plan import Measurement

if TYPE_CHECKING:
    from nni_privacy.data import Dataset

__all__ = ["Forecast", "Line", "forecast_study"]

TIMED = 4
"""Networks of each data set and search space that are timed, spread from the smallest to the largest."""
STEPS = 4
"""Steps of each that are timed, after one that is not."""
_LOOK = 1 / 3
"""A forward pass, of the time of a step on as many records: the backward pass takes twice as long."""
_SMALL_CNN = 0.05
"""A training of the small CNN that trials may share as reference model, of the time of a median network."""
_OWN_SECONDS = 1.0
"""Of a trial: what is neither training nor attack (docs/measured.md)."""
_TRIAL_BYTES = 60_000
"""Logs of a trial."""


@dataclass(frozen=True)
class Line:
    """Seconds of a step on one record, by the network's multiply-adds.

    Attributes:
        fixed: seconds of a network without multiply-adds, 0 or more.
        slope: seconds a multiply-add, 0 or more.
        timed: networks that were timed.
        error: root mean square of their relative errors.
    """

    fixed: float
    slope: float
    timed: int
    error: float

    def __call__(self, multiply_adds: float) -> float:
        """Seconds of a step on one record."""
        return self.fixed + self.slope * multiply_adds

    @classmethod
    def through(cls, multiply_adds: Sequence[float], seconds: Sequence[float]) -> Line:
        """The line with the least relative errors, neither end of which is below 0."""
        from scipy.optimize import nnls

        x, y = np.asarray(multiply_adds, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
        scale = max(float(x.max()), 1.0)
        (fixed, slope), _ = nnls(np.stack([1 / y, x / scale / y], axis=1), np.ones(len(y)))
        errors = (fixed + slope * x / scale) / y - 1
        return cls(float(fixed), float(slope / scale), len(y), float(np.sqrt(np.mean(errors**2))))


@dataclass(frozen=True)
class Forecast:
    """What a study will cost.

    Attributes:
        trials: number of measurements.
        seconds: of all of them, one after the other.
        pool_seconds: of reference models that trials share, part of ``seconds``.
        concurrency: trials at a time.
        disk: bytes of the run directory.
        lines: label of each data set and name of each search space to the line that was measured.
        unknown: measurements that are no networks before they are searched, and are not counted.
    """

    trials: int
    seconds: float
    pool_seconds: float
    concurrency: int
    disk: int
    lines: Mapping[tuple[str, str], Line]
    unknown: int

    @property
    def hours(self) -> float:
        """Wall time, if trials keep all of ``concurrency`` busy."""
        return self.seconds / self.concurrency / 3600

    def __str__(self) -> str:
        timed = sum(line.timed for line in self.lines.values())
        error = max((line.error for line in self.lines.values()), default=0.0)
        left_out = f", without {self.unknown} that search first" if self.unknown else ""
        took = f"{self.hours:.1f} hours" if self.hours >= 1 else f"{60 * self.hours:.0f} minutes"
        return (
            f"about {took} at {self.concurrency} at a time{left_out} (by steps of {timed} of its "
            f"networks, timed just now, one at a time; the line is off by {error:.0%}), "
            f"{self.disk / 1e6:,.0f} MB of disk"
        )


def forecast_study(settings: StudyConfig, planned: Sequence[Measurement], data: Mapping[str, Dataset]) -> Forecast:
    """Times some of a study's networks, and adds up.

    Args:
        settings: the configuration.
        planned: its measurements.
        data: the data sets by label.
    """
    lines: dict[tuple[str, str], Line] = {}
    seconds = pool_seconds = 0.0
    disk = unknown = 0
    for label, dataset in data.items():
        ours = [one for one in planned if one.factors["dataset"] == label]
        costs = {one: _costs(one, dataset) for one in ours}
        known = {one: cost for one, cost in costs.items() if cost is not None}
        unknown += len(ours) - len(known)
        if not known:
            continue
        records = len(dataset.split(seed=settings.seeds[0]).target_train)
        steps = []
        for space, alike in grouped((str(one.source.space.get("name", "")), one) for one in known).items():
            line = lines[label, space] = _timed(settings, alike, known, dataset)
            for one in alike:
                macs, weights = known[one]
                steps.append(line(macs))
                seconds += _trial_seconds(settings, one, steps[-1], records)
                disk += _trial_bytes(settings, weights, records)
        pool_seconds += _pool_seconds(settings, known, float(np.median(steps)), records)
    return Forecast(
        len(planned), seconds + pool_seconds, pool_seconds, settings.concurrency, disk, lines, unknown
    )  # fmt: skip


def _costs(one: Measurement, data: Dataset) -> tuple[int, int] | None:
    """Multiply-adds and weights of a measurement's network; None if it is searched first."""
    if one.source.text is None:
        return None
    import torch

    from nni_privacy.training.costs import multiply_adds, parameters

    with torch.device("meta"):  # shapes only: nothing is allocated or drawn
        network = one.source.build(data, evaluator=SimpleNamespace(seed=one.seed), folder=None)
    return multiply_adds(network, data.image_shape), parameters(network)


def _timed(
    settings: StudyConfig, ours: Sequence[Measurement], costs: Mapping[Measurement, tuple[int, int]], data: Dataset
) -> Line:
    """The line through networks from the smallest to the largest."""
    ordered = sorted(ours, key=lambda one: costs[one][0])
    places = sorted({round(place) for place in np.linspace(0, len(ordered) - 1, TIMED)})
    chosen = [ordered[place] for place in places]
    return Line.through([costs[one][0] for one in chosen], [_seconds_of_a_step(settings, one, data) for one in chosen])


def _seconds_of_a_step(settings: StudyConfig, one: Measurement, data: Dataset) -> float:
    """Seconds of training, of one record."""
    import torch

    from nni_privacy.data import Normalizer
    from nni_privacy.training.fit import fit, resolve_device

    torch.set_num_threads(settings.evaluator.threads)
    device, size = resolve_device(settings.evaluator.device), one.recipe.batch_size
    rows = data.split(seed=one.seed).target_train[: size * STEPS]
    normalize, images, labels = Normalizer.fit(data.images[rows]), data.images[rows], data.labels[rows]
    network = one.source.build(data, evaluator=SimpleNamespace(seed=one.seed), folder=None)
    recipe = replace(one.recipe, epochs=2, warm_up=0, stop_early=None, train=None)
    # On one core the time of this process, whatever else the machine does meanwhile.
    clock = time.process_time if device.type == "cpu" and settings.evaluator.threads == 1 else time.perf_counter
    ends: list[float] = []

    def on_epoch(epoch: int, model: object) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ends.append(clock())

    fit(network, images, labels, recipe=recipe, seed=one.seed, device=device, normalize=normalize, on_epoch=on_epoch)
    return (ends[1] - ends[0]) / len(rows)


def _trial_seconds(settings: StudyConfig, one: Measurement, step: float, records: int) -> float:
    from nni_privacy.auditing.in_training import monitored_records

    recipe, evaluator = one.recipe, settings.evaluator
    looks = 1 + (0 if settings.snapshots is None else len(settings.snapshots.epochs))
    asked = 2 * monitored_records(records) * recipe.epochs + 2 * records * looks
    shadows = 0 if evaluator.shadow.reference else _shadow_trainings(evaluator.attacks, evaluator.shadow)
    return step * (records * recipe.epochs * (1 + shadows) + _LOOK * asked) + _OWN_SECONDS


def _shadow_trainings(attacks: Sequence[str], shadow: ShadowSettings) -> int:
    """Trainings of reference models, each on as many records as the target's."""
    from nni_privacy.attacks import get_attack

    return shadow.count if any("shadows" in get_attack(name).requires for name in attacks) else 0


def _pool_seconds(
    settings: StudyConfig, known: Mapping[Measurement, tuple[int, int]], step: float, records: int
) -> float:
    """Of the reference models that all trials of a seed share; a genotype's are trained anew for each size."""
    shadow = settings.evaluator.shadow
    if shadow.reference is None:
        return 0.0
    count = _shadow_trainings(settings.evaluator.attacks, shadow)
    own_sizes = is_genotype(shadow.reference)
    sizes = len({str(sorted(one.source.space.items())) for one in known}) if own_sizes else 1
    share = 1.0 if own_sizes else _SMALL_CNN
    epochs = settings.evaluator.recipe.epochs
    return count * sizes * share * len(settings.seeds) * records * epochs * step


def _trial_bytes(settings: StudyConfig, weights: int, records: int) -> int:
    scores = 2 * records * 8 * (len(settings.evaluator.attacks) + 2)
    kept = 0 if settings.keep == "none" else 4 * weights
    return _TRIAL_BYTES + scores + kept
