"""The audit of a trained classifier: its answers on members and non-members are computed once, then attacked.

Torch is imported when a model is audited: ``nni_privacy`` imports this module to offer the function of the same name.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks import (
    AttackReport,
    TargetSignals,
    Verdict,
    check_reference_models,
    get_attack,
    judge,
    report_attack,
)
from nni_privacy.attacks.cross_fitting import ProtocolName
from nni_privacy.attacks.verdict import check_max_auc
from nni_privacy.auditing.notices import notices_of
from nni_privacy.auditing.provenance import provenance_of
from nni_privacy.errors import AuditError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nni_privacy.auditing.options import Effort
    from nni_privacy.auditing.shadows import ShadowOptions

__all__ = ["MIN_RECORDS", "AuditReport", "audit", "audit_signals"]

Records = tuple[Any, Any]

MIN_RECORDS = 20
"""Members, and non-members, that an audit needs at least; below, its intervals would say nothing."""

DEFAULT_ATTACKS = ("black_box_partial",)


@dataclass(frozen=True, eq=False)
class AuditReport:
    """The results of one or more attacks on one model.

    Attributes:
        attacks: each attack's report by name, the primary one first.
        signals: the model's answers, which all attacks shared: members first, then non-members.
        shared: members whose image is among the non-members, too.
        max_auc: the highest AUC that is allowed to any attack, if there is such a threshold.
        provenance: when, where and with what :func:`audit` was made, and the digest of the model's weights, as text.
    """

    attacks: dict[str, AttackReport]
    signals: TargetSignals
    shared: int = 0
    max_auc: float | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def primary(self) -> AttackReport:
        """The first attack: the one whose metrics have no prefix."""
        return next(iter(self.attacks.values()))

    @cached_property
    def verdict(self) -> Verdict:
        """What all attacks say together, corrected for their number, and whether the threshold is kept."""
        return judge(list(self.attacks.values()), max_auc=self.max_auc)

    @cached_property
    def notices(self) -> tuple[str, ...]:
        """Reasons why the numbers may be no result; each begins with its kind and a colon."""
        return notices_of(self.signals, self.attacks, shared=self.shared)

    @property
    def record_index(self) -> npt.NDArray[np.int64]:
        """Each audited record's place among the members, or among the non-members, from 0."""
        member = self.signals.is_member
        return np.asarray(np.where(member, np.cumsum(member), np.cumsum(~member)) - 1, dtype=np.int64)

    def metrics(self) -> dict[str, float | None]:
        """Flat metrics, all fractions: the primary attack's as ``mia_auc`` etc., others' as ``<attack>_mia_auc`` etc.

        A TPR that so few non-members cannot resolve is ``None``.
        """
        flat = dict(self.primary.metrics)
        for name, report in self.attacks.items():
            if name != self.primary.name:
                flat.update({f"{name}_{key}": value for key, value in report.metrics.items()})
        return flat

    def __repr__(self) -> str:
        members = int(self.signals.is_member.sum())
        results = (f"{name} AUC {_auc(one)}" for name, one in self.attacks.items())
        return f"AuditReport({members} members, {len(self.signals) - members} non-members: {', '.join(results)})"

    def _repr_html_(self) -> str:
        """A table, where a notebook shows a report."""
        from nni_privacy.auditing.summary import summary_html

        return summary_html(self)

    def save_scores(
        self, path: str | PathLike[str], *, further: Mapping[str, npt.NDArray[Any]] = MappingProxyType({})
    ) -> Path:
        """Writes per-record scores to one ``.npz``: ``<attack>/scores``, ``<attack>/is_member``, ``<attack>/records``.

        Beside them stand ``record_label``, the class of each audited record, and ``record_index``, its place among the
        members or among the non-members; and ``loss_trace``, where there is one.
        The file appears whole or not at all, and loads with ``allow_pickle=False``. Returns its path, ``.npz`` added if
        missing.

        Args:
            path: of the file.
            further: arrays to save with them, by name; a ``record_index`` replaces that one.
        """
        from nni_privacy.files import atomic_write  # here, as it imports YAML, and ``import nni_privacy`` this module

        target = Path(path)
        if target.suffix != ".npz":
            target = target.with_name(target.name + ".npz")
        arrays = {"record_index": self.record_index, "record_label": self.signals.labels, **further}
        if self.signals.loss_trace is not None:
            arrays["loss_trace"] = self.signals.loss_trace
        for name, report in self.attacks.items():
            arrays.update({f"{name}/{key}": getattr(report, key) for key in ("scores", "is_member", "records")})
        target.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        atomic_write(target, content.getvalue())
        return target


