"""An NNI evaluator around another one: the project's own training, and an audit of what it has trained."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import nni
from nni.common.serializer import SerializableObject, is_traceable
from nni.mutable import LabeledMutable, Mutable, Sample, SampleValidationError
from nni.nas.evaluator import Evaluator, FrozenEvaluator, MutableEvaluator
from nni.nas.space import model_context
from nni.runtime.trial_command_channel import (
    TrialCommandChannel,
    get_default_trial_command_channel,
    set_default_trial_command_channel,
)
from torch import nn
from torch.nn.parameter import is_lazy

from nni_privacy.auditing.audit import AuditReport
from nni_privacy.auditing.in_training import EPOCH_METRIC, TrainingAudit, attack_settings, shadow_options
from nni_privacy.auditing.loader_watch import LoaderWatch
from nni_privacy.auditing.notices import class_counts
from nni_privacy.auditing.provenance import weights_digest
from nni_privacy.auditing.shadows.models import CallableModel, ModelSource, ModelSpec, frozen_space, spec_for
from nni_privacy.auditing.shadows.options import ShadowOptions
from nni_privacy.auditing.sources import check_sources, holds_records, trainer_caveats, trainer_records
from nni_privacy.errors import AuditError, ConfigError
from nni_privacy.evaluator import IMPORTED_LATE, SCORES_FILE, architecture_text, final_metrics
from nni_privacy.training.classifier import Transform

__all__ = ["AuditedEvaluator"]

_PREFIXES = {"members": ("train",), "nonmembers": ("val", "valid", "validation", "test", "eval")}
_SUFFIXES = ("dataloaders", "dataloader", "loaders", "loader", "dl", "dataset", "data", "set", "ds", "")
"""What projects call the loaders of either side: ``train_dataloaders``, ``trainloader``, ``val_set``, ``test``."""


class AuditedEvaluator(MutableEvaluator):
    """Any evaluator of NNI, with its own training, and an audit of the model that it has trained.

    ``AuditedEvaluator(evaluator)`` goes wherever ``evaluator`` went: a ``FunctionalEvaluator``, Lightning's
    ``Classification``, any ``Evaluator`` with ``evaluate(model)``; with NNI's training service and its sequential
    engine; with choices of its own (a learning rate that is searched). What it reports keeps its values. To the final
    result are added the metrics of :meth:`AuditReport.metrics <nni_privacy.auditing.AuditReport.metrics>` (``mia_auc``
    and the like), and, where it does not report them itself, ``accuracy`` (on the non-members), ``train_accuracy``,
    ``overfitting``, ``balanced_accuracy``, ``seconds``, ``architecture``, and as texts ``data`` and ``notices``; to
    intermediate ones ``loss_threshold_mia_auc``. A number that is reported becomes ``default``. Per-record scores go to
    ``scores.npz`` in the trial's output folder. The training is bit for bit what it is without the audit.

    Of several final results the last counts. If there is none, what ``evaluate`` returned is, or else the accuracy, and
    ``notices`` says so. A failed evaluation fails as before, and reports no final result.

    Args:
        inner: the evaluator.
        members: records that the model is trained on, as :func:`nni_privacy.audit` takes them; a list of loaders; or a
            function without arguments that returns such. In a trial of NNI's training service it must be what can be
            sent there: a function in a module, or what ``nni.trace`` wraps. By default what the evaluator's train
            loader yields: that of its trainer (Lightning); its argument or attribute of a name like
            ``train_dataloaders``, ``train_loader`` or ``train_set``; or else whatever loader it goes through while the
            model's weights change.
        nonmembers: others; by default what its validation loader yields (``val_...``, ``valid...``, ``test_...``, or
            the loaders that it goes through while the weights do not change).
        attacks: names of attacks, the first of them primary: its metrics are reported without prefix.
        shadow: :class:`~nni_privacy.auditing.shadows.ShadowOptions`, or a mapping of its fields, for attacks that need
            shadow models; ``recipe`` is how they are trained, ``train`` and ``test`` may be what ``members`` may be,
            and ``model`` is, if it is not given, the trial's own architecture.
        normalize: a function that is applied to each batch before the model.
        **settings: further ones of :class:`~nni_privacy.auditing.in_training.AttackSettings`: ``seed``, ``device``,
            ``batch_size``, ``limit``, ``monitored``, ``outputs``, ``allow_shared``, ``effort``, ``plugins``.

    Attributes:
        results: final results of this process's evaluations, as reported and in their order. NNI's sequential engine
            keeps the ``default`` of each only: here is its ``mia_auc``.

    Raises:
        AuditError: if ``members`` or ``nonmembers`` are nothing that can hold records.
        ConfigError: if an option is unknown or out of range, or an attack needs shadow models and there are none.
    """

    _traced: ClassVar[bool] = True  # as NNI's FunctionalEvaluator: it knows its own arguments

    def __init__(
        self,
        inner: Evaluator,
        *,
        members: Any = None,
        nonmembers: Any = None,
        attacks: str | Sequence[str] = ("black_box_partial",),
        shadow: ShadowOptions | Mapping[str, Any] | None = None,
        normalize: Transform | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(inner, Evaluator):
            raise ConfigError(f"inner: a {type(inner).__name__}; allowed is an evaluator of NNI")
        check_sources(members, nonmembers)
        self.inner, self.members, self.nonmembers, self.normalize = inner, members, nonmembers, normalize
        self.settings = attack_settings(AuditedEvaluator, {"attacks": attacks, **settings})
        self.shadow = shadow_options(shadow)
        self.settings.check_shadow(self.shadow)
        self.results: list[dict[str, Any]] = []

    @property
    def seed(self) -> int:
        """Of the audit."""
        return self.settings.seed

    @property
    def device(self) -> str:
        """Of the audit."""
        return self.settings.device

    def extra_repr(self) -> str:
        """For ``repr``."""
        return f"{self.inner!r}, attacks={self.settings.attacks}"

    def warm_up(self) -> None:
        """Imports what attacks need, and warms the evaluator up, for evaluations in processes forked from this one."""
        for module in IMPORTED_LATE:
            import_module(module)
        warm_up = getattr(self.inner, "warm_up", None)
        if warm_up is not None:
            warm_up()

    def evaluate(self, model: Any) -> dict[str, Any]:
        """Lets the evaluator train ``model``, audits it, and reports to NNI.

        Args:
            model: what the evaluator takes, a module that returns logits.

        Returns:
            The final result, as reported.

        Raises:
            PrivacyError: if the records or the model cannot be audited, or the evaluator did not train it.
        """
        trial = _Trial(self)
        trial.built(model)
        return trial.run(lambda: trial.inner.evaluate(model))

    def _execute(self, model: Any) -> dict[str, Any]:
        # An evaluator of its own way to execute, as those that seed before NNI builds the model, keeps it.
        trial = _Trial(self)
        with trial.seeing(model):
            return trial.run(lambda: trial.inner._execute(model))

    # --- choices of the evaluator itself ---

    def freeze(self, sample: Sample) -> AuditedEvaluator:
        """The same around the evaluator without choices."""
        inner = self.inner.freeze(sample) if isinstance(self.inner, Mutable) else self.inner
        if inner is self.inner:
            return self
        frozen = AuditedEvaluator(**{**self.trace_kwargs, "inner": inner})
        frozen.results = self.results
        return frozen

    def leaf_mutables(self, is_leaf: Callable[[Mutable], bool]) -> Iterable[LabeledMutable]:
        """The evaluator's choices."""
        return self.inner.leaf_mutables(is_leaf) if isinstance(self.inner, Mutable) else ()

    def check_contains(self, sample: Sample) -> SampleValidationError | None:
        """What is wrong with a sample; None if nothing is."""
        return self.inner.check_contains(sample) if isinstance(self.inner, Mutable) else None

    def is_mutable(self) -> bool:
        """Whether the evaluator has choices."""
        return isinstance(self.inner, MutableEvaluator) and self.inner.is_mutable()

    # --- how NNI writes it ---

    @property
    def trace_symbol(self) -> type[AuditedEvaluator]:
        """The class."""
        return AuditedEvaluator

    @property
    def trace_args(self) -> list[Any]:
        """None."""
        return []

    @property
    def trace_kwargs(self) -> dict[str, Any]:
        """The arguments, those that are plain as plain data."""
        given = {"members": self.members, "nonmembers": self.nonmembers, "normalize": self.normalize}
        if self.shadow is not None:
            given["shadow"] = _written(self.shadow)
        return {
            "inner": self.inner,
            **{name: value for name, value in given.items() if value is not None},
            **self.settings.to_dict(),
        }

    def trace_copy(self) -> SerializableObject:
        """The class and the arguments."""
        return SerializableObject(self.trace_symbol, self.trace_args, self.trace_kwargs)


