"""The training loop: epochs of steps on batches, and what one step of a recipe is.

Every record's way goes through :meth:`Task.backward`: taken by its row, augmented, prepared, augmented again with its
batch, classified, and its loss sent back. Each of these has a file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.data.inputs import Inputs
from nni_privacy.errors import DataError, PrivacyError
from nni_privacy.rng import derived_seed
from nni_privacy.training.auxiliary import AuxiliaryHead, auxiliary_layer, build_head
from nni_privacy.training.averaging import WeightAverage
from nni_privacy.training.batch_augmentation import BatchAugmentation, Mix
from nni_privacy.training.classifier import Classifier
from nni_privacy.training.defences import augment
from nni_privacy.training.drop_path import set_drop_path
from nni_privacy.training.modes import evaluation_mode
from nni_privacy.training.optimizers import Stepper, autocast, optimizer_of
from nni_privacy.training.recipe import Recipe
from nni_privacy.training.recipe_checks import check_network, check_records

if TYPE_CHECKING:
    from nni_privacy.training.dp_sgd import DPTraining

__all__ = ["PlainSteps", "Task", "TrainingDiverged", "balanced_weights", "epoch_batches", "is_finite", "run_epoch"]
__all__ += ["steps_of"]


class TrainingDiverged(PrivacyError, ArithmeticError):  # noqa: N818 - part of the contract
    """The training loss became NaN or infinite."""


def is_finite(model: nn.Module) -> bool:
    """Whether all weights that are trained are finite numbers."""
    trained = (one.detach() for one in model.parameters() if one.requires_grad)
    # A sum is finite only if each of its terms is, and takes a tenth of the time; that of finite ones may overflow.
    return all(bool(one.sum().isfinite()) or bool(one.isfinite().all()) for one in trained)


class Task:
    """A model and its records: what a forward pass on some of them is.

    Args:
        classifier: of the model that is trained, where it is trained.
        inputs: of the records, there too.
        labels: ``(n,)`` ``int64``.
        recipe: how it is trained.
        seed: of all that is drawn.

    Raises:
        DataError: if an option needs other records.
        ConfigError: if an option needs another network.
    """

    def __init__(self, classifier: Classifier, inputs: Inputs, labels: Tensor, *, recipe: Recipe, seed: int) -> None:
        self.classifier, self.model = classifier, (model := classifier.model)
        self.inputs, self.labels, self.recipe = inputs, labels, recipe
        check_records(recipe, inputs)
        check_network(recipe, model)
        self.batch_augmentation = BatchAugmentation(recipe, seed=seed)
        parameters = [parameter for parameter in model.parameters() if recipe.dp is None or parameter.requires_grad]
        self.auxiliary = _auxiliary(classifier, inputs, seed=seed) if recipe.auxiliary else None
        if self.auxiliary is not None:
            parameters += self.auxiliary.head.parameters()
        self.optimizer = optimizer_of(recipe, parameters)
        self.stepper = Stepper(self.optimizer, recipe, labels.device)
        self.average = WeightAverage(model, recipe.ema) if recipe.ema else None
        if recipe.drop_path:
            set_drop_path(model, 0.0)
        self.draws = torch.Generator().manual_seed(derived_seed(seed, "augmentation"))
        self.weights: Tensor | None = None
        self.epoch = 1

    def begin(self, epoch: int) -> None:
        """Puts the model into training mode and sets what changes from epoch to epoch."""
        self.epoch = epoch
        self.model.train()
        if self.recipe.drop_path:
            set_drop_path(self.model, self.recipe.drop_path * (epoch - 1) / self.recipe.epochs)

    def averaged(self) -> AbstractContextManager[None]:
        """The model has the average of its weights meanwhile, where the recipe wants one."""
        return nullcontext() if self.average is None else self.average.in_place()

    @contextmanager
    def finished(self) -> Iterator[None]:
        """At the end the model has the weights that count, and drops no paths any more."""
        try:
            yield
            if self.average is not None:
                self.average.swap()
        finally:
            if self.recipe.drop_path:
                set_drop_path(self.model, 0.0)

    def backward(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Forward and backward pass of the mean loss; returns the sum of losses, and how many records are right.

        Both stay on the device: to look at them after each batch would make a GPU wait.
        """
        chosen = index.to(self.labels.device)
        inputs, truth = self.inputs[chosen], self.labels[chosen]
        if self.recipe.augmentation:
            inputs = inputs.map(lambda images: augment(images, self.draws))
        with autocast(self.recipe, self.labels.device):
            batch, mix = self.batch_augmentation(self.classifier.prepare(inputs))
            logits = self.classifier.logits(batch)
            if self.epoch == 1:
                self._check(truth, logits)
            loss = whole = self._loss(logits, truth, mix)
            if self.auxiliary is not None:
                whole = loss + self.recipe.auxiliary * self._loss(self.auxiliary.logits(), truth, mix)
        self.stepper.backward(whole)
        return loss.detach().double() * len(truth), (logits.detach().argmax(1) == truth).sum()

    def _check(self, truth: Tensor, logits: Tensor) -> None:
        low, high, classes = int(truth.min()), int(truth.max()), logits.shape[1]
        if low < 0 or high >= classes:
            raise DataError(f"labels run from {low} to {high}, but the model has {classes} classes (0..{classes - 1})")
        if self.recipe.class_weights is not None and self.weights is None:
            self.weights = balanced_weights(self.labels, classes).to(self.classifier.dtype)

    def _loss(self, logits: Tensor, truth: Tensor, mix: Mix | None) -> Tensor:
        own = self._cross_entropy(logits, truth)
        if mix is None:
            return own
        return mix.share * own + (1 - mix.share) * self._cross_entropy(logits, truth[mix.partner])

    def _cross_entropy(self, logits: Tensor, truth: Tensor) -> Tensor:
        smoothing = self.recipe.label_smoothing
        return functional.cross_entropy(logits, truth, weight=self.weights, label_smoothing=smoothing)


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights ``(classes,)`` of the classes: records / (classes that occur * records of the class); 0 where none is."""
    counts = torch.bincount(labels, minlength=classes).double()
    present = counts > 0
    return torch.where(present, len(labels) / (present.sum() * counts.clamp_min(1)), 0.0)


def _auxiliary(classifier: Classifier, inputs: Inputs, *, seed: int) -> AuxiliaryHead:
    """A head of fresh weights for what the network's layer shows of two records."""
    found = AuxiliaryHead(auxiliary_layer(classifier.model))
    with evaluation_mode(classifier.model), torch.no_grad(), found.listening():
        classes = classifier(inputs[:2]).shape[1]
        features = found.shown
    if features is None:
        raise DataError("recipe: auxiliary: the network does not go through its auxiliary_layer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "auxiliary head"))
        found.head = build_head(features, classes)
    return found


class PlainSteps:
    """Every record once an epoch, and a step along the mean gradient; with DP-SGD a DPTraining stands for it."""

    epsilon: float | None = None

    def __init__(self, task: Task) -> None:
        self.task = task

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """Rows of the batches of an epoch."""
        return epoch_batches(len(self.task.labels), batch_size=self.task.recipe.batch_size, generator=generator)

    def recording(self) -> AbstractContextManager[None]:
        """What an epoch runs in."""
        auxiliary = self.task.auxiliary
        return nullcontext() if auxiliary is None else auxiliary.listening()

    def step(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """One step on the records ``index``; returns what :meth:`Task.backward` does."""
        self.task.optimizer.zero_grad(set_to_none=True)
        seen = self.task.backward(index)
        self.task.stepper.step()
        return seen


@contextmanager
def steps_of(task: Task, seed: int) -> Iterator[PlainSteps | DPTraining]:
    """The steps of a training, plain or private."""
    if task.recipe.dp is None:
        yield PlainSteps(task)
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


def run_epoch(task: Task, steps: PlainSteps | DPTraining, batches: list[Tensor], *, epoch: int) -> tuple[float, float]:
    """One pass over the data. Returns mean loss and accuracy of the records as they were met.

    Raises:
        TrainingDiverged: if the loss of a batch was NaN or infinite.
    """
    task.begin(epoch)
    seen, met = [], sum(map(len, batches))
    with steps.recording():
        for step, index in enumerate(batches):
            rate = task.recipe.learning_rate_at(epoch, step=step, steps=len(batches))
            for group in task.optimizer.param_groups:
                group["lr"] = rate
            seen.append(torch.stack(steps.step(index)))
            if task.average is not None:
                task.average.update()
    if not met:
        return math.nan, math.nan
    total, right = torch.stack(seen).cpu().cumsum(0)[-1].tolist()
    if not math.isfinite(total):
        raise TrainingDiverged(f"the training loss became {total} in epoch {epoch}; try a lower learning_rate")
    return total / met, right / met


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
