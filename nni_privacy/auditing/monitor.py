"""What looks at a model while it is trained: after each epoch, and at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from nni_privacy.attacks import TargetSignals, roc_curve
from nni_privacy.auditing.audit import AuditReport
from nni_privacy.auditing.in_training import monitored_records
from nni_privacy.data import Dataset, FourWaySplit, Normalizer
from nni_privacy.training.fit import predict_logits
from nni_privacy.training.loss_trace import LossTrace

__all__ = ["Monitor", "Watcher"]


class Watcher(Protocol):
    """What looks at a model in training."""

    def __call__(self, epoch: int, model: nn.Module) -> None:
        """After an epoch, counted from 1; what it draws at random changes nothing."""

    def finish(self, model: nn.Module, report: AuditReport) -> Mapping[str, Any]:
        """What is reported beside the metrics of the trained model and its audit."""


@dataclass(frozen=True)
class Monitor:
    """Reports accuracy, the members' loss and the loss-threshold attack's AUC after every epoch.

    Attributes:
        tell: what it reports them to.
        data: the data set.
        split: of its records; some of target-train and target-test are asked about.
        normalize: what the model's images go through.
        device: of the training.
        trace: is given the losses of all attacked records after the epochs that it wants.
    """

    tell: Callable[[dict[str, float]], object]
    data: Dataset
    split: FourWaySplit
    normalize: Normalizer
    device: torch.device
    trace: LossTrace | None = None

    def __call__(self, epoch: int, model: nn.Module) -> None:
        """Asks the model about some records, or all where they are traced, and reports."""
        count = monitored_records(len(self.split.target_train))
        parts = [self.split.target_train[:count], self.split.target_test[:count]]
        records = np.concatenate(parts)
        is_member = np.arange(len(records)) < len(parts[0])
        traced = None if self.trace is None else self.trace(epoch, model)
        if traced is None:
            logits = predict_logits(model, self.data.images[records], device=self.device, normalize=self.normalize)
        else:  # of all records, these among them
            logits = np.concatenate([side[:count] for side in np.split(traced, [len(self.split.target_train)])])
        signals = TargetSignals.from_logits(logits, self.data.labels[records].numpy(), is_member)
        accuracy = float(signals.correct[~is_member].mean())
        auc = roc_curve(-signals.losses, is_member).auc
        loss = float(signals.losses[is_member].mean())
        found = {"default": accuracy, "accuracy": accuracy, "loss": loss, "loss_threshold_mia_auc": auc}
        self.tell(found)

    def finish(self, model: nn.Module, report: AuditReport) -> Mapping[str, Any]:
        """Nothing more."""
        return {}
