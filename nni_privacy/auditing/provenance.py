"""Provenance of an audit: what a person who signs its report must be able to name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["environment_facts", "provenance_of", "weights_digest"]


def environment_facts() -> dict[str, str]:
    """Date and versions, as text by what it is."""
    from nni_privacy.runs.directory import describe_environment  # here, as it imports YAML

    found = describe_environment()
    versions = {"python": found["python"], **{name: number for name, number in found["versions"].items() if number}}
    return {
        "Date": found["started"],
        "Versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }


def provenance_of(model: nn.Module, *, device: torch.device) -> dict[str, str]:
    """Date, device, versions and the digest of the weights, as text by what it is."""
    found = environment_facts()
    return {
        "Date": found.pop("Date"),
        "Device": str(device),
        **found,
        "Weights audited": f"SHA-256 of all names, types, shapes and values: {weights_digest(model)}",
    }


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over the state dict, 64 hexadecimal digits: equal weights give the same, whatever file they were in."""
    import torch

    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            dense = value.dequantize() if value.is_quantized else value.to_dense()
            digest.update(dense.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