def _auc(report: AttackReport) -> str:
    auc, low, high = (report.metrics[key] for key in ("mia_auc", "mia_auc_low", "mia_auc_high"))
    return f"{auc:.4f} [{low:.4f}, {high:.4f}]"


def audit(
    model: nn.Module,
    members: Records,
    nonmembers: Records,
    *,
    attacks: str | Sequence[str] = DEFAULT_ATTACKS,
    shadow: ShadowOptions | None = None,
    effort: Effort | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    batch_size: int = 256,
    normalize: Callable[[Tensor], Tensor] | None = None,
    allow_shared: bool = False,
    max_auc: float | None = None,
    loss_trace: npt.NDArray[np.floating] | None = None,
) -> AuditReport:
    """Attacks a trained classifier with membership inference.

    Args:
        model: any module that returns logits ``(B, K)`` for images ``(B, C, H, W)``; it is run in evaluation mode, and
            its modes and device are put back.
        members: ``(images, labels)`` of records it was trained on: tensors or arrays, ``(m, C, H, W)`` and ``(m,)``, m
            >= 20. Integers in 0..255 are levels, as ``uint8`` is (0 and 1 only are refused); floats are taken as they
            are, and a warning says so of those beyond 0..1.
        nonmembers: the same for records it was not trained on, from the same distribution and scaled alike.
        attacks: names of registered attacks, the primary one first.
        shadow: how shadow models are trained; needed by all attacks with models of the attacker's own.
        effort: how many questions the attacks may ask of the model, and their protocol.
        seed: of the attacks, the shadow models and the bootstrap; each attack gets the same, whatever the others are.
        device: ``auto``, ``cpu``, ``cuda`` or a ``torch.device``.
        batch_size: images a forward pass.
        normalize: applied to each batch; without one, ``uint8`` images are divided by 255 and floats are left as they
            are. If it is a :class:`~nni_privacy.data.Normalizer`, shadow models get statistics of their own training
            records; any other callable gets images of integers as they are, and shadow models cannot be trained.
        allow_shared: accept images that are both among the members and the non-members.
        max_auc: the highest AUC that is allowed to any attack, 0.5 to 1: a threshold of the verdict.
        loss_trace: ``(E, m + k)``, losses of the m members, then of the k non-members, after E epochs of the training
            before its last (:class:`~nni_privacy.training.LossTrace`); needed by ``lt_iqr`` and ``loss_trajectory``.

    Raises:
        AuditError: if there are fewer than 20 members or non-members, they share images, shapes or scales do not fit,
            labels are out of range, the model does not return a tensor of logits, its logits are NaN or infinite, or
            ``max_auc`` is out of its range.
        ConfigError: if an attack or the device is unknown.
    """
    import torch

    from nni_privacy.auditing.collect import SignalRequest, gather_signals
    from nni_privacy.auditing.options import Effort
    from nni_privacy.auditing.records import check_records, check_scale, count_shared
    from nni_privacy.data import Normalizer
    from nni_privacy.training.fit import resolve_device

    names = _check_request(attacks, seed)
    effort = effort or Effort()
    if shadow is not None:
        check_reference_models(names, shadow.count)
    check_max_auc(max_auc)
    scaled = normalize is None or isinstance(normalize, Normalizer)
    (images, labels), (other_images, other_labels) = check_records(members, nonmembers, scaled=scaled)
    shared = count_shared(images, other_images)
    if shared and not allow_shared:
        raise AuditError(
            f"members and non-members share {shared} images (of {len(images)} and {len(other_images)}); "
            "remove them, or pass allow_shared if they are different records that look the same"
        )
    _check_counts(len(labels), len(other_labels))
    check_scale(images, other_images)
    shadow = None if shadow is None else _same_types(shadow, images)
    if shadow is not None and not scaled:
        raise AuditError("shadow models can be trained with a Normalizer or without normalisation only")
    used = resolve_device(device)
    parameter = next(model.parameters(), None)
    device_before = None if parameter is None else parameter.device
    try:
        request = SignalRequest(
            model=model,
            images=torch.cat([images, other_images]),
            labels=torch.cat([labels, other_labels]),
            is_member=np.repeat([True, False], [len(labels), len(other_labels)]),
            normalize=normalize,
            normalization=None if normalize is None else "own",
            device=used,
            batch_size=batch_size,
            seed=seed,
            effort=effort,
            shadow=shadow,
            loss_trace=loss_trace,
        )
        requires = frozenset().union(*(get_attack(name).requires for name in names))
        signals = gather_signals(request, requires=requires)
    finally:
        if device_before is not None:
            model.to(device_before)
    report = audit_signals(signals, attacks=names, seed=seed, shared=shared, protocol=effort.protocol)
    return replace(report, max_auc=max_auc, provenance=provenance_of(model, device=used))


