"""An audit that goes along with a training of somebody else's: asked after its epochs, and at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from inspect import signature
from itertools import chain
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import nn

from nni_privacy.attacks import check_reference_models, get_attack, roc_curve
from nni_privacy.attacks.signals import TargetSignals
from nni_privacy.auditing.audit import MIN_RECORDS, AuditReport, audit
from nni_privacy.auditing.collect import check_suitable
from nni_privacy.auditing.forward import extract_signals
from nni_privacy.auditing.options import Effort, Names, known_attacks
from nni_privacy.auditing.records import check_records, count_shared
from nni_privacy.auditing.shadows.options import ShadowOptions
from nni_privacy.auditing.sources import SourcedRecords, read_records
from nni_privacy.data import Normalizer
from nni_privacy.data.inputs import Inputs
from nni_privacy.errors import AuditError, ConfigError, check_keys
from nni_privacy.plugins import import_plugins
from nni_privacy.rng import derived_seed, isolated
from nni_privacy.schema import Count, Options, Seed, options
from nni_privacy.training.classifier import Outputs, Transform
from nni_privacy.training.fit import resolve_device
from nni_privacy.training.loss_trace import traced_epochs

__all__ = ["EPOCH_METRIC", "AttackSettings", "TrainingAudit", "attack_settings", "monitored_records", "shadow_options"]

EPOCH_METRIC = "loss_threshold_mia_auc"
"""What an epoch's AUC is called wherever it is reported."""

MONITORED_RECORDS = (128, 1024)
"""An epoch's metrics are measured on a quarter of either side's records, but on at least and at most so many:
measured on all of them they would cost two thirds of the training."""

_SHADOWS = frozenset({"shadows", "black_box_shadow", "white_box_shadow", "outsider"})
"""What attacks require that comes of shadow models."""


