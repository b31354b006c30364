"""An NNI evaluator: it trains an architecture, attacks it, and reports the attack's success next to the accuracy."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import nni
import numpy as np
import numpy.typing as npt
import torch
from nni.nas.evaluator import Evaluator
from nni.nas.space import ExecutableModelSpace
from torch import nn

from nni_privacy.analysis.constraints import Constraints
from nni_privacy.attacks import get_attack
from nni_privacy.auditing.audit import AuditReport, audit_signals
from nni_privacy.auditing.canaries import Canaries, plant_canaries
from nni_privacy.auditing.collect import SignalRequest, gather_signals
from nni_privacy.auditing.epsilon import PrivacyClaim
from nni_privacy.auditing.model_record import ModelRecord, architecture_of, model_file
from nni_privacy.auditing.monitor import Monitor, Watcher
from nni_privacy.auditing.notices import accuracies, balanced_accuracy, class_counts
from nni_privacy.auditing.options import Effort, MeasuringOptions, ShadowSettings
from nni_privacy.auditing.records import count_shared
from nni_privacy.auditing.shadows.models import ModelSource
from nni_privacy.auditing.shadows.options import ShadowOptions
from nni_privacy.data import Dataset, FourWaySplit, Normalizer, check_dataset_options, load_dataset
from nni_privacy.errors import ConfigError
from nni_privacy.files import atomic_write
from nni_privacy.runs.directory import describe_environment
from nni_privacy.runs.models import MODEL_FILE
from nni_privacy.schema import Seed, checked
from nni_privacy.training.costs import LATENCY_BATCH, latency, multiply_adds, parameters
from nni_privacy.training.early_stopping import without_held_out
from nni_privacy.training.fit import FitResult, fit, predict_logits, prepare_batch, resolve_device, seed_everything
from nni_privacy.training.loss_trace import LossTrace, traced_epochs
from nni_privacy.training.recipe import Recipe
from nni_privacy.training.recipe_checks import check_cutout, check_network, looks_at_network

__all__ = ["IMPORTED_LATE", "SCORES_FILE", "PrivacyEvaluator", "architecture_text", "factors_text", "final_metrics"]

EVALUATION_BATCH = 256

SCORES_FILE = "scores.npz"


IMPORTED_LATE = (
    "nni_privacy.attacks.attack_models",
    "scipy.stats",
    "sklearn.linear_model",
    "sklearn.neural_network",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "threadpoolctl",
)
"""Modules that attacks import when they run."""

_in_memory: dict[PrivacyEvaluator, tuple[Dataset, FourWaySplit]] = {}
"""Data that :meth:`PrivacyEvaluator.warm_up` has read; empty in a process that has not been told to."""


class PrivacyEvaluator(Evaluator):
    """Trains an architecture on target-train, tests it on target-test, and audits its membership privacy.

    The data set is split four ways as in the paper (target-train, target-test, shadow-train, shadow-test); members
    are the records of target-train, non-members those of target-test. Every trial of an experiment uses the same
    split, seed and order of batches, so architectures are compared on equal terms, and the same architecture gives
    the same numbers whichever trial it is.

    Reports to NNI, after every epoch, ``accuracy``, the members' ``loss`` and ``loss_threshold_mia_auc`` (on a part of
    the records), and at the end the metrics of
    :meth:`AuditReport.metrics <nni_privacy.auditing.AuditReport.metrics>` with ``accuracy``, ``train_accuracy``,
    ``overfitting``, ``balanced_accuracy``, ``seconds``, with DP-SGD ``epsilon``, and ``architecture``, the one that was
    really trained, its ``parameters`` and ``multiply_adds``, and where it is searched its size (``factors``); as texts
    ``data``, the sizes of the split and of the classes, and ``notices``, why they may be no result, which may be empty
    (docs/auditing.md, "The verdict"). The value that strategies maximise, ``default``, is the accuracy. Per-record
    scores go to ``scores.npz`` in the trial's output folder, the trained weights to ``model.safetensors``, with all
    that makes them whole (:class:`~nni_privacy.auditing.model_record.ModelRecord`).

    Args:
        dataset: the name of a data set, or a mapping of ``name`` and its options.
        recipe: how to train, a :class:`Recipe` or its fields; by default the paper's.
        attacks: names of attacks, the first of them primary: its metrics are reported without prefix.
        seed: drives the split, the initial weights, the batches and the attacks.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: torch's threads a trial on the CPU. With one a run is fastest as a whole (one trial a core) and
            reproducible bit for bit.
        effort: the attacks' query budget and options, an :class:`~nni_privacy.auditing.Effort` or its fields.
        shadow: ``count`` of reference models (``lira``, ``rmia``, ``bavaria``), ``reference``, what they are where all
            trials share them, ``workers`` that train them (0: the trial itself) and ``cache``, their folder; see
            :class:`~nni_privacy.auditing.options.ShadowSettings`. Shadow models are trained by the same recipe, and
            remembered: the small CNN of ``black_box_shadow`` is trained once for all trials.
        latency: whether ``latency_ms`` and ``batch_latency_ms`` are measured and reported, too; see
            :func:`nni_privacy.training.latency`.
        plugins: modules of your own to import first, also in the trials: they may register attacks and data sets.
        weights: whether a trial writes its weights.
        constraints: metric to bound; the trial reports its ``violation``, 0 if it keeps them all, see
            :meth:`Constraints.violation <nni_privacy.strategies.Constraints.violation>`.
        canaries: mislabelled records of the shadow halves that are planted, each in the training with probability 1/2,
            and attacked, to bound its epsilon from below; see :mod:`nni_privacy.auditing.canaries`. With them, and with
            DP-SGD, ``epsilon_low`` and ``epsilon_low_gaussian`` are reported.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    def __init__(
        self,
        dataset: str | Mapping[str, Any],
        *,
        recipe: Recipe | Mapping[str, Any] | None = None,
        attacks: Sequence[str] = ("black_box_partial",),
        seed: int = 0,
        device: str = "auto",
        threads: int = 1,
        effort: Effort | Mapping[str, Any] | None = None,
        shadow: ShadowSettings | Mapping[str, Any] | None = None,
        latency: bool = False,
        plugins: Sequence[str] = (),
        weights: bool = True,
        constraints: Constraints | Mapping[str, Any] | None = None,
        canaries: int = 0,
    ) -> None:
        given = {"recipe": recipe, "effort": effort, "shadow": shadow}
        options = MeasuringOptions.from_mapping(
            {"plugins": plugins, "attacks": attacks, "device": str(device), "threads": threads, "latency": latency}
            | {"canaries": canaries}
            | {name: value for name, value in given.items() if value is not None}
        )
        self.recipe = options.recipe
        self.attacks = options.attacks
        self.seed = checked(Seed, seed, "seed")
        self.device = options.device
        self.threads = options.threads
        self.effort = options.effort
        self.shadow = options.shadow
        self.latency = options.latency
        self.canaries = options.canaries
        self.plugins = options.plugins
        self.weights = checked(bool, weights, "weights")
        self.constraints = Constraints.of(constraints)
        content = {"name": dataset} if isinstance(dataset, str) else dict(dataset)
        if "name" not in content:
            raise ConfigError("dataset: 'name' is missing")
        name = content.pop("name")
        self.dataset = {"name": name, **check_dataset_options(name, content)}

    def extra_repr(self) -> str:
        """For ``repr``."""
        return (
            f"dataset={self.dataset}, {self.recipe}, attacks={self.attacks}, seed={self.seed}, device={self.device!r}"
        )

    def check_space(self, model_space: ExecutableModelSpace) -> None:
        """Raises ConfigError unless the recipe suits the space's networks and the images; a search asks first."""
        if self.recipe.cutout:
            check_cutout(self.recipe, self.load_data()[0].image_shape[1:])
        if looks_at_network(self.recipe):
            check_network(self.recipe, model_space.robust_default().executable_model())

    def load_data(self) -> tuple[Dataset, FourWaySplit]:
        """The data set and its four-way split.

        Raises:
            DataError: if the data is missing or not valid.
        """
        known = _in_memory.get(self)
        if known is not None:
            return known
        data = load_dataset(**self.dataset)
        return data, data.split(seed=self.seed)

    def warm_up(self) -> None:
        """Reads the data and imports what attacks need, for evaluations in processes forked from this one.

        Raises:
            DataError: if the data is missing or not valid.
        """
        for name in self.attacks:
            get_attack(name)
        for module in IMPORTED_LATE:
            import_module(module)
        _in_memory[self] = self.load_data()

    def evaluate(self, model: nn.Module) -> dict[str, Any]:
        """Trains and audits ``model``, and reports to NNI.

        Args:
            model: maps images (n, C, h, w) of the data set to logits (n, K); its weights are trained in place.

        Returns:
            The final metrics, as reported.

        Raises:
            TrainingDiverged: if the loss becomes NaN or infinite.
            DataError: if the data is missing, or the model has another number of classes.
        """
        started = time.perf_counter()
        torch.set_num_threads(self.threads)
        data, split = self.load_data()
        device = resolve_device(self.device)
        costs = {"parameters": parameters(model), "multiply_adds": multiply_adds(model, data.image_shape)}
        split, held = without_held_out(split, self.recipe, seed=self.seed)
        normalize = Normalizer.fit(data.images[split.target_train])
        canaries = None
        if self.canaries:
            canaries, split = plant_canaries(data, split, self.canaries, seed=self.seed)
        trace = self._loss_trace(data, split, normalize, device)
        monitor = Monitor(nni.report_intermediate_result, data, split, normalize, device, trace)
        watchers = (monitor, *self.watchers(model, data, split, normalize, device))
        training = self._train(model, data, split, held, canaries, normalize, device, watchers)
        report = self.attack(model, data, split, normalize, device, losses=None if trace is None else trace.losses)
        report = self._with_claim(report, model, data, canaries, normalize, training)
        metrics = final_metrics(report) | costs | _told(report, split, data, self._spent(split, canaries))
        metrics |= _privacy_metrics(report)
        if self.latency:
            records = data.images[split.target_test[:LATENCY_BATCH]].to(device)
            metrics |= latency(model, prepare_batch(records, normalize))
        violation = self.constraints.violation(metrics)
        if self.constraints:
            metrics["violation"] = violation if violation < math.inf else None
        metrics |= self.describe(model)
        for watcher in watchers:
            metrics |= watcher.finish(model, report)
        further = self.further_arrays(model, data, split, normalize, device)
        if canaries is not None and report.canaries is not None:
            further |= canaries.arrays(report.canaries)
        metrics["seconds"] = round(time.perf_counter() - started, 3)
        if "NNI_OUTPUT_DIR" in os.environ:
            output = Path(os.environ["NNI_OUTPUT_DIR"])
            report.save_scores(output / SCORES_FILE, further={**further, "record_index": _attacked(split)})
            if self.weights:
                self._save_weights(output / MODEL_FILE, model, data, normalize, text=str(metrics["architecture"]))
        nni.report_final_result(metrics)
        return metrics

    def _save_weights(self, path: Path, model: nn.Module, data: Dataset, normalize: Normalizer, *, text: str) -> None:
        atomic_write(path, model_file(model, self.model_record(model, data, normalize, text=text)))

    def describe(self, model: nn.Module) -> dict[str, Any]:
        """What is reported of ``model`` besides its metrics; evaluators that know more of it say more."""
        factors = getattr(model, "factors", None)
        size = {"factors": factors_text(factors)} if factors else {}
        return {"architecture": architecture_text(model), **size}

    def watchers(
        self, model: nn.Module, data: Dataset, split: FourWaySplit, normalize: Normalizer, device: torch.device
    ) -> Sequence[Watcher]:
        """What else looks at the untrained ``model`` now, after each epoch and at the end."""
        return ()

    def shadow_model(self, data: Dataset) -> ModelSource | None:
        """How more models of the architecture are built; None: the network itself tells, as those of our spaces do."""
        return None

    def model_record(self, model: nn.Module, data: Dataset, normalize: Normalizer, *, text: str) -> ModelRecord:
        """What is written beside the weights of ``model``, whose architecture reports write as ``text``."""
        environment = describe_environment()
        dumped = self._dump()
        return ModelRecord(
            architecture=architecture_of(model, self.shadow_model(data), text=text),
            private=self.recipe.dp is not None,
            image_shape=data.image_shape,
            image_type=str(data.images.dtype).removeprefix("torch."),
            num_classes=data.num_classes,
            classes=data.classes,
            mean=normalize.mean,
            std=normalize.std,
            attacks=self.attacks,
            versions={"python": environment["python"], **environment["versions"]},
            shadows=self.shadow.count,
            canaries=self.canaries,
            reference=self.shadow.reference,
            **{key: dumped[key] for key in ("dataset", "recipe", "seed", "effort", "threads")},
        )

    def further_arrays(
        self, model: nn.Module, data: Dataset, split: FourWaySplit, normalize: Normalizer, device: torch.device
    ) -> dict[str, npt.NDArray[Any]]:
        """What is saved beside the scores, by name: for evaluators that look at the trained ``model`` further."""
        return {}

    def _train(
        self,
        model: nn.Module,
        data: Dataset,
        split: FourWaySplit,
        held: npt.NDArray[np.int64],
        canaries: Canaries | None,
        normalize: Normalizer,
        device: torch.device,
        watchers: Sequence[Watcher],
    ) -> FitResult:
        def on_epoch(epoch: int, network: nn.Module) -> None:
            for watcher in watchers:
                watcher(epoch, network)

        rows = split.target_train
        images, labels = (data.images[rows], data.labels[rows]) if canaries is None else canaries.records(data, rows)
        return fit(
            model,
            images,
            labels,
            recipe=self.recipe,
            seed=self.seed,
            device=device,
            normalize=normalize,
            on_epoch=on_epoch,
            validation=(data.images[held], data.labels[held]) if len(held) else None,
        )

    def _spent(self, split: FourWaySplit, canaries: Canaries | None) -> dict[str, float]:
        """What a private training spends, as :class:`~nni_privacy.training.dp_selection.Spent` reads it."""
        if self.recipe.dp is None:
            return {}
        from nni_privacy.training.dp_sgd import budget_of

        planted = 0 if canaries is None else int(canaries.included.sum())
        budget = budget_of(self.recipe, len(split.target_train) + planted)
        return {**asdict(budget), "delta": self.recipe.dp.delta}

    def _with_claim(
        self,
        report: AuditReport,
        model: nn.Module,
        data: Dataset,
        canaries: Canaries | None,
        normalize: Normalizer,
        training: FitResult,
    ) -> AuditReport:
        """The report with the accountant's claim, where there is one, and with the canaries' scores."""
        if self.recipe.dp is not None:
            report = replace(report, claim=PrivacyClaim(training.epsilon, self.recipe.dp.delta))
        if canaries is None:
            return report
        device = resolve_device(self.device)
        logits = predict_logits(model, data.images[canaries.index], device=device, normalize=normalize)
        return replace(report, canaries=canaries.scored(logits))

    def _loss_trace(
        self, data: Dataset, split: FourWaySplit, normalize: Normalizer, device: torch.device
    ) -> LossTrace | None:
        """What records the losses of all attacked records, if an attack asks for them."""
        if not any("loss_trace" in get_attack(name).requires for name in self.attacks):
            return None
        records = _attacked(split)
        epochs = traced_epochs(self.recipe.epochs, self.effort.trace_epochs)
        return LossTrace(data.images[records], data.labels[records], epochs=epochs, normalize=normalize, device=device)

    def attack(
        self,
        model: nn.Module,
        data: Dataset,
        split: FourWaySplit,
        normalize: Normalizer,
        device: torch.device,
        *,
        attacks: Sequence[str] | None = None,
        losses: npt.NDArray[np.float32] | None = None,
    ) -> AuditReport:
        """The audit of ``model`` as it is.

        Args:
            model: trained on target-train, at least in part.
            data: the data set.
            split: of its records.
            normalize: what the model's images go through.
            device: of the forward passes.
            attacks: names; by default all of the evaluator's.
            losses: ``(E, n)`` of the attacked records after epochs before the last, for attacks that need them.
        """
        attacks = self.attacks if attacks is None else attacks
        records = _attacked(split)
        halves = [(data.images[part], data.labels[part]) for part in (split.shadow_train, split.shadow_test)]
        request = SignalRequest(
            model=model,
            images=data.images[records],
            labels=data.labels[records],
            is_member=np.arange(len(records)) < len(split.target_train),
            normalize=normalize,
            normalization="own",
            device=device,
            batch_size=EVALUATION_BATCH,
            seed=self.seed,
            effort=self.effort,
            shadow=ShadowOptions(
                recipe=self.recipe,
                model=self.shadow_model(data),
                train=halves[0],
                test=halves[1],
                **self.shadow.to_dict(),
            ),
            loss_trace=losses,
        )
        requires = frozenset().union(*(get_attack(name).requires for name in attacks))
        signals = gather_signals(request, requires=requires)
        shared = count_shared(*request.images.tensor_split([len(split.target_train)]))
        return audit_signals(signals, attacks=attacks, seed=self.seed, shared=shared, effort=self.effort)

    def _execute(self, model: Any) -> Any:
        # The initial weights are drawn while NNI builds the model, which is before ``evaluate``.
        seed_everything(self.seed)
        return self.evaluate(model.executable_model())

    def _dump(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "recipe": self.recipe.to_dict(),
            "attacks": list(self.attacks),
            "seed": self.seed,
            "device": self.device,
            "threads": self.threads,
            "effort": self.effort.to_dict(),
            "shadow": self.shadow.to_dict(),
            "latency": self.latency,
            "plugins": list(self.plugins),
            "weights": self.weights,
            **({"constraints": self.constraints.to_dict()} if self.constraints else {}),
            **({"canaries": self.canaries} if self.canaries else {}),
        }

    @classmethod
    def _load(cls, **state: Any) -> PrivacyEvaluator:
        return cls(state.pop("dataset"), **state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrivacyEvaluator) and self._dump() == other._dump()

    def __hash__(self) -> int:
        return hash(json.dumps(self._dump(), sort_keys=True))


