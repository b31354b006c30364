"""Shadow models: planned up front, trained once, remembered by what defines them. Torch comes on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nni_privacy.shadows.keep import keep_matrix, shadow_seed

if TYPE_CHECKING:
    from nni_privacy.shadows.cache import ShadowCache, default_cache_folder
    from nni_privacy.shadows.models import CallableModel, ModelSpec, spec_for
    from nni_privacy.shadows.one import ShadowError
    from nni_privacy.shadows.paper import small_cnn_signals, twin_signals
    from nni_privacy.shadows.plan import ShadowData, ShadowTask
    from nni_privacy.shadows.references import Population, reference_shadows
    from nni_privacy.shadows.small_cnn import SmallCNN
    from nni_privacy.shadows.train import train_shadows

__all__ = [
    "CallableModel",
    "ModelSpec",
    "Population",
    "ShadowCache",
    "ShadowData",
    "ShadowError",
    "ShadowTask",
    "SmallCNN",
    "default_cache_folder",
    "keep_matrix",
    "reference_shadows",
    "shadow_seed",
    "small_cnn_signals",
    "spec_for",
    "train_shadows",
    "twin_signals",
]

_LAZY = {
    "CallableModel": "models",
    "ModelSpec": "models",
    "Population": "references",
    "ShadowCache": "cache",
    "ShadowData": "plan",
    "ShadowError": "one",
    "ShadowTask": "plan",
    "SmallCNN": "small_cnn",
    "default_cache_folder": "cache",
    "reference_shadows": "references",
    "small_cnn_signals": "paper",
    "spec_for": "models",
    "train_shadows": "train",
    "twin_signals": "paper",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"nni_privacy.shadows.{_LAZY[name]}"), name)
