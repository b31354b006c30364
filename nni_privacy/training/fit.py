"""Training: a :class:`Recipe` and :func:`fit`, the one function that trains anything (targets, shadows, architectures).

The whole data set is one tensor on the device; batches are taken by indexing a seeded permutation. Defences are fields
of the recipe: augmentation changes what the model sees, label smoothing the loss, DP-SGD the batches and the step.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.data.inputs import Inputs
from nni_privacy.data.normalize import to_float
from nni_privacy.errors import ConfigError, DataError, PrivacyError, nearest
from nni_privacy.rng import derived_seed
from nni_privacy.schema import Count, Seed, checked
from nni_privacy.training.classifier import Classifier, Outputs, Transform, own_type
from nni_privacy.training.defences import augment
from nni_privacy.training.gradients import gradients_on, make_trainable, usable
from nni_privacy.training.recipe import MIN_BATCH, Recipe

if TYPE_CHECKING:
    from nni_privacy.training.dp_sgd import DPTraining

__all__ = ["FitResult", "TrainingDiverged", "epoch_batches", "evaluation_mode", "fit"]
__all__ += ["own_type", "predict_logits", "prepare_batch", "resolve_device", "seed_everything"]

OnEpoch = Callable[[int, nn.Module], None]

DEVICES = ("auto", "cpu", "cuda")
MEMORY_FORMAT = torch.channels_last  # a quarter faster for cell networks on the CPU, and what tensor cores want
IMAGE_DIMS = 4


class TrainingDiverged(PrivacyError, ArithmeticError):  # noqa: N818 - part of the contract
    """The training loss became NaN or infinite."""


@dataclass(frozen=True)
class FitResult:
    """What :func:`fit` saw, one entry an epoch.

    Attributes:
        losses: mean training loss over the epoch's records, as they were met; with label smoothing, of smoothed labels.
            With DP-SGD a record is met once an epoch on average only, in Poisson batches; NaN where none was.
        accuracies: fraction of them that were classified right, in training mode, as they were met.
        learning_rates: the rate of the epoch.
        seconds: wall time of the whole training, callbacks included.
        epsilon: of the whole training at the recipe's delta, by Opacus' RDP accountant; None without DP-SGD.
    """

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    seconds: float = 0.0
    epsilon: float | None = None


@gradients_on()
def fit(
    model: nn.Module,
    images: Any,
    labels: Tensor,
    *,
    recipe: Recipe,
    seed: int,
    device: str | torch.device = "auto",
    normalize: Transform | None = None,
    outputs: Outputs = "logits",
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Trains ``model`` in place with SGD and cross-entropy, and leaves it on ``device`` in the mode it came in.

    On the CPU the same initial weights, data, recipe, seed and number of threads give the same final weights bit for
    bit: the order of the records comes from a generator of its own, as do augmentation and DP-SGD's noise, and what
    layers draw (dropout) from the global one, which is seeded for the training and put back afterwards. So models with
    different layers see the same batches. Gradients are turned on, also under ``torch.no_grad``.

    With ``recipe.dp`` layers that mix records are replaced inside ``model`` for good
    (:func:`~nni_privacy.training.dp_layers.make_private_layers`).

    Args:
        model: returns logits ``(B, K)`` for a batch, or what else :class:`~nni_privacy.training.classifier.Classifier`
            takes for them.
        images: ``(n, C, H, W)``, ``uint8`` or ``float32``, n >= 2; or records of any kind, see
            :class:`~nni_privacy.data.Inputs`. Moved to the device as a whole.
        labels: ``(n,)`` ``int64`` in ``0..K-1``.
        recipe: epochs, batch size, optimiser, schedule and defences.
        seed: of the order of the records and of the layers' random numbers.
        device: ``auto``, ``cpu``, ``cuda`` or a ``torch.device``.
        normalize: applied to each batch; ``uint8`` is divided by 255 without one.
        outputs: what the model returns, ``logits`` or ``probabilities``.
        on_epoch: called with the number of finished epochs (from 1) and the model; what it draws at random changes
            nothing here.

    Raises:
        DataError: if the data has wrong lengths, or labels beyond the model's classes.
        AuditError: if the model does not take such records, or does not return logits.
        ConfigError: if DP-SGD cannot take a layer, which is named, or cannot reach the wanted epsilon.
        TrainingDiverged: as soon as a batch's loss is NaN or infinite.
    """
    started = time.perf_counter()
    place = resolve_device(device)
    inputs = Inputs.of(images)
    _check_training_data(inputs, labels)
    make_trainable(model)
    inputs, labels = inputs.map(usable), usable(labels)
    if recipe.dp is not None:
        from nni_privacy.training.dp_layers import make_private_layers

        make_private_layers(model)
    model.to(place).to(memory_format=MEMORY_FORMAT)
    order = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    accuracies: list[float] = []
    rates = [recipe.learning_rate_at(epoch) for epoch in range(1, recipe.epochs + 1)]
    with _seeded_layers(seed, place), _kept_modes(model):
        asked = Classifier(model, normalize=normalize, outputs=outputs, memory_format=MEMORY_FORMAT)
        task = _Task(asked, inputs.to(place), labels.to(place), recipe=recipe, seed=seed)
        with _steps(task, seed) as steps:
            for epoch, rate in enumerate(rates, start=1):
                loss, accuracy = _run_epoch(task, steps, steps.batches(order), epoch=epoch, rate=rate)
                losses.append(loss)
                accuracies.append(accuracy)
                if on_epoch is not None:
                    with _seeded_layers(seed, place):
                        on_epoch(epoch, model)
    return FitResult(losses, accuracies, rates, time.perf_counter() - started, steps.epsilon)