def _attacked(split: FourWaySplit) -> npt.NDArray[np.int64]:
    """The attacked records, members first."""
    return np.concatenate([split.target_train, split.target_test])


def final_metrics(report: AuditReport) -> dict[str, Any]:
    """An audit as a trial's final result, ``default`` being the accuracy."""
    train_accuracy, accuracy = accuracies(report.signals)
    return {
        "default": accuracy,
        "accuracy": accuracy,
        "train_accuracy": train_accuracy,
        "overfitting": train_accuracy - accuracy,
        "balanced_accuracy": balanced_accuracy(report.signals),
        **report.metrics(),
    }


def _privacy_metrics(report: AuditReport) -> dict[str, float]:
    """What the accountant says of a private training, and what attacks show of it, or of one with canaries."""
    claimed = report.claim.epsilon
    if claimed is None and report.canaries is None:
        return {}
    found = report.epsilon
    lower = {"epsilon_low": found.one_run.epsilon, "epsilon_low_gaussian": found.gaussian.epsilon}
    return lower if claimed is None else {"epsilon": claimed, **lower}


def _told(report: AuditReport, split: FourWaySplit, data: Dataset, spent: Mapping[str, float]) -> dict[str, str]:
    """What a reader of the metrics must know: the data's counts as JSON, and notices. NNI takes no nested values."""
    names = data.classes or tuple(map(str, range(data.num_classes)))
    counts = {
        "split": {part.name: len(getattr(split, part.name)) for part in fields(split)},
        "classes": {names[label]: sides for label, sides in class_counts(report.signals).items()},
        **({"privacy": spent} if spent else {}),
    }
    # Also where there are none: the web UI has the columns of the first trial that it shows.
    return {"data": json.dumps(counts), "notices": "; ".join(report.notices)}


def factors_text(factors: Mapping[str, Any]) -> str:
    """How a trial of a study says what it was set to: NNI's web UI takes no nested values."""
    return json.dumps(factors, sort_keys=True)


def architecture_text(model: nn.Module) -> str:
    """How the architecture of ``model`` is written in reports: its genotype, or for other spaces the sample as JSON."""
    genotype = getattr(model, "genotype", None)
    if genotype is not None:
        return str(genotype)
    parameters = nni.get_current_parameter()
    return json.dumps(getattr(parameters, "sample", parameters), sort_keys=True, default=str)
