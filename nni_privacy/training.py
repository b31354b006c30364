"""Training: a :class:`Recipe` and :func:`fit`, the one function that trains anything (targets, shadows, architectures).

The whole data set is one tensor on the device; batches are taken by indexing a seeded permutation. A defence changes a
recipe and, where it needs to, one of two steps: :func:`prepare_batch` (what the model sees) and :func:`_batch_loss`.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.data.normalize import to_float
from nni_privacy.errors import AuditError, ConfigError, DataError, PrivacyError, nearest

__all__ = [
    "FitResult",
    "Recipe",
    "TrainingDiverged",
    "check_logits",
    "epoch_batches",
    "evaluation_mode",
    "fit",
    "predict_logits",
    "prepare_batch",
    "resolve_device",
    "seed_everything",
]

Transform = Callable[[Tensor], Tensor]
OnEpoch = Callable[[int, nn.Module], None]

DEVICES = ("auto", "cpu", "cuda")
MAX_NUMPY_SEED = 2**32 - 1
MEMORY_FORMAT = torch.channels_last  # a quarter faster for cell networks on the CPU, and what tensor cores want
IMAGE_DIMS = 4
MIN_BATCH = 2  # BatchNorm cannot be trained on one record
_ROUNDING = 1e-9  # 0.1 * 30 is a little more than 3: a milestone must not slip by an epoch for it


class TrainingDiverged(PrivacyError, ArithmeticError):  # noqa: N818 - part of the contract
    """The training loss became NaN or infinite."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained. The defaults are the paper's (section 2 of reference/paper.md): SGD, 100 epochs.

    Attributes:
        epochs: passes over the training part, 1 or more.
        batch_size: records a step, 2 or more.
        learning_rate: of the first epochs, above 0.
        momentum: of SGD, 0 or more and below 1.
        weight_decay: L2 penalty, 0 or more.
        milestones: increasing fractions of the epochs, strictly between 0 and 1, after which the rate is multiplied by
            ``decay``: with the defaults, epochs 1-50 of 100 run at 1e-2, 51-75 at 1e-3, 76-100 at 1e-4; with 30 epochs
            the rate drops after 15 and after 23 (22.5 rounded up).
        decay: factor of the learning rate at a milestone, above 0 and at most 1.

    Raises:
        ConfigError: with the field, its value and the allowed range.
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    milestones: tuple[float, ...] = (0.5, 0.75)
    decay: float = 0.1

    def __post_init__(self) -> None:
        _check_integer("epochs", self.epochs, minimum=1)
        _check_integer("batch_size", self.batch_size, minimum=MIN_BATCH)
        _check_number("learning_rate", self.learning_rate, lambda x: x > 0, "numbers above 0")
        _check_number("momentum", self.momentum, lambda x: 0 <= x < 1, "numbers from 0 to below 1")
        _check_number("weight_decay", self.weight_decay, lambda x: x >= 0, "numbers of 0 or more")
        _check_number("decay", self.decay, lambda x: 0 < x <= 1, "numbers above 0 and up to 1")
        if isinstance(self.milestones, (str, Mapping)) or not hasattr(self.milestones, "__iter__"):
            raise ConfigError(f"recipe: milestones is {self.milestones!r}: allowed are lists of increasing fractions")
        for value in self.milestones:
            _check_number("milestones", value, lambda x: 0 < x < 1, "increasing fractions between 0 and 1")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ConfigError(f"recipe: milestones is {list(self.milestones)}: allowed are increasing fractions")
        object.__setattr__(self, "milestones", tuple(self.milestones))

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> Recipe:
        """Builds a recipe from a part of a configuration file.

        Raises:
            ConfigError: if a key is unknown (with the nearest known one) or a value is out of range.
        """
        known = [entry.name for entry in fields(cls)]
        for key in options:
            if key not in known:
                raise ConfigError(f"recipe: unknown key {key!r}: {nearest(str(key), known)}")
        return cls(**options)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a YAML or JSON file; :meth:`from_mapping` reads them back."""
        return {**asdict(self), "milestones": list(self.milestones)}

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        passed = sum(epoch - 1 >= fraction * self.epochs - _ROUNDING for fraction in self.milestones)
        return self.learning_rate * self.decay**passed


@dataclass(frozen=True)
class FitResult:
    """What :func:`fit` saw, one entry an epoch.

    Attributes:
        losses: mean training loss over the epoch's records, as they were met.
        accuracies: fraction of them that were classified right, in training mode, as they were met.
        learning_rates: the rate of the epoch.
        seconds: wall time of the whole training, callbacks included.
    """

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    seconds: float = 0.0


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    recipe: Recipe,
    seed: int,
    device: str | torch.device = "auto",
    normalize: Transform | None = None,
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Trains ``model`` in place with SGD and cross-entropy, and leaves it on ``device`` in the mode it came in.

    On the CPU the same initial weights, data, recipe, seed and number of threads give the same final weights bit for
    bit: the order of the records comes from a generator of its own, and what layers draw (dropout) from the global one,
    which is seeded for the training and put back afterwards.

    Args:
        model: returns logits ``(B, K)`` for images ``(B, C, H, W)``.
        images: ``(n, C, H, W)``, ``uint8`` or ``float32``, n >= 2; moved to the device as one tensor.
        labels: ``(n,)`` ``int64`` in ``0..K-1``.
        recipe: epochs, batch size, optimiser and schedule.
        seed: of the order of the records and of the layers' random numbers.
        device: ``auto``, ``cpu``, ``cuda`` or a ``torch.device``.
        normalize: applied to each batch; ``uint8`` is divided by 255 without one.
        on_epoch: called with the number of finished epochs (from 1) and the model; what it draws at random changes
            nothing here.

    Raises:
        DataError: if the data has wrong lengths, or labels beyond the model's classes.
        AuditError: if the model does not return a tensor of logits.
        TrainingDiverged: as soon as a batch's loss is NaN or infinite.
    """
    started = time.perf_counter()
    place = resolve_device(device)
    _check_training_data(images, labels)
    model.to(place).to(memory_format=MEMORY_FORMAT)
    images, labels = images.to(place), labels.to(place)
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    losses: list[float] = []
    accuracies: list[float] = []
    rates = [recipe.learning_rate_at(epoch) for epoch in range(1, recipe.epochs + 1)]
    with _seeded_layers(seed, place), _kept_modes(model):
        for epoch, rate in enumerate(rates, start=1):
            for group in optimizer.param_groups:
                group["lr"] = rate
            model.train()
            batches = epoch_batches(len(labels), batch_size=recipe.batch_size, generator=order)
            loss, accuracy = _run_epoch(model, images, labels, batches, optimizer, normalize, epoch)
            losses.append(loss)
            accuracies.append(accuracy)
            if on_epoch is not None:
                with _seeded_layers(seed, place):
                    on_epoch(epoch, model)
    return FitResult(losses, accuracies, rates, time.perf_counter() - started)


