"""Layers for DP-SGD: models made trainable record by record, and gradients of single records by Opacus' samplers."""

from __future__ import annotations

import math
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.functorch import prepare_layer
from opacus.validators import ModuleValidator
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.errors import ConfigError
from nni_privacy.training.convolutions import DilatedDepthwise

__all__ = ["GROUP_CHANNELS", "RecordGradients", "make_private_layers", "refused"]

GROUP_CHANNELS = 8
"""Channels that a group of a GroupNorm has at least. With Opacus' default, gcd(32, channels) groups, the narrow layers
of cell networks would get one channel a group: every channel of every image then has mean zero, and the global average
pooling at the end sees the same constant for all images."""

_MOST_GROUPS = 32

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def refused(path: str, layer: nn.Module, why: str) -> ConfigError:
    """The error for a layer that DP-SGD cannot take."""
    return ConfigError(f"recipe: dp: layer {path or '(the model itself)'!r} ({type(layer).__name__}) {why}")


def make_private_layers(model: nn.Module) -> None:
    """Replaces layers inside ``model`` by what Opacus' ModuleValidator replaces them by, BatchNorm by GroupNorm.

    Unlike ``ModuleValidator.fix`` it changes the model that is given rather than a copy, keeps a norm's scale and
    shift, and sees to norms without parameters too: they mix records as the others do. A model without such layers
    stays as it is.

    Raises:
        ConfigError: with path and type of a layer that mixes records and has no replacement; then nothing is replaced.
    """
    replacements: dict[int, nn.Module] = {}
    places = []
    for path, layer in model.named_modules(remove_duplicate=False):
        if id(layer) not in replacements:
            replacement = _replacement(path, layer)
            if replacement is None:
                continue
            if not path:
                raise refused(path, layer, "mixes the records of a batch and is all there is")
            replacements[id(layer)] = replacement.train(layer.training)
        places.append((path, replacements[id(layer)]))
    for path, replacement in places:
        model.set_submodule(path, replacement)


def _replacement(path: str, layer: Any) -> nn.Module | None:
    """What stands for ``layer`` in a model whose records are independent; None: the layer itself."""
    if type(layer) in _BATCH_NORMS:
        return _group_norm(layer)
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        # timm's BatchNorm with an activation: a subclass, which Opacus does not know.
        further: list[Any] = [getattr(layer, name, None) for name in ("drop", "act")]
        if all(isinstance(part, nn.Module) for part in further):
            return nn.Sequential(_group_norm(layer), *further)
        raise refused(path, layer, "normalises over the batch, and Opacus has no replacement for it")
    validate = ModuleValidator.VALIDATORS.get(type(layer))
    if validate is None or not validate(layer):
        return None
    if type(layer) not in ModuleValidator.FIXERS:
        raise refused(path, layer, "cannot be trained with differential privacy, says Opacus")
    fixed: nn.Module = ModuleValidator.FIXERS[type(layer)](layer)
    return fixed


