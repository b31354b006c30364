"""Zero-cost proxies: what an untrained network tells of itself on one batch of images.

Each is a number that was proposed to rank architectures by accuracy before any training; here they are candidates for
ranking leakage. Definitions are those of the papers, and where a paper leaves something open, of Abdelfattah et al.
(Zero-cost proxies for lightweight NAS, ICLR 2021), who measured all of them.

The network is copied, and what is done is done to the copy. Images go through it in training mode, so that batch
normalisations use the batch's own statistics: their running ones are not of any data yet.

The covariance of Jacobians (Mellor et al., arXiv 2006.04647v1) is not among them. It takes the gradient of the sum of a
batch's logits. What a batch normalisation returns has a sum that no image changes, and a DARTS network ends in
normalisations, a mean and a linear layer: there that gradient is 0, and its covariance one of rounding errors.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from nni_privacy.errors import AuditError
from nni_privacy.rng import isolated
from nni_privacy.training.gradients import gradients_on, make_trainable, usable

__all__ = ["PROXIES", "zero_cost_proxies"]

PROXIES = ("synflow", "grad_norm", "snip", "naswot")
"""The names, in the order in which they are returned."""

_OF_GRADIENTS = {"grad_norm", "snip"}
_OF_A_BATCH = {*_OF_GRADIENTS, "naswot"}

LEAST_IMAGES = 2
"""``naswot`` compares images with each other, and so do batch normalisations."""

_NORMALISATIONS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


@gradients_on()
def zero_cost_proxies(
    network: nn.Module, images: Tensor, labels: Tensor, *, names: Collection[str] = PROXIES, seed: int = 0
) -> dict[str, float]:
    """The proxies of a network at initialisation. A weight below is one of a convolution or linear layer.

    What does not exist for a network is left out: a proxy is never NaN or infinite.

    Args:
        network: freshly built, a classifier with logits (B, K); its weights, buffers, modes and gradients stay as they
            are, as do the generators of random numbers.
        images: ``(B, C, H, W)`` floating-point numbers, normalised as for training; B >= 2. They are moved to where the
            network is.
        labels: ``(B,)`` whole numbers from 0 to K - 1.
        names: those of :data:`PROXIES` that are wanted; each is the same whichever others are. ``synflow`` alone takes
            a small part of the time of all, and ``naswot`` alone is spared the backward pass.
        seed: of layers that draw random numbers, such as dropout.

    Returns:
        ``synflow``
            log10 of the synaptic flow: of the network with the absolute values of its weights, without normalisations,
            in double precision, the sum over weights of ``|w dR/dw|``, R being the sum of the logits of an image of
            ones (Tanaka et al., NeurIPS 2020, section 5). Left out where nothing flows.
        ``grad_norm``
            sum over layers of the Euclidean norm of the gradient of the batch's mean cross-entropy (Abdelfattah et
            al., section 3.1).
        ``snip``
            sum over weights of ``|w dL/dw|``, with the same loss L (Lee, Ajanthan and Torr, ICLR 2019, equation 6).
        ``naswot``
            log determinant (natural) of the kernel ``N - d(i, j)``, N being the number of rectified units, and d the
            number of them that are on for one of two images only (Mellor et al., ICML 2021, section 3). Left out of a
            network without ReLU, and where two images are told apart by no unit, so that the determinant is 0.

    Raises:
        AuditError: if images and labels do not fit each other or the network, or the network has no convolution or
            linear layer.
    """
    _check_shapes(images, labels)
    with isolated():
        torch.manual_seed(seed)
        found: dict[str, float] = {}
        model = _trainable_copy(network)
        weights = _weights(model)
        if not weights:
            raise AuditError(f"a {type(network).__name__} has no convolution or linear layer: no zero-cost proxies")
        untouched = copy.deepcopy(model) if "synflow" in names else model
        if set(names) & _OF_A_BATCH:
            batch = images.detach().to(weights[0]).clone()  # a first layer may write into what it is given
            found |= _batch_proxies(model, weights, batch, usable(labels).to(batch.device), names)
        if "synflow" in names:
            found["synflow"] = _synflow(untouched, tuple(images.shape[1:]))
    return {name: found[name] for name in PROXIES if name in names and math.isfinite(found.get(name, math.nan))}


def _trainable_copy(network: nn.Module) -> nn.Module:
    """A copy in training mode, with gradients of everything that can have one, and weights that are parameters."""
    model = copy.deepcopy(network).train()
    make_trainable(model)
    for layer in list(model.modules()):
        if parametrize.is_parametrized(layer):
            # Torch gave this layer a class with a property for the weight, and would take it away from that class,
            # which is the caller's layer's, too.
            kind = type(layer)
            layer.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))
            for name in list(layer.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(layer, name)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    return model


def _weights(model: nn.Module) -> list[Tensor]:
    """Of the convolution and linear layers, each once where layers share it."""
    layers = [layer for layer in model.modules() if isinstance(layer, _ConvNd | nn.Linear)]
    return list(dict.fromkeys(layer.weight for layer in layers if layer.weight.is_floating_point()))


def _check_shapes(images: Tensor, labels: Tensor) -> None:
    if images.ndim != 4 or len(images) < LEAST_IMAGES or not images.is_floating_point():
        raise AuditError(
            f"images: {tuple(images.shape)} of {images.dtype}; expected ({LEAST_IMAGES} or more, C, H, W) of floats"
        )
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise AuditError(f"labels: {tuple(labels.shape)} of {labels.dtype}; expected ({len(images)},) of whole numbers")


def _check_logits(logits: Any, labels: Tensor) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(labels):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise AuditError(f"the network returns {shape}; expected logits ({len(labels)}, classes)")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise AuditError(f"labels: {low} to {high}; allowed of this network are 0 to {logits.shape[1] - 1}")


def _batch_proxies(
    model: nn.Module, weights: list[Tensor], images: Tensor, labels: Tensor, names: Collection[str]
) -> dict[str, float]:
    """The proxies of the batch, of one forward and, unless only ``naswot`` is wanted, one backward pass."""
    with _RectifiedUnits(len(images)) as units:
        logits = model(images)
    _check_logits(logits, labels)
    if not set(names) & _OF_GRADIENTS:
        return {"naswot": units.log_determinant()}
    loss = functional.cross_entropy(logits, labels)
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    pairs = [(weight.detach(), slope) for weight, slope in zip(weights, gradients, strict=True) if slope is not None]
    return {
        "grad_norm": _total(slope.double().norm() for _, slope in pairs),
        "snip": _total((weight * slope).double().abs().sum() for weight, slope in pairs),
        "naswot": units.log_determinant(),
    }


def _total(parts: Iterable[Tensor]) -> float:
    return float(sum(float(part) for part in parts))


class _RectifiedUnits(TorchFunctionMode):
    """Counts, while it is entered, how many rectified units are on, or off, for both of two images.

    It sees the calls of torch's functions, not the layers, as some networks rectify without a layer. What several
    edges rectify, each for itself, counts once for each, as in the authors' code.

    Args:
        images: number of them; what has another first dimension is none of a unit's values.
    """

    FUNCTIONS = (functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images
        self.kernel: Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What ``func`` returns."""
        result = func(*args, **(kwargs or {}))
        if func in self.FUNCTIONS and len(result) == self.images:
            on = (result.detach() > 0).flatten(1).float()
            count = on.sum(dim=1)
            agreed = (on.shape[1] - count[:, None] - count + 2 * on @ on.T).double()  # whole numbers, so exact
            self.kernel = agreed if self.kernel is None else self.kernel + agreed
        return result

    def log_determinant(self) -> float:
        """Of the kernel; NaN without any unit, and minus infinity if its determinant is 0."""
        if self.kernel is None:
            return math.nan
        values = torch.linalg.eigvalsh(self.kernel)  # it is positive semidefinite, a sum of Gram matrices
        if float(values[0]) <= len(values) * torch.finfo(values.dtype).eps * float(values[-1]):
            return -math.inf
        return float(values.log().sum())


def _synflow(model: nn.Module, image_shape: tuple[int, ...]) -> float:
    """Changes the model's weights to absolute values. Minus infinity where nothing flows.

    Normalisations would take the flow's scale out, which is what is measured: their input passes by them.
    """
    model.double().eval()
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            if value.is_floating_point():
                value.abs_()
    for layer in model.modules():
        if isinstance(layer, _NORMALISATIONS):
            layer.register_forward_hook(lambda _, inputs, output: inputs[0])
    weights = _weights(model)
    flow = model(torch.ones(1, *image_shape, dtype=torch.float64, device=weights[0].device)).sum()
    gradients = torch.autograd.grad(flow, weights, allow_unused=True)
    pairs = [(weight, slope) for weight, slope in zip(weights, gradients, strict=True) if slope is not None]
    total = _total((weight.detach() * slope).abs().sum() for weight, slope in pairs)
    return math.log10(total) if total > 0 else -math.inf