def audit_signals(
    signals: TargetSignals,
    *,
    attacks: str | Sequence[str] = DEFAULT_ATTACKS,
    seed: int = 0,
    shared: int = 0,
    protocol: ProtocolName = "cross_fit",
) -> AuditReport:
    """Attacks signals that are there already; what :func:`audit` does after its forward pass.

    Args:
        signals: of the model on members and non-members.
        attacks: names of registered attacks, the primary one first.
        seed: of the attacks and the bootstrap.
        shared: members whose image is among the non-members, too.
        protocol: of the attacks that have an option of this name, see
            :func:`~nni_privacy.attacks.cross_fitting.learn_and_attack`.

    Raises:
        AuditError: if there are fewer than 20 members or non-members, no attack or the same one twice, or one needs
            signals that are not there.
        ConfigError: if an attack is unknown.
    """
    names = _check_request(attacks, seed)
    _check_counts(int(signals.is_member.sum()), int((~signals.is_member).sum()))
    reports = {}
    for attack in map(get_attack, names):
        options = {"protocol": protocol} if "protocol" in attack.options else {}
        reports[attack.name] = report_attack(attack.name, attack(signals, seed=seed, **options), seed=seed)
    return AuditReport(reports, signals, shared)


def _check_request(attacks: str | Sequence[str], seed: int) -> tuple[str, ...]:
    if seed < 0:
        raise AuditError(f"seed is {seed}: allowed are integers of 0 or more")
    names = (attacks,) if isinstance(attacks, str) else tuple(attacks)
    if not names or len(set(names)) != len(names):
        raise AuditError(f"attacks is {list(names)}: expected one or more different names")
    for name in names:
        get_attack(name)
    return names


def _check_counts(members: int, nonmembers: int) -> None:
    if min(members, nonmembers) < MIN_RECORDS:
        raise AuditError(
            f"{members} members and {nonmembers} non-members: an audit needs {MIN_RECORDS} or more of each"
        )


def _same_types(shadow: ShadowOptions, images: Tensor) -> ShadowOptions:
    """The options with records of the attacker's own, if there are any, of the attacked images' types."""
    from nni_privacy.auditing.records import check_scale, record_tensors

    parts: dict[str, Any] = {}
    for name in ("train", "test"):
        records = getattr(shadow, name)
        if records is not None:
            parts[name] = record_tensors(f"shadow: {name}", records, scaled=True)
            check_scale(images, parts[name][0], names=("members", f"shadow {name}"))
    return replace(shadow, **parts)
