"""The quick dilated convolution is torch's own: outputs, gradients, per-record gradients, and any odd size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, vmap

from nni_privacy.training.convolutions import DilatedDepthwise
from nni_privacy.training.dp_layers import RecordGradients


def pair(channels: int, kernel: int, stride: int) -> tuple[DilatedDepthwise, nn.Conv2d]:
    """The quick layer and torch's, with the same weights."""
    torch.manual_seed(0)
    quick = DilatedDepthwise(channels, kernel, stride).double()
    plain = nn.Conv2d(
        channels, channels, kernel, stride, padding=kernel - 1, dilation=2, groups=channels, bias=False
    ).double()
    plain.load_state_dict(quick.state_dict())
    return quick, plain


@given(
    kernel=st.sampled_from([3, 5]),
    stride=st.sampled_from([1, 2]),
    channels=st.integers(1, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    last=st.booleans(),
)
def test_outputs_and_gradients_are_those_of_the_dilated_convolution(
    kernel: int, stride: int, channels: int, height: int, width: int, last: bool
) -> None:
    quick, plain = pair(channels, kernel, stride)
    images = torch.randn(3, channels, height, width, dtype=torch.float64)
    images = images.contiguous(memory_format=torch.channels_last) if last else images
    found = []
    for layer in (quick, plain):
        given_images = images.clone().requires_grad_()
        output = layer(given_images)
        output.backward(torch.arange(output.numel(), dtype=torch.float64).view(output.shape).sin())
        found.append((output, given_images.grad, layer.weight.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_single_records_are_those_of_the_dilated_convolution(stride: int) -> None:
    quick, plain = pair(4, 3, stride)
    images = torch.randn(5, 4, 7, 6, dtype=torch.float64)

    def loss(weight: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return functional_call(quick, {"weight": weight}, (image[None],)).sin().sum()

    by_vmap = vmap(grad(loss), in_dims=(None, 0))(quick.weight.detach(), images)
    expected = []
    for image in images:
        plain.zero_grad()
        plain(image[None]).sin().sum().backward()
        expected.append(plain.weight.grad.clone())
    torch.testing.assert_close(by_vmap, torch.stack(expected))
    sampled = RecordGradients(nn.Sequential(quick))
    sampled(images).sin().sum().backward()
    assert type(quick) in RecordGradients.GRAD_SAMPLERS  # not by the slow way
    torch.testing.assert_close(quick.weight.grad_sample / len(images), torch.stack(expected))


def test_channels_stay_last_and_weights_keep_their_names() -> None:
    quick, plain = pair(16, 5, 1)
    images = torch.randn(2, 16, 8, 8, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    assert quick(images).is_contiguous(memory_format=torch.channels_last)
    assert list(quick.state_dict()) == list(plain.state_dict()) == ["weight"]
    assert (quick.padding, quick.dilation, quick.groups) == (plain.padding, plain.dilation, plain.groups)