def _written(shadow: ShadowOptions) -> dict[str, Any]:
    names = ("count", "workers", "cache", "reference", "model", "train", "test")
    given = {name: value for name in names if (value := getattr(shadow, name)) is not None or name == "workers"}
    model = shadow.model
    if isinstance(model, ModelSpec) and isinstance(model.factory, str) and not model.arguments:
        given["model"] = model.factory
    return {"recipe": shadow.recipe.to_dict(), **given}


class _Trial(TrialCommandChannel):
    """One evaluation: sees the model when it is built, and what the evaluator reports, before NNI does.

    Whichever way a function reports (``nni.report_final_result``, or the same name imported before), it goes through
    the trial's channel; this stands in its place while the evaluator works.
    """

    def __init__(self, evaluator: AuditedEvaluator) -> None:
        self.evaluator, self.started = evaluator, time.perf_counter()
        self.finals: list[Any] = []
        self.model: Any = None
        self._untrained: str | None = None
        self._audit: TrainingAudit | None = None
        self._watch = LoaderWatch(lambda: _state(self.model))
        self.inner = _unused(evaluator.inner)
        self._channel = get_default_trial_command_channel()

    # --- the model ---

    def built(self, model: Any) -> Any:
        """Takes down what the evaluator is given, before it trains it."""
        self.model, self._untrained = model, _state(model)
        return model

    @contextmanager
    def seeing(self, space: Any) -> Iterator[None]:
        """Sees what NNI builds of ``space``."""
        build = space.executable_model
        space.executable_model = lambda: self.built(build())
        try:
            yield
        finally:
            del space.executable_model

    @property
    def _trained(self) -> bool:
        if self._untrained is not None and _state(self.model) != self._untrained:
            self._untrained = None  # from now on it is
        return isinstance(self.model, nn.Module) and self._untrained is None

    # --- the channel ---

    def receive_parameter(self) -> Any:
        """As without."""
        return self._channel.receive_parameter()

    def send_metric(self, type: Any, parameter_id: Any, trial_job_id: Any, sequence: Any, value: Any) -> None:
        """Keeps a final result, and sends an intermediate one with the epoch's AUC."""
        if type == "FINAL":
            self.finals.append(value)
            return
        known = self._trained and self._missing is None
        with self._cured():
            auc = self._ready().after_epoch(self.model) if known else None
        if auc is not None:
            value = {**_mapping(value), EPOCH_METRIC: auc}
        self._channel.send_metric(
            type=type, parameter_id=parameter_id, trial_job_id=trial_job_id, sequence=sequence, value=value
        )

    # --- the trial ---

    def run(self, work: Callable[[], Any]) -> dict[str, Any]:
        """Lets the evaluator work, audits, and reports."""
        told = self._missing is None
        if told:
            with self._cured():
                self._ready()  # what cannot be audited is not trained
        set_default_trial_command_channel(self)
        try:
            with nullcontext() if told or self._trainer is not None else self._watch.watching():
                returned = work()
        finally:
            set_default_trial_command_channel(self._channel)
        if isinstance(returned, nn.Module):
            self.model, self._untrained = returned, None
        if not self._trained:
            raise AuditError(
                f"{type(self.inner).__name__} left the model's weights as they were: it trains nothing, or another "
                "instance; return the trained module from evaluate()"
            )
        with self._cured():
            report = self._ready().finish(self.model, shadow=self._shadow())
        if "NNI_OUTPUT_DIR" in os.environ:
            report.save_scores(Path(os.environ["NNI_OUTPUT_DIR"]) / SCORES_FILE)
        final = self._final(report, returned)
        self.evaluator.results.append(final)
        nni.report_final_result(final)
        return final

    @contextmanager
    def _cured(self) -> Iterator[None]:
        """Says of records that were found, not told, how to tell them."""
        try:
            yield
        except AuditError as error:
            found = [side for side in _PREFIXES if getattr(self.evaluator, side) is None]
            if not found:
                raise
            options = " and ".join(f"{side}=" for side in found)
            raise AuditError(
                f"{error}; {' and '.join(found)} are all that its loaders yield: if the model takes something else, "
                f"give {options} as functions that return (inputs, labels)"
            ) from error

    def _final(self, report: AuditReport, returned: Any) -> dict[str, Any]:
        """What the evaluator reported, and what the audit found."""
        found, odd = final_metrics(report), [*report.notices, *self._caveats()]
        theirs = _mapping(self.finals[-1]) if self.finals else _mapping(returned) if _is_result(returned) else {}
        if not self.finals:
            used = "what evaluate() returned" if theirs else "the accuracy on the non-members"
            odd.append(f"no final result: {type(self.inner).__name__} reported none, so default is {used}")
        elif "default" not in theirs:
            odd.append("no default: the final result has none, so it is the accuracy on the non-members")
        if isinstance(told := theirs.get("notices"), str) and told:
            odd.insert(0, told)
        counts = {
            "split": {
                "members": int(report.signals.is_member.sum()),
                "nonmembers": int((~report.signals.is_member).sum()),
            },
            "classes": {str(label): sides for label, sides in class_counts(report.signals).items()},
        }
        known = nni.get_current_parameter() is not None or hasattr(self.model, "genotype")
        ours = {
            **found,
            "data": json.dumps(counts),
            **({"architecture": architecture_text(self.model)} if known else {}),
            "seconds": round(time.perf_counter() - self.started, 3),
        }
        return {**ours, **theirs, **report.metrics(), "notices": "; ".join(odd)}

    def _ready(self) -> TrainingAudit:
        """The audit's records, read once."""
        if self._audit is None:
            told, missing = self.evaluator, self._missing
            if missing is not None:
                kind = {"members": "train", "nonmembers": "validation"}[missing]
                raise ConfigError(
                    f"{missing}: {type(self.inner).__name__} has no {kind} loader that can be found: give "
                    f"{missing}=(inputs, labels), a loader, or a function that returns one"
                )
            sides = {side: self._source(side) for side in _PREFIXES}
            self._audit = TrainingAudit(**sides, settings=told.settings, normalize=told.normalize)
        return self._audit

    @property
    def _missing(self) -> str | None:
        """The side of which it is not known, or not yet, where its records are."""
        return next((side for side in _PREFIXES if self._audit is None and self._source(side) is None), None)

    @property
    def _trainer(self) -> Any:
        """Of Lightning."""
        trainer = getattr(self.inner, "trainer", None)
        return trainer if hasattr(trainer, "fit_loop") else None

    def _source(self, side: str) -> Any:
        """Where the records of a side are; None where nothing says it, or not yet."""
        told = getattr(self.evaluator, side)
        if told is not None:
            return told
        if self._trainer is not None:  # once it is set up: a data module may split anew each time
            return trainer_records(self._trainer, side)
        given = {**vars(self.inner), **getattr(self.inner, "arguments", {})}
        for prefix in _PREFIXES[side]:
            for suffix in _SUFFIXES:
                for name in (f"{prefix}_{suffix}".strip("_"), f"{prefix}{suffix}"):
                    if holds_records(given.get(name)):
                        return given[name]
        return self._watch.found(side)

    def _caveats(self) -> tuple[str, ...]:
        trainer = self._trainer
        return () if trainer is None or self.evaluator.members is not None else trainer_caveats(trainer)

    def _shadow(self) -> ShadowOptions | None:
        """The options of shadow models, which are of the trial's architecture if nothing else is said."""
        shadow = self.evaluator.shadow
        if shadow is None or shadow.model is not None or shadow.reference is not None:
            return shadow
        return replace(shadow, model=_source_of(self.model))


