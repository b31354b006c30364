"""From a torch model to the signals that attacks read: logits, the classifier's input, augmented queries.

For a linear classifier the gradient of a record's cross-entropy with respect to the classifier's weight is
``(softmax - onehot) outer h``, h being the classifier's input; so the forward pass that gives the logits gives all
gradients as well, and none is computed before an attack asks for it (``TargetSignals.weight_gradients``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.attacks import TargetSignals
from nni_privacy.auditing.options import Views
from nni_privacy.data.inputs import Inputs
from nni_privacy.errors import AuditError
from nni_privacy.schema import Count, checked
from nni_privacy.training.classifier import Classifier, Outputs, Transform, answer_of, to_logits
from nni_privacy.training.fit import evaluation_mode, resolve_device
from nni_privacy.training.gradients import gradients_on, usable

__all__ = ["extract_signals", "view_images"]

_SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))

MAX_GRADIENT_BYTES = 2**30
"""Explicit gradients (models without a linear classifier) may take 1 GiB; beyond, fewer records must be audited."""

_TOLERANCE = 1e-4  # of the logits recomputed from the classifier's input, relative to the largest logit
_HALF_TOLERANCE = 2e-2  # the same for 16-bit floats


@gradients_on()
def extract_signals(
    model: nn.Module,
    images: Any,
    labels: Tensor | npt.NDArray[Any],
    is_member: npt.ArrayLike,
    *,
    batch_size: int = 256,
    device: str | torch.device = "auto",
    normalize: Transform | None = None,
    gradients: bool = False,
    views: int | None = None,
    outputs: Outputs = "logits",
) -> TargetSignals:
    """Asks a trained classifier everything that attacks need, in one forward pass (one a view, with ``views``).

    Args:
        model: returns logits ``(B, K)``, or what else :class:`~nni_privacy.training.classifier.Classifier` takes for
            them; floats come in the type of its weights. It is run in evaluation mode, its layers' modes are put back,
            and it is left on ``device``.
        images: ``(n, C, H, W)``, ``uint8`` or floats; or records of any kind, see :class:`~nni_privacy.data.Inputs`.
        labels: ``(n,)`` integers in ``0..K-1``.
        is_member: ``(n,)`` booleans.
        batch_size: records a forward pass, 1 or more.
        device: ``auto``, ``cpu``, ``cuda`` or a ``torch.device``.
        normalize: applied to each batch after it was augmented; without one, ``uint8`` is divided by 255.
        gradients: also keep the input of the last linear layer (``features``), or if the logits do not come straight
            from one, each record's gradient with respect to the last layer with a weight matrix (``gradients``; this
            costs a backward pass a record).
        views: how many versions of each image to ask about, the plain one included, 1 to 18 (see :func:`view_images`);
            ``None``: no ``view_logits``. More than one is of images only.
        outputs: what the model returns, ``logits`` or ``probabilities``.

    Raises:
        AuditError: if shapes do not fit, the model does not take the records or return logits, a logit is NaN or
            infinite, a label is out of range, or explicit gradients do not fit into memory or cannot be computed.
        ConfigError: if ``batch_size``, ``views`` or ``device`` is out of its range.
    """
    inputs, truth = Inputs.of(images).map(usable), usable(torch.as_tensor(labels))
    checked(Count, batch_size, "batch_size")
    checked(Views | None, views, "views")
    if not len(inputs) or truth.shape != (len(inputs),):
        found = f"{len(inputs)} {inputs.noun}, labels {tuple(truth.shape)}"
        raise AuditError(f"{found}: expected (n,) for n {inputs.noun}, n >= 1")
    if inputs.images is None and (views or 1) > 1:
        raise AuditError(f"views: {views}; augmented queries need images (n, C, H, W), these are {inputs}")
    place = resolve_device(device)
    model.to(place)
    classifier = Classifier(model, normalize=normalize, outputs=outputs)
    batches = inputs.split(batch_size)
    extras: dict[str, Any] = {}
    with evaluation_mode(model):
        tap = _ClassifierTap(model, active=gradients)
        logits = _answers(classifier, batches, place, tap)
        if views is not None:
            asked = (_answers(classifier, batches, place, view=view) for view in range(1, views))
            extras["view_logits"] = np.stack([logits, *asked], axis=1)
        if gradients and tap.features is not None:
            extras["features"] = torch.cat(tap.features).numpy()
        signals = TargetSignals.from_logits(logits, truth.cpu().numpy(), is_member, **extras)
        if not gradients or tap.features is not None:
            return signals
        explicit = _explicit_gradients(classifier, tap, batches, truth.long(), place)
    return TargetSignals.from_logits(logits, signals.labels, signals.is_member, **extras, gradients=explicit)


def view_images(images: Tensor, view: int) -> Tensor:
    """One augmented version of images: what a query of LiRA asks about.

    View 0 is the plain image and view 1 its mirror image; views 2k and 2k+1 are the same shifted by one pixel, to the
    right, left, down, up, then along the diagonals; pixels that come in are reflected at the border.

    Args:
        images: ``(n, C, H, W)``, H and W >= 2, of any type.
        view: 0 to 17.
    """
    down, right = _SHIFTS[view // 2]
    height, width = images.shape[-2:]
    rows, columns = _reflected(height, down, images.device), _reflected(width, right, images.device)
    if view % 2:
        columns = columns.flip(0)
    return images[..., rows[:, None], columns] if view else images


def _reflected(size: int, shift: int, device: torch.device) -> Tensor:
    """The source positions of an axis whose contents move by ``shift``; -1 becomes 1 and ``size`` ``size - 2``."""
    positions = (torch.arange(size, device=device) - shift).abs()
    return torch.where(positions >= size, 2 * (size - 1) - positions, positions)


class _ClassifierTap:
    """Finds the layer that makes the logits while the model runs, and keeps what that layer sees.

    Attributes:
        features: one ``(b, F)`` tensor a batch; ``None`` where the logits do not come straight from a linear layer.
        weighted: the module with a weight matrix that ran last.
    """

    def __init__(self, model: nn.Module, *, active: bool) -> None:
        self.features: list[Tensor] | None = [] if active else None
        self.weighted: nn.Module | None = None
        self._last: tuple[nn.Linear, Tensor, Tensor] | None = None
        # A TorchScript program lets nobody listen to its layers.
        layers = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
        self._modules = [module for module in layers if _weight_matrix(module) is not None]
        self._calls: dict[nn.Module, int] = {}

    def __enter__(self) -> _ClassifierTap:
        self._hooks = [
            module.register_forward_hook(self._remember) for module in self._modules if self.features is not None
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._last = None

    def _remember(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.weighted = module
        self._calls[module] = self._calls.get(module, 0) + 1
        # Only the latest is held: a transformer's activations of a whole batch would be gigabytes.
        self._last = None
        if isinstance(module, nn.Linear) and len(inputs) == 1 and isinstance(output, Tensor):
            self._last = (module, inputs[0], output)

    def read(self, logits: Tensor) -> None:
        """Takes the classifier's input after a batch, or gives up for good if the logits are not that layer's output.

        A layer that was used twice, or whose output was changed afterwards (a temperature), has another gradient.
        """
        if self.features is None:
            return
        last, calls = self._last, self._calls
        self._last, self._calls = None, {}
        if last is None or calls[last[0]] != 1 or not _is_output_of(*last, logits):
            self.features = None
        else:
            self.features.append(last[1].float().cpu())


def _is_output_of(module: nn.Linear, inputs: Tensor, output: Tensor, logits: Tensor) -> bool:
    """Whether the logits are ``W h + b`` of that layer, checked on the values of the first records of the batch."""
    if output.shape != logits.shape or inputs.ndim != 2:
        return False
    expected = functional.linear(inputs[:8], module.weight, module.bias).float()
    found = logits[:8].float()
    tolerance = _TOLERANCE if logits.dtype in (torch.float32, torch.float64) else _HALF_TOLERANCE
    return bool((expected - found).abs().max() <= tolerance * (1 + found.abs().max()))


def _weight_matrix(module: nn.Module) -> nn.Parameter | None:
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    return weight if weight is not None and weight.ndim > 1 else None


def _answers(
    classifier: Classifier,
    batches: list[Inputs],
    device: torch.device,
    tap: _ClassifierTap | None = None,
    *,
    view: int = 0,
) -> npt.NDArray[np.float32]:
    """The logits of all batches ``(n, K)``; the tap reads along."""
    parts = []
    with torch.inference_mode(), tap or _ClassifierTap(classifier.model, active=False) as reader:
        for batch in batches:
            seen = batch.to(device)
            if view:
                seen = seen.map(lambda images: view_images(images, view))
            parts.append(classifier(seen, reader.read).float().cpu())
    return torch.cat(parts).numpy()


def _explicit_gradients(
    classifier: Classifier,
    tap: _ClassifierTap,
    batches: list[Inputs],
    labels: Tensor,
    device: torch.device,
) -> npt.NDArray[np.float32]:
    """Per-record gradients of the loss with respect to the last weight matrix, ``(n, P)``, with torch.func."""
    model = classifier.model
    weight = _weight_matrix(tap.weighted) if tap.weighted is not None else None
    if weight is None:
        raise AuditError(
            "the model has no layer with a weight matrix: there are no gradients to attack "
            "(TorchScript and exported programs do not show their layers)"
        )
    needed = weight.numel() * 4 * len(labels)
    if needed > MAX_GRADIENT_BYTES:
        raise AuditError(
            f"gradients of {len(labels)} records with respect to a weight of {weight.numel()} numbers take "
            f"{needed / 2**30:.1f} GiB, at most 1 is allowed: audit fewer records, or end the model in a linear layer"
        )
    name = next(key for key, parameter in model.named_parameters() if parameter is weight)
    state = (*model.named_parameters(), *model.named_buffers())
    others = {key: usable(other) for key, other in state if other.is_inference()}

    def loss(value: Tensor, record: tuple[Tensor, ...], label: Tensor) -> Tensor:
        one = Inputs(tuple(part[None] for part in record), batches[0].names)
        output = torch.func.functional_call(model, {**others, name: value}, *classifier.arranged(one))
        return functional.cross_entropy(to_logits(answer_of(output, 1), classifier.outputs).float(), label[None])

    parts, start = [], 0
    value = usable(weight.detach())
    for batch in batches:
        truth = labels[start : start + len(batch)].to(device)
        start += len(batch)
        with torch.no_grad():
            records = classifier.prepare(batch.to(device)).tensors
            parts.append(_per_record(loss, value, records, truth).flatten(1).float().cpu())
    return torch.cat(parts).numpy()


def _per_record(loss: Callable[..., Tensor], weight: Tensor, records: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Gradients ``(b, *weight.shape)``: vectorised, or one by one where a layer cannot be vectorised."""
    gradient = torch.func.grad(loss)
    try:
        return torch.func.vmap(gradient, in_dims=(None, 0, 0))(weight, records, labels)
    except RuntimeError:
        pass
    try:
        return torch.stack([gradient(weight, one, label) for *one, label in zip(*records, labels, strict=True)])
    except RuntimeError as error:
        raise AuditError(f"no gradients of this model: {str(error).partition(chr(10))[0]}") from error
