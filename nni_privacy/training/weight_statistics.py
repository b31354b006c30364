"""Statistics of a trained network's weights: stable rank, product of spectral norms, squared norm.

They stand in bounds of generalisation: the product of spectral norms in Bartlett, Foster and Telgarsky (Spectrally-
normalized margin bounds for neural networks, NeurIPS 2017, equation 1.2), and with the stable ranks in Neyshabur,
Bhojanapalli and Srebro (A PAC-Bayesian approach to spectrally-normalized margin bounds, ICLR 2018, theorem 1). Neither
data nor labels are needed.

**The matrix of a layer.** A convolution maps a patch of ``in * k * k`` values to the ``out`` values of a pixel, by a
matrix ``(out, in * k * k)``. Of a grouped convolution, that matrix is block diagonal, one block ``(out / groups,
in / groups * k * k)`` a group: its singular values are those of all blocks together, its spectral norm the largest of
the blocks'. To stack the blocks instead would let a group read what it does not see. A depthwise convolution of C equal
kernels so has a stable rank of C, and one channel that is far larger than the others brings it down to 1. Of a
transposed convolution, the matrix is that of the convolution which it is the adjoint of.

**Batch normalisation** after a layer makes the layer's scale arbitrary: a network with W and one with 10 W compute the
same. In evaluation mode it multiplies each channel by ``weight / sqrt(running_var + eps)``, so it is a diagonal linear
layer, whose spectral norm (the largest of these factors) belongs to the product; that way the product is the same of
both networks (but for ``eps``). It has no part in the stable rank, which no scale changes, nor in the squared norm,
which is one of what was trained as a filter. Other normalisations divide by what they see, and have no part in
anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from nni_privacy.errors import AuditError
from nni_privacy.rng import isolated

__all__ = ["singular_norms", "weight_statistics"]


@torch.no_grad()
def weight_statistics(network: nn.Module) -> dict[str, float]:
    """Statistics of the weights of ``network``, which stays as it is; the same weights give the same numbers.

    A layer is one of the convolution and linear layers; one whose weights are all zero passes nothing on, has neither
    a stable rank nor a logarithm, and is left out.

    Args:
        network: trained, so that its batch normalisations know their variances.

    Returns:
        ``stable_rank``
            mean over layers of ``||W||_F^2 / ||W||_2^2``, at least 1.
        ``log_spectral_norm``
            sum over layers and batch normalisations of log10 of the spectral norm. It grows with depth. Branches of a
            cell count as if they stood one after the other.
        ``weight_norm``
            sum over layers of ``||W||_F^2``.

    Raises:
        AuditError: if the network has no convolution or linear layer with a weight that is not zero, or a weight or a
            variance is not finite.
    """
    norms = []
    with isolated():
        for path, layer in network.named_modules():
            if isinstance(layer, _ConvNd | nn.Linear) and layer.weight.is_floating_point():
                norms.append(singular_norms(_finite(path, layer.weight), groups=getattr(layer, "groups", 1)))
    kept = [(frobenius, spectral) for frobenius, spectral in norms if spectral > 0]
    if not kept:
        name = type(network).__name__
        raise AuditError(f"a {name} has no convolution or linear layer of weights that are not zero: no statistics")
    return {
        "stable_rank": sum((frobenius / spectral) ** 2 for frobenius, spectral in kept) / len(kept),
        "log_spectral_norm": sum(math.log10(spectral) for _, spectral in kept) + sum(_log_scales(network)),
        "weight_norm": sum(frobenius**2 for frobenius, _ in kept),
    }


def singular_norms(weight: Tensor, *, groups: int = 1) -> tuple[float, float]:
    """Frobenius and spectral norm of a layer's matrix; see the module.

    The spectral norm is the root of the largest eigenvalue of ``W W^T`` or ``W^T W``, whichever is smaller, in double
    precision. Squaring costs the small singular values their digits, not the largest; and it is many times as fast.

    Args:
        weight: ``(out, ...)``, finite.
        groups: that the first dimension falls into.
    """
    blocks = weight.detach().double().reshape(groups, weight.shape[0] // groups, -1)
    scale = float(blocks.abs().max()) if blocks.numel() else 0.0
    if scale == 0:
        return 0.0, 0.0
    blocks = blocks / scale  # else the squares of tiny weights are zero
    if blocks.shape[1] > blocks.shape[2]:
        blocks = blocks.mT
    largest = float(torch.linalg.eigvalsh(blocks @ blocks.mT).max())
    return scale * float(blocks.square().sum().sqrt()), scale * math.sqrt(largest)


def _log_scales(network: nn.Module) -> Iterator[float]:
    """log10 of the largest factor of each batch normalisation in evaluation mode.

    Without running variances it divides by what it sees, and only its weights are known; one of zeros passes nothing.
    """
    for path, layer in network.named_modules():
        if not isinstance(layer, _BatchNorm):
            continue
        scale = torch.ones(1, dtype=torch.float64)
        if layer.weight is not None:
            scale = _finite(path, layer.weight).double().abs()
        if layer.running_var is not None:
            scale = scale / (_finite(path, layer.running_var).double() + layer.eps).sqrt()
        largest = float(scale.max())
        if largest > 0:
            yield math.log10(largest)


def _finite(path: str, values: Tensor) -> Tensor:
    """The values on the CPU.

    Raises:
        AuditError: if one is not finite.
    """
    values = values.detach().cpu()
    if not bool(values.isfinite().all()):
        raise AuditError(f"layer {path!r}: a weight or a variance is NaN or infinite: no statistics of its weights")
    return values
