"""Getting what a list of attacks needs from a trained model: each signal once, and no more than is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from nni_privacy.attacks import TargetSignals, get_attack
from nni_privacy.attacks.label_only import measure_distances
from nni_privacy.auditing.forward import extract_signals
from nni_privacy.auditing.options import Effort
from nni_privacy.auditing.shadows.options import ShadowOptions
from nni_privacy.auditing.shadows.paper import small_cnn_signals, twin_signals
from nni_privacy.auditing.shadows.plan import Normalization
from nni_privacy.auditing.shadows.references import AnyModel, Population, reference_shadows
from nni_privacy.auditing.shadows.shared import outsider_signals, shared_reference
from nni_privacy.auditing.shadows.train import TrainingOptions
from nni_privacy.data.inputs import Inputs
from nni_privacy.errors import AuditError
from nni_privacy.training.classifier import Outputs, Transform
from nni_privacy.training.fit import predict_logits

__all__ = ["SignalRequest", "check_suitable", "gather_signals"]

Pair = tuple[Any, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class SignalRequest:
    """A trained model, the records to attack, and what may be spent.

    Attributes:
        model: the trained classifier.
        images: ``(n, C, H, W)``, or records of any kind, see :class:`~nni_privacy.data.Inputs`.
        labels: ``(n,)`` integers.
        is_member: ``(n,)`` booleans.
        normalize: what the target applies to a batch.
        normalization: how shadow models are normalised.
        device: of all of it.
        batch_size: records a forward pass.
        seed: of what is drawn.
        effort: how many questions may be asked.
        shadow: how shadow models are trained; needed by attacks that require them.
        outputs: what the model returns.
        loss_trace: ``(E, n)`` losses of the records after epochs of the training before the last; for attacks that
            require them.
    """

    model: nn.Module
    images: Any
    labels: torch.Tensor
    is_member: np.ndarray
    normalize: Transform | None
    normalization: Normalization
    device: torch.device
    batch_size: int
    seed: int
    effort: Effort
    shadow: ShadowOptions | None
    outputs: Outputs = "logits"
    loss_trace: npt.NDArray[np.floating] | None = None

    @cached_property
    def inputs(self) -> Inputs:
        """The records."""
        return Inputs.of(self.images)

    @property
    def reference_views(self) -> int:
        """Versions of each record that reference models are asked about; only images have augmented ones."""
        if self.inputs.images is None:
            if self.effort.views not in ("auto", 1):
                raise AuditError(
                    f"views: {self.effort.views}; only images have augmented ones, and these are {self.inputs}"
                )
            return 1
        return self.effort.reference_views(None if self.shadow is None else self.shadow.recipe)

    def shadow_options(self, needed_by: str) -> tuple[ShadowOptions, TrainingOptions]:
        """The options of shadow models; an error where an attack needs some that are not given."""
        options = self.shadow
        if options is None:
            raise AuditError(
                f"{needed_by} needs shadow models: give shadow=ShadowOptions(recipe=..., "
                "model=ModelSpec('module:factory')); "
                'see docs/auditing.md, "On your own model"'
            )
        return options, TrainingOptions(
            recipe=options.recipe,
            seed=self.seed,
            normalize=self.normalization,
            workers=options.workers,
            cache=options.cache,
            device=self.device,
            outputs=self.outputs,
        )

    def shadow_records(self, needed_by: str) -> tuple[Pair, Pair]:
        """The attacker's own members and non-members: shadow-train and shadow-test."""
        options, _ = self.shadow_options(needed_by)
        if options.train is None or options.test is None:
            raise AuditError(f"{needed_by} needs records for shadow models: give train and test of ShadowOptions")
        return options.train, options.test


_SUITABLE: Mapping[str, tuple[Callable[[Inputs], bool], str]] = MappingProxyType(
    {
        "view_logits": (lambda inputs: inputs.images is not None, "images (n, C, H, W), which it augments"),
        "distances": (lambda inputs: inputs.numbers is not None, "one tensor of floats or images, which it moves"),
        "black_box_shadow": (
            lambda inputs: inputs.numbers is not None,
            "one tensor of floats or images, for a shadow of its own architecture",
        ),
        "outsider": (lambda inputs: inputs.numbers is not None, "one tensor of floats or images, for a small network"),
    }
)
"""What the records must be to give a signal that an attack requires, and in words."""


def check_suitable(names: Collection[str], inputs: Inputs) -> None:
    """Refuses, before anything is asked, records of a kind that an attack cannot do with.

    Raises:
        AuditError: with the attack and what the records are.
    """
    for attack in map(get_attack, names):
        for signal in sorted(attack.requires & _SUITABLE.keys()):
            suits, needed = _SUITABLE[signal]
            if not suits(inputs):
                raise AuditError(f"attack {attack.name!r} needs {needed}; these are {inputs}")