class _Task:
    """A model and its records: what a forward pass on some of them is."""

    def __init__(self, classifier: Classifier, inputs: Inputs, labels: Tensor, *, recipe: Recipe, seed: int) -> None:
        self.classifier, self.model = classifier, (model := classifier.model)
        self.inputs, self.labels, self.recipe = inputs, labels, recipe
        if recipe.augmentation and inputs.images is None:
            raise DataError(f"recipe: augmentation needs images (n, C, H, W), found {inputs}")
        parameters = [parameter for parameter in model.parameters() if recipe.dp is None or parameter.requires_grad]
        self.optimizer = torch.optim.SGD(
            parameters,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            # One kernel for all weights; on a CPU it would gain 2% and round otherwise than the plain loop.
            fused=(recipe.dp is None and all(one.is_cuda and one.is_floating_point() for one in parameters)) or None,
        )
        self.draws = torch.Generator().manual_seed(derived_seed(seed, "augmentation"))
        self.epoch = 1

    def backward(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Forward and backward pass of the mean loss; returns the sum of losses, and how many records are right.

        Both stay on the device: to look at them after each batch would make a GPU wait.
        """
        chosen = index.to(self.labels.device)
        inputs, truth = self.inputs[chosen], self.labels[chosen]
        if self.recipe.augmentation:
            inputs = inputs.map(lambda images: augment(images, self.draws))
        logits = self.classifier(inputs)
        if self.epoch == 1:
            low, high, classes = int(truth.min()), int(truth.max()), logits.shape[1]
            if low < 0 or high >= classes:
                raise DataError(
                    f"labels run from {low} to {high}, but the model has {classes} classes (0..{classes - 1})"
                )
        loss = functional.cross_entropy(logits, truth, label_smoothing=self.recipe.label_smoothing)
        loss.backward()
        return loss.detach().double() * len(truth), (logits.detach().argmax(1) == truth).sum()


class _PlainSteps:
    """Every record once an epoch, and a step along the mean gradient; with DP-SGD a DPTraining stands for it."""

    epsilon: float | None = None

    def __init__(self, task: _Task) -> None:
        self.task = task

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        return epoch_batches(len(self.task.labels), batch_size=self.task.recipe.batch_size, generator=generator)

    def recording(self) -> AbstractContextManager[None]:
        return nullcontext()

    def step(self, index: Tensor) -> tuple[Tensor, Tensor]:
        self.task.optimizer.zero_grad(set_to_none=True)
        seen = self.task.backward(index)
        self.task.optimizer.step()
        return seen


@contextmanager
def _steps(task: _Task, seed: int) -> Iterator[_PlainSteps | DPTraining]:
    if task.recipe.dp is None:
        yield _PlainSteps(task)
        return
    from nni_privacy.training.dp_sgd import DPTraining

    task.model.train()
    training = DPTraining(
        task.model,
        task.optimizer,
        task.backward,
        recipe=task.recipe,
        n=len(task.labels),
        seed=seed,
        device=task.labels.device,
    )
    try:
        training.check()
        yield training
    finally:
        training.close()


def _run_epoch(
    task: _Task, steps: _PlainSteps | DPTraining, batches: list[Tensor], *, epoch: int, rate: float
) -> tuple[float, float]:
    """One pass over the data. Returns mean loss and accuracy of the records as they were met.

    Raises:
        TrainingDiverged: if the loss of a batch was NaN or infinite.
    """
    for group in task.optimizer.param_groups:
        group["lr"] = rate
    task.epoch = epoch
    task.model.train()
    seen, met = [], sum(map(len, batches))
    with steps.recording():
        for index in batches:
            seen.append(torch.stack(steps.step(index)))
    if not met:
        return math.nan, math.nan
    total, right = torch.stack(seen).cpu().cumsum(0)[-1].tolist()
    if not math.isfinite(total):
        raise TrainingDiverged(f"the training loss became {total} in epoch {epoch}; try a lower learning_rate")
    return total / met, right / met


def prepare_batch(images: Tensor, normalize: Transform | None, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """What the model sees of a batch ``(B, C, H, W)``: floats of its type, normalised, in the fastest layout."""
    batch = (to_float(images) if normalize is None else normalize(images)).to(dtype)
    return batch.contiguous(memory_format=MEMORY_FORMAT) if batch.ndim == IMAGE_DIMS else batch


def epoch_batches(n: int, *, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Cuts a random permutation of ``0..n-1`` into batches of ``batch_size``; every record is in exactly one of them.

    A last batch of a single record is merged into the one before (BatchNorm cannot be trained on one record, and
    without it not every member would be trained on in every epoch), which then has ``batch_size + 1`` records.
    """
    batches = list(torch.randperm(n, generator=generator).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches


def predict_logits(
    model: nn.Module,
    images: Any,
    *,
    batch_size: int = 256,
    device: str | torch.device = "auto",
    normalize: Transform | None = None,
    outputs: Outputs = "logits",
) -> np.ndarray:
    """The model's logits in evaluation mode, ``float32`` of shape ``(n, K)``; layers' modes are put back afterwards.

    Args:
        model: returns logits ``(B, K)``; it is left on ``device``.
        images: as in :func:`fit`, anywhere: batches are moved to the device one by one.
        batch_size: records a forward pass, 1 or more.
        device: ``auto``, ``cpu``, ``cuda`` or a ``torch.device``.
        normalize: as in :func:`fit`.
        outputs: as in :func:`fit`.

    Raises:
        ConfigError: if ``batch_size`` is below 1.
        DataError: if there are no records.
        AuditError: if the model does not return a tensor of logits.
    """
    batch_size = checked(Count, batch_size, "predict_logits: batch_size")
    inputs = Inputs.of(images)
    if not len(inputs):
        raise DataError(f"there are no {inputs.noun} to predict")
    place = resolve_device(device)
    model.to(place).to(memory_format=MEMORY_FORMAT)
    classifier = Classifier(model, normalize=normalize, outputs=outputs, memory_format=MEMORY_FORMAT)
    with evaluation_mode(model), torch.inference_mode():
        parts = [classifier(chunk.to(place)).float().cpu() for chunk in inputs.split(batch_size)]
    return torch.cat(parts).numpy()


def resolve_device(name: str | torch.device) -> torch.device:
    """The device that ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N`` stands for.

    Raises:
        ConfigError: if the name is unknown, or CUDA is asked for and not there.
    """
    if isinstance(name, torch.device):
        return name
    kind, _, number = str(name).partition(":")
    if kind not in DEVICES or (number and not (kind == "cuda" and number.isdecimal())):
        raise ConfigError(f"device: {name!r}; {nearest(str(name), DEVICES)}")
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device: {name!r}; torch sees {torch.cuda.device_count()} CUDA devices; use 'auto' or 'cpu'")
    return torch.device(name)


def seed_everything(seed: int) -> None:
    """Seeds python, numpy and torch (all devices), so that a model built next has reproducible initial weights.

    Raises:
        ConfigError: if the seed is not an integer in 0..2**32-1 (numpy's range).
    """
    seed = checked(Seed, seed, "seed")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - third-party code draws from the global generator
    torch.manual_seed(seed)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Puts the model in evaluation mode, and each of its layers back in its own mode at the end.

    An exported program keeps the mode that it was exported in.
    """
    with _kept_modes(model):
        with suppress(NotImplementedError):
            model.eval()
        yield model


@contextmanager
def _kept_modes(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
    try:
        yield
    finally:
        for module, training in modes:
            if module.training != training:  # frozen TorchScript cannot be set
                module.training = training


@contextmanager
def _seeded_layers(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds torch's global generators for dropout and the like, and puts them back at the end."""
    devices: list[int] = []
    if device.type == "cuda":
        devices = [torch.cuda.current_device() if device.index is None else device.index]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _check_training_data(inputs: Inputs, labels: Tensor) -> None:
    if len(inputs) != len(labels) or labels.ndim != 1:
        found = f"{inputs.noun} have shape {inputs.shapes}, labels {tuple(labels.shape)}"
        raise DataError(f"{found}: expected (n, ...), (n,) with the same n")
    if len(labels) < MIN_BATCH:
        raise DataError(f"{len(labels)} records to train on, expected {MIN_BATCH} or more")
    if labels.dtype != torch.int64:
        raise DataError(f"labels are {labels.dtype}, expected torch.int64")