def _run_epoch(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    batches: list[Tensor],
    optimizer: torch.optim.Optimizer,
    normalize: Transform | None,
    epoch: int,
) -> tuple[float, float]:
    """One pass over the data. Returns mean loss and accuracy of the records as they were met."""
    total, right = 0.0, 0
    for index in batches:
        chosen = index.to(images.device)
        batch, truth = prepare_batch(images[chosen], normalize), labels[chosen]
        logits = check_logits(model(batch), len(truth))
        if epoch == 1:
            _check_labels_fit(truth, logits.shape[1])
        loss = _batch_loss(logits, truth)
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingDiverged(f"the training loss became {value} in epoch {epoch}; try a lower learning_rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += value * len(truth)
        right += int((logits.detach().argmax(1) == truth).sum())
    return total / len(labels), right / len(labels)


def prepare_batch(images: Tensor, normalize: Transform | None) -> Tensor:
    """What the model sees of a batch ``(B, C, H, W)``: the place for data augmentation (before normalising)."""
    batch = to_float(images) if normalize is None else normalize(images)
    return batch.contiguous(memory_format=MEMORY_FORMAT) if batch.ndim == IMAGE_DIMS else batch


def _batch_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """What training minimises: mean cross-entropy; the place for label smoothing."""
    return functional.cross_entropy(logits, labels)


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
    images: Tensor,
    *,
    batch_size: int = 256,
    device: str | torch.device = "auto",
    normalize: Transform | None = None,
) -> np.ndarray:
    """The model's logits in evaluation mode, ``float32`` of shape ``(n, K)``; layers' modes are put back afterwards.

    Args:
        model: returns logits ``(B, K)``; it is left on ``device``.
        images: ``(n, C, H, W)``, ``uint8`` or ``float32``, anywhere: batches are moved to the device one by one.
        batch_size: images a forward pass, 1 or more.
        device: ``auto``, ``cpu``, ``cuda`` or a ``torch.device``.
        normalize: as in :func:`fit`.

    Raises:
        ConfigError: if ``batch_size`` is below 1.
        DataError: if there are no images.
        AuditError: if the model does not return a tensor of logits.
    """
    _check_integer("batch_size", batch_size, minimum=1, where="predict_logits")
    if not len(images):
        raise DataError("there are no images to predict")
    place = resolve_device(device)
    model.to(place).to(memory_format=MEMORY_FORMAT)
    parts = []
    with evaluation_mode(model), torch.inference_mode():
        for chunk in images.split(batch_size):
            logits = check_logits(model(prepare_batch(chunk.to(place), normalize)), len(chunk))
            parts.append(logits.float().cpu())
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
        raise ConfigError(f"device is {name!r}: {nearest(str(name), DEVICES)}")
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {name!r}, but torch sees {torch.cuda.device_count()} CUDA devices; use 'auto' or 'cpu'"
        )
    return torch.device(name)