def gather_signals(request: SignalRequest, *, requires: Collection[str]) -> TargetSignals:
    """Asks the model, and trains shadow models, for what attacks require; see :data:`attacks.registry.REQUIREMENTS`.

    Args:
        request: what is audited, and what may be spent.
        requires: union of the attacks' requirements.

    Raises:
        AuditError: if the model's answers cannot be audited, or something that shadow models need is missing.
    """
    signals = extract_signals(
        request.model,
        request.inputs,
        request.labels,
        request.is_member,
        batch_size=request.batch_size,
        device=request.device,
        normalize=request.normalize,
        gradients="gradients" in requires,
        views=_views(request, requires),
        outputs=request.outputs,
    )
    for name, provide in _PROVIDERS.items():
        if name in requires:
            signals = replace(signals, **provide(request, signals))
    return signals


def _views(request: SignalRequest, requires: Collection[str]) -> int | None:
    """Versions of each image that the target is asked about: as many as reference models are, two for robustness."""
    needed = {"shadows": request.reference_views, "view_logits": request.effort.robustness_views}
    return max((views for name, views in needed.items() if name in requires), default=None)


def _distances(request: SignalRequest, _: TargetSignals) -> dict[str, Any]:
    """Boundary distances of a seeded choice of members and of non-members; NaN for all others."""
    distances, queries = measure_distances(
        request.model,
        request.inputs.tensors[0],
        request.labels,
        request.is_member,
        seed=request.seed,
        queries=request.effort.boundary_queries,
        per_side=request.effort.boundary_records,
        normalize=request.normalize,
        device=request.device,
        outputs=request.outputs,
    )
    return {"distances": distances, "queries": queries}


def _references(request: SignalRequest, signals: TargetSignals) -> dict[str, Any]:
    options, training = request.shadow_options("an attack with reference models (lira, rmia, bavaria)")
    model: AnyModel = options.model if options.model is not None else request.model
    if options.reference is not None:
        classes = signals.num_classes
        model = shared_reference(options.reference, request.inputs, like=request.model, num_classes=classes)
    shadows = reference_shadows(
        model,
        request.inputs,
        request.labels,
        count=options.count,
        population=_population(request, options),
        views=request.reference_views,
        **training,
    )
    return {"shadows": shadows}


def _population(request: SignalRequest, options: ShadowOptions) -> Population | None:
    """Records z that neither the target nor a reference model is trained on: those of the attacker."""
    parts = [part for part in (options.train, options.test) if part is not None]
    if not parts:
        return None
    inputs = Inputs.cat([Inputs.of(part[0]) for part in parts])
    labels = torch.cat([torch.as_tensor(part[1]) for part in parts])
    answers = extract_signals(
        request.model,
        inputs,
        labels,
        np.zeros(len(labels), dtype=bool),
        batch_size=request.batch_size,
        device=request.device,
        normalize=request.normalize,
        views=request.reference_views,
        outputs=request.outputs,
    )
    return Population(inputs, labels, np.asarray(answers.view_logits))


def _small_cnn(request: SignalRequest, signals: TargetSignals) -> dict[str, Any]:
    _, training = request.shadow_options("black_box_shadow")
    parts = request.shadow_records("black_box_shadow")
    training["outputs"] = "logits"  # of the shadow, whatever the target returns
    return {"black_box_shadow": small_cnn_signals(*parts, num_classes=signals.num_classes, **training)}


def _twin(request: SignalRequest, _: TargetSignals) -> dict[str, Any]:
    options, training = request.shadow_options("white_box_shadow")
    model = options.model if options.model is not None else request.model
    return {"white_box_shadow": twin_signals(model, *request.shadow_records("white_box_shadow"), **training)}


def _outsider(request: SignalRequest, signals: TargetSignals) -> dict[str, Any]:
    _, training = request.shadow_options("quantile")
    train, test = request.shadow_records("quantile")
    answers = predict_logits(
        request.model,
        test[0],
        batch_size=request.batch_size,
        device=request.device,
        normalize=request.normalize,
        outputs=request.outputs,
    )
    population, attacked = Population(*test, answers), (request.inputs, request.labels)
    return {"outsider": outsider_signals(attacked, train, population, num_classes=signals.num_classes, **training)}


def _trace(request: SignalRequest, signals: TargetSignals) -> dict[str, Any]:
    if request.loss_trace is None:
        raise AuditError(
            "lt_iqr and loss_trajectory need losses from the training, which trials record: give those of your own as "
            'loss_trace; see docs/attacks.md, "At the price of a search"'
        )
    rows = np.asarray(request.loss_trace)
    if rows.shape[1:] != signals.labels.shape:
        raise AuditError(f"loss_trace: shape {rows.shape}, expected (epochs, {len(signals)}), a loss for each record")
    return {"loss_trace": np.vstack([rows, signals.losses])}


_PROVIDERS: Mapping[str, Callable[[SignalRequest, TargetSignals], dict[str, Any]]] = MappingProxyType(
    {
        "distances": _distances,
        "shadows": _references,
        "black_box_shadow": _small_cnn,
        "white_box_shadow": _twin,
        "outsider": _outsider,
        "loss_trace": _trace,
    }
)
