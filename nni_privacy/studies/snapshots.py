"""Snapshots: one training, looked at after several of its epochs as if each had been the last.

So a study has the same cells at many lengths of training for the price of one. What an intermediate epoch is *not* is a
training that was planned to end there: its learning rate has not been lowered yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from nni_privacy.attacks import AttackReport, get_attack
from nni_privacy.attacks.intervals import auc_standard_error, rate_standard_error
from nni_privacy.auditing.audit import AuditReport
from nni_privacy.auditing.notices import accuracies
from nni_privacy.auditing.options import Names, known_attacks
from nni_privacy.errors import ConfigError
from nni_privacy.schema import Count, Options, options
from nni_privacy.training.recipe import Recipe

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nni_privacy.data import Dataset, FourWaySplit, Normalizer
    from nni_privacy.evaluator import PrivacyEvaluator

__all__ = ["FPR", "SnapshotOptions", "Snapshots"]

FPR = 0.01
"""The false positive rate at which a row has a true positive rate."""


@options(section="snapshots")
class SnapshotOptions(Options):
    """When and how a model in training is looked at.

    Attributes:
        epochs: of the training, increasing, each below the recipe's; the end of the training is always looked at.
        attacks: that are made on the way; at the end all attacks of the evaluator are. Reference models that trials
            share are trained once, so they cost an intermediate epoch next to nothing.
        statistics: whether each look also takes statistics of the weights, and the first one of the untrained network.
        proxy_records: of target-train, on which statistics of the untrained network are taken.
    """

    epochs: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    attacks: Annotated[Names, Field(min_length=1)] = ("loss_threshold",)
    statistics: bool = True
    proxy_records: Annotated[int, Field(ge=2, le=4096)] = 64

    @field_validator("epochs")
    @classmethod
    def _increasing(cls, epochs: tuple[int, ...]) -> tuple[int, ...]:
        if list(epochs) != sorted(set(epochs)):
            raise ConfigError(f"{list(epochs)}; allowed are increasing numbers")
        return epochs

    @field_validator("attacks")
    @classmethod
    def _possible(cls, attacks: tuple[str, ...]) -> tuple[str, ...]:
        for name in known_attacks(attacks):
            if "loss_trace" in get_attack(name).requires:
                raise ConfigError(f"{name!r} needs the losses of a whole training; it can be one of evaluator.attacks")
        return attacks

    def check(self, recipe: Recipe) -> None:
        """Refuses what the recipe makes impossible.

        Raises:
            ConfigError: with the option of the recipe.
        """
        if self.epochs and self.epochs[-1] >= recipe.epochs:
            raise ConfigError(f"snapshots.epochs: {list(self.epochs)}; allowed are numbers below {recipe.epochs}, the "
                              "recipe's epochs: its end is looked at anyway")  # fmt: skip
        if recipe.stop_early is not None:
            raise ConfigError("snapshots: they go with a training of known length, and recipe.stop_early is on")
        if recipe.train is not None:
            raise ConfigError("snapshots: they look at epochs of the package's own loop, and recipe.train is another")


class Snapshots:
    """Looks at a model after chosen epochs and at its end, and reports a row for each as the text ``snapshots``.

    A row has ``epoch``; ``accuracy``, ``train_accuracy``, ``loss``, ``train_loss`` (mean cross-entropies); for each
    attack ``NAME_auc``, ``NAME_tpr`` (at 1% FPR) and the standard errors of both over records, ``NAME_auc_se``,
    ``NAME_tpr_se``; and statistics of the network.

    Args:
        settings: when and how.
        evaluator: whose attacks they are.
        model: untrained.
        data: the data set.
        split: of its records.
        normalize: what the model's images go through.
        device: of the training.
    """

    def __init__(
        self,
        settings: SnapshotOptions,
        evaluator: PrivacyEvaluator,
        model: nn.Module,
        data: Dataset,
        split: FourWaySplit,
        normalize: Normalizer,
        device: torch.device,
    ) -> None:
        self.settings, self.evaluator = settings, evaluator
        self._asked = (data, split, normalize, device)
        self._rows: list[dict[str, float | None]] = []
        self._untrained = self._proxies(model) if settings.statistics else {}

    def __call__(self, epoch: int, model: nn.Module) -> None:
        """Attacks the model, if the epoch is one of the chosen."""
        if epoch in self.settings.epochs:
            report = self.evaluator.attack(model, *self._asked, attacks=self.settings.attacks)
            self._rows.append(self._row(epoch, model, report))

    def finish(self, model: nn.Module, report: AuditReport) -> Mapping[str, Any]:
        """All rows, the trained model's last, as JSON: NNI takes no nested values."""
        rows = [*self._rows, self._row(self.evaluator.recipe.epochs, model, report)]
        return {"snapshots": json.dumps(rows)}

    def _row(self, epoch: int, model: nn.Module, report: AuditReport) -> dict[str, float | None]:
        signals, member = report.signals, report.signals.is_member
        train_accuracy, accuracy = accuracies(signals)
        losses = {"loss": signals.losses[~member].mean(), "train_loss": signals.losses[member].mean()}
        row: dict[str, float | None] = {"accuracy": accuracy, "train_accuracy": train_accuracy}
        row |= {name: float(value) for name, value in losses.items()}
        for one in report.attacks.values():
            row |= attack_columns(one)
        if self.settings.statistics:
            from nni_privacy.training.weight_statistics import weight_statistics

            row |= self._untrained | weight_statistics(model)
        return {"epoch": epoch, **{name: _plain(value) for name, value in row.items()}}

    def _proxies(self, model: nn.Module) -> dict[str, float]:
        from nni_privacy.training.fit import prepare_batch
        from nni_privacy.training.zero_cost import zero_cost_proxies

        data, split, normalize, device = self._asked
        rows = split.target_train[: self.settings.proxy_records]  # in the split's random order
        images = prepare_batch(data.images[rows].to(device), normalize)
        return zero_cost_proxies(model.to(device), images, data.labels[rows].to(device))


def attack_columns(report: AttackReport) -> dict[str, float | None]:
    """The columns of an attack in a row: AUC, TPR at 1% FPR, and their standard errors over records."""
    name, tpr = report.name, report.roc.tpr_at(FPR)
    return {
        f"{name}_auc": report.roc.auc,
        f"{name}_auc_se": auc_standard_error(report.roc),
        f"{name}_tpr": tpr,
        f"{name}_tpr_se": None if tpr is None else rate_standard_error(report.roc, FPR),
    }


def _plain(value: float | None) -> float | None:
    """Six digits, which are more than records tell; a number that is none is missing."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.6g}")