def seed_everything(seed: int) -> None:
    """Seeds python, numpy and torch (all devices), so that a model built next has reproducible initial weights.

    Raises:
        ConfigError: if the seed is not an integer in 0..2**32-1 (numpy's range).
    """
    _check_integer("seed", seed, minimum=0, where="seed_everything")
    if seed > MAX_NUMPY_SEED:
        raise ConfigError(f"seed_everything: seed is {seed}: allowed are integers up to {MAX_NUMPY_SEED}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - third-party code draws from the global generator
    torch.manual_seed(seed)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Puts the model in evaluation mode, and each of its layers back in its own mode at the end."""
    with _kept_modes(model):
        yield model.eval()


@contextmanager
def _kept_modes(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
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


def check_logits(output: Any, n: int) -> Tensor:
    """``output`` if it is one tensor of logits for ``n`` images; else an AuditError that says what it is."""
    if not isinstance(output, Tensor):
        raise AuditError(
            f"the model returned a {type(output).__name__}, expected one tensor of logits (batch, classes)"
        )
    if output.ndim != 2 or len(output) != n or output.shape[1] < 2 or not output.is_floating_point():
        found = f"{output.dtype} of shape {tuple(output.shape)}"
        raise AuditError(f"the model returned {found} for {n} images, expected float logits ({n}, classes)")
    return output


def _check_training_data(images: Tensor, labels: Tensor) -> None:
    if len(images) != len(labels) or labels.ndim != 1:
        raise DataError(
            f"images have shape {tuple(images.shape)}, labels {tuple(labels.shape)}: expected (n, C, H, W), (n,)"
        )
    if len(labels) < MIN_BATCH:
        raise DataError(f"{len(labels)} records to train on, expected {MIN_BATCH} or more")
    if labels.dtype != torch.int64:
        raise DataError(f"labels are {labels.dtype}, expected torch.int64")


def _check_labels_fit(labels: Tensor, num_classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise DataError(
            f"labels run from {low} to {high}, but the model has {num_classes} classes (0..{num_classes - 1})"
        )


def _check_integer(name: str, value: Any, *, minimum: int, where: str = "recipe") -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ConfigError(f"{where}: {name} is {value!r}: allowed are integers of {minimum} or more")


def _check_number(name: str, value: Any, allowed: Callable[[float], bool], description: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or not allowed(value):
        hint = " (YAML reads 1e-2 as text: write 0.01 or 1.0e-2)" if isinstance(value, str) else ""
        raise ConfigError(f"recipe: {name} is {value!r}: allowed are {description}{hint}")