def _unused(inner: Evaluator) -> Any:
    """The evaluator; a new one where its trainer has trained already: Lightning's train no second model."""
    found: Any = inner.get() if isinstance(inner, FrozenEvaluator) else inner
    loop = getattr(getattr(found, "trainer", None), "fit_loop", None)
    used = loop is not None and loop.epoch_progress.current.processed
    return found.trace_copy().get() if used and is_traceable(found) else found


def _state(model: Any) -> str | None:
    """A digest of the weights; None of what has none yet, or is no module."""
    if not isinstance(model, nn.Module) or any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        return None
    return weights_digest(model)


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {"default": value}


def _is_result(value: Any) -> bool:
    default = value.get("default") if isinstance(value, Mapping) else value
    return isinstance(default, int | float) and not isinstance(default, bool)


def _source_of(model: nn.Module) -> ModelSource | None:
    """How more models of a trial's architecture are built; None where the network itself tells."""
    try:
        spec_for(model)
        return None
    except ConfigError:
        sample = getattr(nni.get_current_parameter(), "sample", None)
        if not isinstance(sample, Mapping) or not hasattr(model, "trace_kwargs"):
            return None
    traced: Any = model
    space, arguments = type(model), dict(traced.trace_kwargs)
    path = f"{space.__module__}:{space.__qualname__}"
    plain = {"space": path, "arguments": arguments, "sample": dict(sample)}
    importable = getattr(sys.modules.get(space.__module__), space.__name__, None) is space
    if importable and space.__module__ != "__main__" and not traced.trace_args:
        with suppress(TypeError):  # what JSON does not know
            if json.loads(json.dumps(plain)) == plain:
                return ModelSpec(frozen_space, plain)

    def build() -> nn.Module:
        with model_context(dict(sample)):
            return space(*traced.trace_args, **arguments)

    return CallableModel(build)
