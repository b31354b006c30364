"""A callback of Lightning that audits the network which a trainer trains."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn

from nni_privacy.auditing.audit import AuditReport
from nni_privacy.auditing.in_training import EPOCH_METRIC, TrainingAudit, attack_settings, shadow_options
from nni_privacy.auditing.shadows.options import ShadowOptions
from nni_privacy.auditing.sources import check_sources, trainer_caveats, trainer_records
from nni_privacy.errors import ConfigError
from nni_privacy.training.classifier import Transform

__all__ = ["AuditCallback"]

_logger = logging.getLogger(__name__)


class AuditCallback(Callback):
    """Audits the network of a Lightning training at its end, and looks at the loss-threshold AUC after every epoch.

    ``Trainer(callbacks=[AuditCallback()])``. Each epoch ``loss_threshold_mia_auc`` is logged, as a metric that
    checkpoints and early stopping can follow; at the end of ``fit`` the metrics of the audit, ``mia_auc`` and the
    like, go to the trainer's loggers and into its ``callback_metrics``. The training itself is what it is without:
    no random generator is moved on, and no layer changes its mode.

    Args:
        members: records that the network is trained on, as :func:`nni_privacy.audit` takes them, a list of loaders, or
            a function that returns such; by default what the trainer's train loader yields.
        nonmembers: others; by default what its validation loader yields.
        shadow: how shadow models are trained, for attacks that need some.
        normalize: applied to each batch before the network.
        network: name of the attribute of the LightningModule that returns logits, with dots for one inside of another;
            by default it is the module itself.
        **settings: of :class:`~nni_privacy.auditing.in_training.AttackSettings`: ``attacks``, ``seed``, ``limit`` and
            further ones.

    Attributes:
        report: the :class:`~nni_privacy.AuditReport`, once a training has ended.

    Raises:
        AuditError: if ``members`` or ``nonmembers`` are nothing that can hold records.
        ConfigError: if an option is unknown or out of range, or an attack needs shadow models and there are none.
    """

    def __init__(
        self,
        members: Any = None,
        nonmembers: Any = None,
        *,
        attacks: str | Sequence[str] = ("black_box_partial",),
        shadow: ShadowOptions | Mapping[str, Any] | None = None,
        normalize: Transform | None = None,
        network: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.settings = attack_settings(AuditCallback, {"attacks": attacks, **settings})
        check_sources(members, nonmembers)
        self.shadow = shadow_options(shadow)
        self.settings.check_shadow(self.shadow)
        self._sides, self._normalize, self._network = (members, nonmembers), normalize, network
        self._audit: TrainingAudit | None = None
        self.report: AuditReport | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets an earlier training."""
        self._audit = self.report = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reads the records: what cannot be audited ends the training before it begins.

        Raises:
            PrivacyError: if it cannot.
        """
        self._trained(pl_module)
        self._ready(trainer, wait=trainer.enable_validation)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the epoch's AUC."""
        audit = self._ready(trainer, wait=True)
        auc = None if audit is None else audit.after_epoch(self._trained(pl_module))
        if auc is not None:
            pl_module.log(EPOCH_METRIC, auc, on_epoch=True, rank_zero_only=True)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Audits the network.

        Raises:
            PrivacyError: if its answers cannot be audited.
        """
        audit = self._ready(trainer, wait=False) if trainer.is_global_zero else None
        if audit is None:
            return
        self.report = audit.finish(self._trained(pl_module), shadow=self.shadow)
        caveats = () if self._sides[0] is not None else trainer_caveats(trainer)
        for notice in (*self.report.notices, *caveats):
            _logger.warning("%s", notice)
        metrics = {name: value for name, value in self.report.metrics().items() if value is not None}
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in metrics.items()})
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)

    def _ready(self, trainer: pl.Trainer, *, wait: bool) -> TrainingAudit | None:
        """The records, read once; with ``wait`` None where the trainer has no loader of a side yet."""
        if self._audit is not None:
            return self._audit
        sides = {
            side: told if told is not None else trainer_records(trainer, side)
            for side, told in zip(("members", "nonmembers"), self._sides, strict=True)
        }
        for side, kind in (("members", "train"), ("nonmembers", "validation")):
            if sides[side] is None and wait:
                return None
            if sides[side] is None:
                raise ConfigError(f"{side}: the trainer has no {kind} loader: give {side}=(inputs, labels) or a loader")
        self._audit = TrainingAudit(**sides, settings=self.settings, normalize=self._normalize)
        return self._audit

    def _trained(self, pl_module: pl.LightningModule) -> nn.Module:
        if self._network is None:
            return pl_module
        try:
            found: Any = attrgetter(self._network)(pl_module)
        except AttributeError:
            found = None
        if not isinstance(found, nn.Module):
            name = type(pl_module).__name__
            raise ConfigError(f"network: {self._network!r}; {name} has no torch.nn.Module of that name")
        return found
