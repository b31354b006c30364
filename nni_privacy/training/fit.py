"""Training: :func:`fit`, the one function that trains anything (targets, shadows, architectures), and asking models.

The whole data set is one tensor on the device; batches are taken by indexing a seeded permutation. What an epoch and a
step are is in :mod:`nni_privacy.training.loop`; each option of a recipe has a file of its own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.data.inputs import Inputs
from nni_privacy.data.normalize import to_float
from nni_privacy.errors import ConfigError, DataError, nearest
from nni_privacy.schema import Count, Seed, checked
from nni_privacy.training.classifier import Classifier, Outputs, Transform, own_type
from nni_privacy.training.early_stopping import Patience, held_out
from nni_privacy.training.gradients import gradients_on, make_trainable, usable
from nni_privacy.training.loop import Task, TrainingDiverged, epoch_batches, is_finite, run_epoch, steps_of
from nni_privacy.training.modes import evaluation_mode, kept_modes, seeded_layers
from nni_privacy.training.recipe import MIN_BATCH, Recipe

__all__ = ["FitResult", "TrainingDiverged", "epoch_batches", "evaluation_mode", "fit"]
__all__ += ["own_type", "predict_logits", "prepare_batch", "resolve_device", "seed_everything"]

OnEpoch = Callable[[int, nn.Module], None]

DEVICES = ("auto", "cpu", "cuda")
MEMORY_FORMAT = torch.channels_last  # a quarter faster for cell networks on the CPU, and what tensor cores want
IMAGE_DIMS = 4


@dataclass(frozen=True)
class FitResult:
    """What :func:`fit` saw, one entry an epoch; empty lists where a function of the user's own has trained.

    Attributes:
        losses: mean training loss over the epoch's records, as they were met; with label smoothing, of smoothed labels.
            With DP-SGD a record is met once an epoch on average only, in Poisson batches; NaN where none was.
        accuracies: fraction of them that were classified right, in training mode, as they were met.
        learning_rates: the rate of the epoch, at its last step.
        seconds: wall time of the whole training, callbacks included.
        epsilon: of the whole training at the recipe's delta, by Opacus' RDP accountant; None without DP-SGD.
        best_epoch: with ``stop_early``, the epoch (from 1) whose weights the model has; else None.
    """

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    seconds: float = 0.0
    epsilon: float | None = None
    best_epoch: int | None = None


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
    validation: tuple[Any, Tensor] | None = None,
) -> FitResult:
    """Trains ``model`` in place by ``recipe`` with cross-entropy, and leaves it on ``device`` in the mode it came in.

    On the CPU the same initial weights, data, recipe, seed and number of threads give the same final weights bit for
    bit: the order of the records comes from a generator of its own, as do augmentation and DP-SGD's noise, and what
    layers draw (dropout, dropped paths) from the global one, which is seeded for the training and put back afterwards.
    So models with different layers see the same batches. Gradients are turned on, also under ``torch.no_grad``.

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
        on_epoch: called with the number of finished epochs (from 1) and the model, which with ``ema`` has the average
            of its weights meanwhile; what it draws at random changes nothing here.
        validation: images and labels that ``stop_early`` looks at; by default a part of the given ones
            (:func:`~nni_privacy.training.early_stopping.held_out`), which then are not trained on. Without
            ``stop_early`` of no use.

    Raises:
        DataError: if the data has wrong lengths, or labels beyond the model's classes.
        AuditError: if the model does not take such records, or does not return logits.
        ConfigError: if DP-SGD cannot take a layer, which is named, or cannot reach the wanted epsilon; if an option
            needs another network; or if a function of the user's own fails.
        TrainingDiverged: as soon as an epoch's loss is NaN or infinite, or the final weights are.
    """
    started = time.perf_counter()
    place = resolve_device(device)
    inputs = Inputs.of(images)
    _check_labelled(inputs, labels)
    if len(labels) < MIN_BATCH:
        raise DataError(f"{len(labels)} records to train on, expected {MIN_BATCH} or more")
    if validation is not None:
        _check_labelled(Inputs.of(validation[0]), validation[1], whose="validation: ")
    if recipe.stop_early is not None and validation is None:
        held = torch.from_numpy(held_out(recipe, len(labels), seed=seed))
        validation = inputs[held], labels[held]
        inputs, labels = inputs[~held], labels[~held]
    make_trainable(model)
    inputs, labels = inputs.map(usable), usable(labels)
    if recipe.dp is not None:
        from nni_privacy.training.dp_layers import make_private_layers

        make_private_layers(model)
    model.to(place).to(memory_format=MEMORY_FORMAT)
    with seeded_layers(seed, place), kept_modes(model):
        classifier = Classifier(model, normalize=normalize, outputs=outputs, memory_format=MEMORY_FORMAT)
        training = _Training(classifier, inputs, labels, recipe, seed, place, on_epoch)
        result = training.by_recipe(validation) if recipe.train is None else training.by_own_function()
    return replace(result, seconds=time.perf_counter() - started)


@dataclass(frozen=True, eq=False)
class _Training:
    """What :func:`fit` was given, checked and where it belongs; the two ways to train by it."""

    classifier: Classifier
    inputs: Inputs
    labels: Tensor
    recipe: Recipe
    seed: int
    place: torch.device
    on_epoch: OnEpoch | None

    def tell(self, epoch: int, model: nn.Module) -> None:
        if self.on_epoch is not None:
            with seeded_layers(self.seed, self.place):
                self.on_epoch(epoch, model)

    def by_recipe(self, validation: tuple[Any, Tensor] | None) -> FitResult:
        """By the loop of this package; the model ends with the weights that count."""
        recipe, model, result = self.recipe, self.classifier.model, FitResult()
        order = torch.Generator().manual_seed(self.seed)
        stopping = None if recipe.stop_early is None else Patience(model, recipe.stop_early.patience)
        task = Task(
            self.classifier, self.inputs.to(self.place), self.labels.to(self.place), recipe=recipe, seed=self.seed
        )
        with task.finished(), steps_of(task, self.seed) as steps:
            for epoch in range(1, recipe.epochs + 1):
                loss, accuracy = run_epoch(task, steps, steps.batches(order), epoch=epoch)
                result.losses.append(loss)
                result.accuracies.append(accuracy)
                result.learning_rates.append(task.optimizer.param_groups[0]["lr"])
                with task.averaged():
                    self.tell(epoch, model)
                    if stopping is not None and stopping.note(epoch, self._loss_on(validation)):
                        break
        if stopping is not None:
            stopping.restore()
        if not is_finite(model):
            raise TrainingDiverged("after the last step weights are NaN or infinite: lower the learning rate")
        return replace(result, epsilon=steps.epsilon, best_epoch=None if stopping is None else stopping.best_epoch)

    def _loss_on(self, validation: tuple[Any, Tensor] | None) -> float:
        """Mean cross-entropy of the model in evaluation mode."""
        if validation is None or not len(validation[1]):
            raise DataError("recipe: stop_early needs records to look at: give more to train on")
        asked: dict[str, Any] = {"normalize": self.classifier.normalize, "outputs": self.classifier.outputs}
        logits = predict_logits(self.classifier.model, validation[0], device=self.place, **asked)
        low, high, classes = int(validation[1].min()), int(validation[1].max()), logits.shape[1]
        if low < 0 or high >= classes:
            raise DataError(f"validation: labels run from {low} to {high}, but the model has {classes} classes")
        return functional.cross_entropy(torch.from_numpy(logits).double(), validation[1].cpu()).item()

    def by_own_function(self) -> FitResult:
        """By the function that the recipe names."""
        from nni_privacy.training.own_function import TrainingData, run_own_function

        model, data = self.classifier.model, TrainingData(self.inputs, self.labels, self.classifier)
        given = {"model": model, "data": data, "recipe": self.recipe, "seed": self.seed, "device": self.place}
        model.train()
        run_own_function(str(self.recipe.train), **given, on_epoch=self.tell)
        model.to(self.place).to(memory_format=MEMORY_FORMAT)
        if not is_finite(model):
            raise TrainingDiverged(f"recipe.train: after {self.recipe.train!r} weights are NaN or infinite")
        return FitResult()


def prepare_batch(images: Tensor, normalize: Transform | None, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """What the model sees of a batch ``(B, C, H, W)``: floats of its type, normalised, in the fastest layout."""
    batch = (to_float(images) if normalize is None else normalize(images)).to(dtype)
    return batch.contiguous(memory_format=MEMORY_FORMAT) if batch.ndim == IMAGE_DIMS else batch


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


def _check_labelled(inputs: Inputs, labels: Tensor, *, whose: str = "") -> None:
    if len(inputs) != len(labels) or labels.ndim != 1:
        found = f"{whose}{inputs.noun} have shape {inputs.shapes}, labels {tuple(labels.shape)}"
        raise DataError(f"{found}: expected (n, ...), (n,) with the same n")
    if labels.dtype != torch.int64:
        raise DataError(f"{whose}labels are {labels.dtype}, expected torch.int64")