def _group_norm(layer: Any) -> nn.Module:
    channels = layer.num_features
    groups = math.gcd(channels, min(_MOST_GROUPS, max(1, channels // GROUP_CHANNELS)))
    norm: nn.Module = ModuleValidator.FIXERS[nn.BatchNorm2d](layer, num_groups=groups)
    parameters = dict(layer.named_parameters(recurse=False))
    norm.load_state_dict({name: value.detach() for name, value in parameters.items()})
    for name, value in norm.named_parameters():
        value.requires_grad_(parameters[name].requires_grad)
    return norm.to(next(iter(parameters.values())).device) if parameters else norm


def convolution_gradients(layer: nn.Conv2d, activations: list[Tensor], backprops: Tensor) -> dict[Tensor, Tensor]:
    """Gradients of single records of a 2d convolution; arguments are a sampler's in Opacus.

    Opacus' own sampler reads images that lie in memory channels last, as here, in the wrong order. And it multiplies
    all groups with all groups to keep the diagonal, which for a depthwise convolution needs as many times the memory as
    there are channels; here each group is multiplied with itself.
    """
    images, padding = activations[0].to(backprops.dtype), layer.padding
    if isinstance(padding, str) or layer.padding_mode != "zeros":
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        images, padding = functional.pad(images, layer._reversed_padding_repeated_twice, mode), (0, 0)
    patches = functional.unfold(images, layer.kernel_size, layer.dilation, padding, layer.stride)
    n, groups = len(patches), layer.groups
    patches = patches.reshape(n, groups, -1, patches.shape[-1])
    outputs = backprops.reshape(n, groups, -1, patches.shape[-1])
    gradients: dict[Tensor, Tensor] = {}
    if layer.weight.requires_grad:
        gradients[layer.weight] = torch.einsum("ngol,ngpl->ngop", outputs, patches).reshape(n, *layer.weight.shape)
    if layer.bias is not None and layer.bias.requires_grad:
        gradients[layer.bias] = backprops.sum(dim=(2, 3))
    return gradients


class RecordGradients(GradSampleModule):
    """Opacus' GradSampleModule for models that change tensors in place, with errors that name a layer.

    Opacus listens with full backward hooks, after which a layer's output must not be changed in place; residual
    networks do that (``x += shortcut``). Here the hook is on the output itself, which notes its gradient first.

    Raises:
        ConfigError: in a backward pass, with path and type of the layer that has no gradients of single records; or
            at once for a layer with weights and buffers, which would remember records.
    """

    GRAD_SAMPLERS = {  # noqa: RUF012 - as the parent
        **GradSampleModule.GRAD_SAMPLERS,
        nn.Conv2d: convolution_gradients,
        DilatedDepthwise: convolution_gradients,
    }

    def __init__(self, model: nn.Module) -> None:
        for path, layer in model.named_modules():
            weights = [parameter for parameter in layer.parameters(recurse=False) if parameter.requires_grad]
            if weights and next(layer.buffers(), None) is not None:
                raise refused(path, layer, "has weights and buffers, and buffers are not private")
        self._paths = {id(layer): path for path, layer in model.named_modules()}
        super().__init__(model)

    def add_hooks(
        self, *, loss_reduction: str = "mean", batch_first: bool = True, force_functorch: bool = False
    ) -> None:
        """Listens to every layer that has weights of its own."""
        self._module.autograd_grad_sample_hooks = self.autograd_grad_sample_hooks = []
        for layer in self.iterate_submodules(self._module):
            if type(layer) not in self.GRAD_SAMPLERS:
                prepare_layer(layer, batch_first=batch_first)
            self.autograd_grad_sample_hooks.append(layer.register_forward_hook(self._listen))
        self.enable_hooks()

    def _listen(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        if not layer.training or not torch.is_grad_enabled():
            return
        if not isinstance(output, Tensor):
            raise refused(self._paths[id(layer)], layer, f"returns a {type(output).__name__}, expected one tensor")
        self.capture_activations_hook(layer, inputs, output)
        # Kept by the graph: where a layer's output is not used, its input is not remembered either.
        seen = layer.activations.pop()  # type: ignore[operator,union-attr]
        output.register_hook(lambda gradient: self._note(layer, seen, gradient))

    def _note(self, layer: Any, seen: list[Tensor], gradient: Tensor) -> None:
        layer.activations.append(seen)
        try:
            self.capture_backprops_hook(
                layer, None, (gradient,), loss_reduction=self.loss_reduction, batch_first=self.batch_first
            )
        except (RuntimeError, ValueError, NotImplementedError, AttributeError, TypeError) as error:
            first = str(error).strip().partition("\n")[0]
            raise refused(
                self._paths[id(layer)], layer, f"has no gradients of single records in Opacus: {first}"
            ) from error

    def cleanup(self) -> None:
        """Makes the model a plain one again."""
        super().cleanup()
        for layer in self._module.modules():
            for name in ("activations", "max_batch_len"):
                vars(layer).pop(name, None)
