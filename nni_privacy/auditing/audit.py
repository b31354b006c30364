"""The audit of a trained classifier: its answers on members and non-members are computed once, then attacked.

Torch is imported when a model is audited: ``nni_privacy`` imports this module to offer the function of the same name.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
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
from nni_privacy.attacks.ensemble import Agreement, agreement, combine
from nni_privacy.attacks.epsilon import EpsilonBounds
from nni_privacy.attacks.verdict import check_max_auc
from nni_privacy.auditing.epsilon import CanaryScores, PrivacyClaim, known_epsilon
from nni_privacy.auditing.notices import accuracies, exceeded_claim, notices_of
from nni_privacy.auditing.provenance import provenance_of
from nni_privacy.errors import AuditError

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from torch import nn

    from nni_privacy.auditing.options import Effort
    from nni_privacy.auditing.shadows import ShadowOptions
    from nni_privacy.data.inputs import Inputs
    from nni_privacy.training.classifier import Outputs, Transform

__all__ = ["MIN_RECORDS", "AuditReport", "audit", "audit_signals"]

MIN_RECORDS = 20
"""Members, and non-members, that an audit needs at least; below, its intervals would say nothing."""

DEFAULT_ATTACKS = ("black_box_partial",)


@dataclass(frozen=True, eq=False)
class AuditReport:
    """The results of one or more attacks on one model.

    Attributes:
        attacks: each attack's report by name, the primary one first.
        signals: the model's answers, which all attacks shared: members first, then non-members.
        shared: members whose inputs are among the non-members, too.
        max_auc: the highest AUC that is allowed to any attack, if there is such a threshold.
        provenance: when, where and with what :func:`audit` was made, and the digest of the model's weights, as text.
        skipped: attacks that were not made, each with the reason.
        places: of each record, where it is not that of :attr:`record_index`.
        seed: that the attacks were made with.
        input_notices: what is odd about the records, see :func:`~nni_privacy.auditing.inputs.input_notices`.
        claim: what is said of the training's privacy, and at which delta epsilon is meant.
        canaries: an attack's scores of planted records, if there were some in the training.
    """

    attacks: dict[str, AttackReport]
    signals: TargetSignals
    shared: int = 0
    max_auc: float | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    places: npt.NDArray[np.int64] | None = None
    seed: int = 0
    input_notices: tuple[str, ...] = ()
    claim: PrivacyClaim = field(default_factory=PrivacyClaim)
    canaries: CanaryScores | None = None

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
        exceeded = () if self.claim.epsilon is None else exceeded_claim(self.epsilon, self.claim.epsilon)
        found = notices_of(self.signals, self.attacks, shared=self.shared, inputs=self.input_notices)
        return (*found, *exceeded)

    @cached_property
    def epsilon(self) -> EpsilonBounds:
        """Lower bounds on the epsilon of the model's training, see docs/auditing.md, "Epsilon from below"."""
        return known_epsilon(self.signals, self.attacks, delta=self.claim.delta, canaries=self.canaries)

    @property
    def accuracies(self) -> tuple[float, float] | None:
        """Share of the members, and of the non-members, that the model gets right; None if answers do not tell."""
        return accuracies(self.signals) if self.signals.tells_class else None

    @cached_property
    def combined(self) -> AttackReport | None:
        """The attacker who combines all attacks; None if there is one only, or too few records have all scores.

        See :func:`~nni_privacy.attacks.ensemble.combine`; the verdict does not count it.
        """
        return combine(list(self.attacks.values()), self.signals, seed=self.seed)

    @property
    def results(self) -> dict[str, AttackReport]:
        """The attacks by name, and last, if there is one, the attacker who combines them."""
        combined = self.combined
        return self.attacks | ({} if combined is None else {combined.name: combined})

    @cached_property
    def agreement(self) -> Agreement:
        """How far the attacks say the same of the same records."""
        return agreement(list(self.attacks.values()))

    @property
    def not_made(self) -> dict[str, tuple[str, ...]]:
        """The :attr:`skipped` attacks by their reasons."""
        reasons = dict.fromkeys(self.skipped.values())
        return {one: tuple(name for name, reason in self.skipped.items() if reason == one) for one in reasons}

    @property
    def record_index(self) -> npt.NDArray[np.int64]:
        """Each audited record's place among the members, or among the non-members, from 0; or its :attr:`places`."""
        if self.places is not None:
            return self.places
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
        shown = dict.fromkeys((self.primary.name, self.verdict.leading))
        results = [f"{name} AUC {_auc(self.attacks[name])}" for name in shown]
        if more := len(self.attacks) - len(shown):
            results.append(f"and {more} more")
        told = "" if self.accuracies is None else "; accuracy {:.3f} and {:.3f}".format(*self.accuracies)
        return f"AuditReport({members} members, {len(self.signals) - members} non-members: {', '.join(results)}{told})"

    def _repr_html_(self) -> str:
        """A table, where a notebook shows a report."""
        from nni_privacy.auditing.summary import summary_html

        return summary_html(self)

    def plot_roc(self, axes: Axes | None = None) -> Axes:
        """Draws the ROC curves of all attacks, log-log, with the diagonal of an attacker who guesses.

        Args:
            axes: of Matplotlib, to draw into; by default those of a new figure of ``pyplot``.

        Returns:
            The axes; their figure is ``axes.figure``.
        """
        from nni_privacy.auditing.figures import draw_roc_figure, roc_figure

        return draw_roc_figure(roc_figure(self.attacks), axes)

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
    members: Any,
    nonmembers: Any,
    *,
    attacks: str | Sequence[str] = DEFAULT_ATTACKS,
    shadow: ShadowOptions | Mapping[str, Any] | None = None,
    effort: Effort | Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    batch_size: int = 256,
    normalize: Transform | None = None,
    outputs: Outputs = "logits",
    allow_shared: bool = False,
    max_auc: float | None = None,
    claim: PrivacyClaim | None = None,
    loss_trace: npt.NDArray[np.floating] | None = None,
) -> AuditReport:
    """Attacks a trained classifier with membership inference.

    Args:
        model: any module that returns logits ``(B, K)`` for a batch: as a tensor, or as ``logits`` of an object or a
            mapping; one logit a record is that of the second of two classes. It is run in evaluation mode, and its
            modes and device are put back. Also a ``torch.export.ExportedProgram``.
        members: ``(inputs, labels)`` of records it was trained on, m >= 20, labels ``(m,)``. Inputs are images ``(m, C,
            H, W)``, tables ``(m, d)``, token ids ``(m, L)`` or any other tensor or array, or a tuple or a mapping of
            such, which are the parameters of the model's ``forward``. Or a mapping with the labels in it, or a data set
            or a loader of torch, which is read as a whole. Integers of images are levels 0..255, as ``uint8`` is (0 and
            1 only are refused); all others are ids, and stay integers. Floats are taken as they are, and a warning says
            so of images beyond 0..1.
        nonmembers: the same for records it was not trained on, from the same distribution and scaled alike.
        attacks: names of registered attacks, the primary one first.
        shadow: how shadow models are trained, as options or a mapping of them; needed by all attacks with models of the
            attacker's own.
        effort: how many questions the attacks may ask of the model, and their protocol; options or a mapping.
        seed: of the attacks and the shadow models; each attack gets the same, whatever the others are.
        device: ``auto``, ``cpu``, ``cuda`` or a ``torch.device``.
        batch_size: records a forward pass.
        normalize: applied to each batch (of several inputs: to the tuple or dictionary); without one, ``uint8`` images
            are divided by 255 and floats are left as they are. If it is a :class:`~nni_privacy.data.Normalizer`, shadow
            models get statistics of their own training records; any other callable gets images of integers as they are,
            and shadow models cannot be trained.
        outputs: what the model returns: ``logits``, or ``probabilities``, of each class or of the second of two.
        allow_shared: accept records that are both among the members and the non-members.
        max_auc: the highest AUC that is allowed to any attack, 0.5 to 1: a threshold of the verdict.
        claim: the epsilon that is claimed of the training, which attacks may refute, and its delta; see
            :attr:`AuditReport.epsilon`.
        loss_trace: ``(E, m + k)``, losses of the m members, then of the k non-members, after E epochs of the training
            before its last (:class:`~nni_privacy.training.LossTrace`); needed by ``lt_iqr`` and ``loss_trajectory``.

    Raises:
        AuditError: if there are fewer than 20 members or non-members, they share records, shapes or scales do not fit,
            labels are out of range, the model does not take the records or return logits, its logits are NaN or
            infinite, an attack needs records of another kind, or ``max_auc`` is out of its range.
        ConfigError: if an attack, the device or an option is unknown or out of range.
    """
    import torch

    from nni_privacy.auditing.collect import SignalRequest, check_suitable, gather_signals
    from nni_privacy.auditing.inputs import notices_of_inputs
    from nni_privacy.auditing.options import Effort
    from nni_privacy.auditing.records import check_records, check_scale, count_shared, warn_of_probabilities
    from nni_privacy.auditing.shadows import ShadowOptions
    from nni_privacy.data import Normalizer
    from nni_privacy.data.inputs import Inputs
    from nni_privacy.training.classifier import module_of
    from nni_privacy.training.fit import resolve_device

    names = _check_request(attacks, seed)
    effort = Effort() if effort is None else Effort.of(effort)
    if shadow is not None:
        shadow = ShadowOptions.of(shadow)
        check_reference_models(names, shadow.count)
    check_max_auc(max_auc)
    model = module_of(model)
    scaled = normalize is None or isinstance(normalize, Normalizer)
    (inputs, labels), (others, other_labels) = check_records(members, nonmembers, scaled=scaled)
    check_suitable(names, inputs)
    shared = count_shared(inputs, others)
    if shared and not allow_shared:
        raise AuditError(
            f"members and non-members share {shared} {inputs.noun} (of {len(inputs)} and {len(others)}); "
            "remove them, or pass allow_shared if they are different records that look the same"
        )
    _check_counts(len(labels), len(other_labels))
    check_scale(inputs, others)
    odd = notices_of_inputs(inputs, others)
    shadow = None if shadow is None else _same_types(shadow, inputs)
    if shadow is not None and not scaled:
        raise AuditError("shadow models can be trained with a Normalizer or without normalisation only")
    used = resolve_device(device)
    parameter = next(model.parameters(), None)
    device_before = None if parameter is None else parameter.device
    try:
        request = SignalRequest(
            model=model,
            images=Inputs.cat([inputs, others]),
            labels=torch.cat([labels, other_labels]),
            is_member=np.repeat([True, False], [len(labels), len(other_labels)]),
            normalize=normalize,
            normalization=None if normalize is None else "own",
            device=used,
            batch_size=batch_size,
            seed=seed,
            effort=effort,
            shadow=shadow,
            outputs=outputs,
            loss_trace=loss_trace,
        )
        requires = frozenset().union(*(get_attack(name).requires for name in names))
        signals = gather_signals(request, requires=requires)
    finally:
        if device_before is not None:
            model.to(device_before)
    if outputs == "logits":
        warn_of_probabilities(signals.logits)
    report = audit_signals(signals, attacks=names, seed=seed, shared=shared, effort=effort)
    report = replace(report, max_auc=max_auc, claim=claim or PrivacyClaim())
    return replace(report, provenance=provenance_of(model, device=used), input_notices=odd)


