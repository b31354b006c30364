"""Gradients of single records through Opacus' samplers."""

from __future__ import annotations

from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.functorch import prepare_layer
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.private_layers import refused

__all__ = ["RecordGradients"]


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

    GRAD_SAMPLERS = {**GradSampleModule.GRAD_SAMPLERS, nn.Conv2d: convolution_gradients}  # noqa: RUF012 - as the parent

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