def monitored_records(members: int) -> int:
    """How many of either side's records an epoch's metrics are measured on, see :data:`MONITORED_RECORDS`."""
    least, most = MONITORED_RECORDS
    return max(least, min(members // 4, most))


@options()
class AttackSettings(Options):
    """How a trained model is attacked.

    Attributes:
        plugins: modules that are imported first; they may register attacks.
        attacks: names of attacks, the first of them primary: its metrics are reported without prefix.
        seed: of the attacks, the shadow models, and the records that are drawn.
        device: of the audit, ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; epochs are asked where the model is.
        batch_size: records a forward pass.
        limit: the most members, and non-members, that are attacked; by default all are.
        monitored: members, and non-members, that an epoch's AUC is measured on, 0: none is measured; by default a
            quarter of the members, but 128 to 1,024.
        outputs: what the model returns, ``logits`` or ``probabilities``.
        allow_shared: accept records that are both among the members and the non-members.
        effort: the attacks' query budget and options.
    """

    plugins: Names = ()
    attacks: Annotated[Names, Field(min_length=1)] = ("black_box_partial",)
    seed: Seed = 0
    device: str = "auto"
    batch_size: Count = 256
    limit: Annotated[int, Field(ge=MIN_RECORDS)] | None = None
    monitored: Annotated[int, Field(ge=0)] | None = None
    outputs: Outputs = "logits"
    allow_shared: bool = False
    effort: Effort = Effort()

    @field_validator("plugins")
    @classmethod
    def _imported(cls, plugins: tuple[str, ...]) -> tuple[str, ...]:
        import_plugins(plugins)
        return plugins

    @field_validator("attacks", mode="before")
    @classmethod
    def _listed(cls, attacks: Any) -> Any:
        return (attacks,) if isinstance(attacks, str) else attacks

    @field_validator("attacks")
    @classmethod
    def _known(cls, attacks: tuple[str, ...]) -> tuple[str, ...]:
        return known_attacks(attacks)

    @field_validator("device")
    @classmethod
    def _there(cls, device: str) -> str:
        resolve_device(device)
        return device

    @property
    def requires(self) -> frozenset[str]:
        """What all attacks together require."""
        return frozenset().union(*(get_attack(name).requires for name in self.attacks))

    def check_shadow(self, shadow: ShadowOptions | None) -> None:
        """Refuses attacks that need shadow models where there are none, or too few.

        Raises:
            ConfigError: with the attack.
        """
        if shadow is not None:
            check_reference_models(self.attacks, shadow.count)
            return
        for name in self.attacks:
            if get_attack(name).requires & _SHADOWS:
                raise ConfigError(f"attacks: {name!r} needs shadow models: give shadow={{'recipe': {{...}}}}")


def attack_settings(owner: type, settings: Mapping[str, Any]) -> AttackSettings:
    """The settings among keyword arguments of ``owner``; an unknown one is told with all that it takes."""
    taken = signature(owner).parameters.values()
    own = [one.name for one in taken if one.kind is not one.VAR_KEYWORD]
    check_keys(owner.__name__, settings, {*own, *(one.name for one in fields(AttackSettings))})
    return AttackSettings.from_mapping(settings)


def shadow_options(shadow: ShadowOptions | Mapping[str, Any] | None) -> ShadowOptions | None:
    """The options of shadow models, of which ``train`` and ``test`` may be what members may be.

    Raises:
        ConfigError: if one of them is unknown or out of range.
    """
    return None if shadow is None else ShadowOptions.of(shadow)


class TrainingAudit:
    """The records of both sides, and what a model in training says of them.

    Args:
        members: records it is trained on, see :func:`~nni_privacy.auditing.sources.read_records`.
        nonmembers: others.
        settings: of the attacks.
        normalize: applied to each batch, as in :func:`nni_privacy.audit`.

    Raises:
        AuditError: if the records cannot be audited.
    """

    def __init__(
        self, members: Any, nonmembers: Any, settings: AttackSettings, *, normalize: Transform | None = None
    ) -> None:
        self.settings, self.normalize = settings, normalize
        self._scaled = normalize is None or isinstance(normalize, Normalizer)
        self.members, self.nonmembers = self._read("members", members), self._read("nonmembers", nonmembers)
        check_records(self.members.pair, self.nonmembers.pair, scaled=self._scaled)
        check_suitable(settings.attacks, self.members.inputs)
        self._check_counts()
        self._records = Inputs.cat([self.members.inputs, self.nonmembers.inputs])
        self._labels = torch.cat([self.members.labels, self.nonmembers.labels])
        self._is_member = np.repeat([True, False], [len(self.members), len(self.nonmembers)])
        self._traced = "loss_trace" in settings.requires
        self._losses: list[np.ndarray] = []
        measured = self._draw_measured()
        self._watched = np.arange(len(self._labels)) if self._traced else measured
        self._measured = measured if self._traced else np.arange(len(measured))

    def after_epoch(self, model: nn.Module) -> float | None:
        """The loss-threshold attack's AUC on a part of the records; None if none is monitored.

        The model is asked where it is, in evaluation mode, and is left as it was, as are all random generators.

        Raises:
            AuditError: if its answers cannot be audited.
        """
        if not len(self._watched):
            return None
        signals = self._ask(model)
        if self._traced:
            self._losses.append(np.asarray(signals.losses, dtype=np.float32))
        rows = self._measured
        return float(roc_curve(-signals.losses[rows], signals.is_member[rows]).auc) if len(rows) else None

    def finish(self, model: nn.Module, *, shadow: ShadowOptions | None = None) -> AuditReport:
        """Attacks the trained model, which is left as it was, as are all random generators.

        Args:
            model: the trained model.
            shadow: how shadow models are trained.

        Raises:
            AuditError: if its answers cannot be audited, or an attack lacks something.
        """
        settings = self.settings
        with isolated(threads=torch.get_num_threads()):
            report = audit(
                model,
                self.members.pair,
                self.nonmembers.pair,
                attacks=settings.attacks,
                shadow=None if shadow is None else self._with_records(shadow),
                effort=settings.effort,
                seed=settings.seed,
                device=settings.device,
                batch_size=settings.batch_size,
                normalize=self.normalize,
                outputs=settings.outputs,
                allow_shared=True,
                loss_trace=self._loss_trace(),
            )
        places = np.concatenate([self.members.places, self.nonmembers.places])
        return replace(report, places=places)

    def _read(self, name: str, source: Any) -> SourcedRecords:
        limit, seed = self.settings.limit, self.settings.seed
        return read_records(name, source, scaled=self._scaled, limit=limit, seed=seed)

    def _check_counts(self) -> None:
        counts = len(self.members), len(self.nonmembers)
        if min(counts) < MIN_RECORDS:
            raise AuditError(
                f"{counts[0]} members and {counts[1]} non-members: an audit needs {MIN_RECORDS} or more of each"
            )
        shared = 0 if self.settings.allow_shared else count_shared(self.members.inputs, self.nonmembers.inputs)
        if shared:
            raise AuditError(
                f"members and nonmembers share {shared} {self.members.inputs.noun} (of {counts[0]} and {counts[1]}); "
                "give others, or allow_shared=True if they are different records that look the same"
            )

    def _draw_measured(self) -> np.ndarray:
        """The places of the records that an epoch's AUC is measured on."""
        wanted = self.settings.monitored
        count = monitored_records(len(self.members)) if wanted is None else wanted
        generator = np.random.default_rng(derived_seed(self.settings.seed, "monitored"))
        sides = [generator.permutation(np.flatnonzero(self._is_member == side))[:count] for side in (True, False)]
        return np.concatenate([np.sort(side) for side in sides])

    def _ask(self, model: nn.Module) -> TargetSignals:
        tensor = next(chain(model.parameters(), model.buffers()), None)
        rows = torch.from_numpy(self._watched)
        with isolated(threads=torch.get_num_threads()):
            return extract_signals(
                model,
                self._records[rows],
                self._labels[rows],
                self._is_member[self._watched],
                batch_size=self.settings.batch_size,
                device="cpu" if tensor is None else tensor.device,
                normalize=self.normalize,
                outputs=self.settings.outputs,
            )

    def _loss_trace(self) -> np.ndarray | None:
        """Losses after epochs before the last, as many as ``effort.trace_epochs`` says."""
        if not self._losses:
            return None
        chosen = traced_epochs(len(self._losses), self.settings.effort.trace_epochs)
        return np.stack([self._losses[epoch - 1] for epoch in chosen]) if chosen else None

    def _with_records(self, shadow: ShadowOptions) -> ShadowOptions:
        parts: dict[str, Any] = {
            name: read_records(f"shadow: {name}", source, scaled=self._scaled).pair
            for name in ("train", "test")
            if (source := getattr(shadow, name)) is not None
        }
        return replace(shadow, **parts)