def audit_signals(
    signals: TargetSignals,
    *,
    attacks: str | Sequence[str] = DEFAULT_ATTACKS,
    seed: int = 0,
    shared: int = 0,
    protocol: ProtocolName = "cross_fit",
    effort: Effort | Mapping[str, Any] | None = None,
) -> AuditReport:
    """Attacks signals that are there already; what :func:`audit` does after its forward pass.

    Args:
        signals: of the model on members and non-members.
        attacks: names of registered attacks, the primary one first.
        seed: of the attacks.
        shared: members whose inputs are among the non-members, too.
        protocol: of the attacks that have an option of this name, see
            :func:`~nni_privacy.attacks.cross_fitting.learn_and_attack`.
        effort: options of all attacks; its ``protocol`` counts.

    Raises:
        AuditError: if there are fewer than 20 members or non-members, no attack or the same one twice, or one needs
            signals that are not there.
        ConfigError: if an attack is unknown.
    """
    from nni_privacy.auditing.options import Effort

    effort = Effort(protocol=protocol) if effort is None else Effort.of(effort)
    names = _check_request(attacks, seed)
    _check_counts(int(signals.is_member.sum()), int((~signals.is_member).sum()))
    reports = {}
    for attack in map(get_attack, names):
        result = attack(signals, seed=seed, **effort.options_of(attack))
        reports[attack.name] = report_attack(attack.name, result)
    return AuditReport(reports, signals, shared, seed=seed)


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


def _same_types(shadow: ShadowOptions, inputs: Inputs) -> ShadowOptions:
    """The options with records of the attacker's own, if there are any, of the attacked records' types."""
    from nni_privacy.auditing.records import check_scale, record_tensors

    parts: dict[str, Any] = {}
    for name in ("train", "test"):
        records = getattr(shadow, name)
        if records is not None:
            parts[name] = record_tensors(f"shadow: {name}", records, scaled=True)
            check_scale(inputs, parts[name][0], names=("members", f"shadow {name}"))
    return replace(shadow, **parts)
