"""Shadow models: planned up front, trained once, remembered by what defines them. Torch comes on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_attributes
from nni_privacy.shadows.keep import keep_matrix, shadow_seed

if TYPE_CHECKING:
    from nni_privacy.shadows.cache import ShadowCache, default_cache_folder
    from nni_privacy.shadows.models import CallableModel, ModelSpec, spec_for
    from nni_privacy.shadows.one import ShadowError
    from nni_privacy.shadows.options import ShadowOptions
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
    "ShadowOptions",
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
    "CallableModel": "nni_privacy.shadows.models",
    "ModelSpec": "nni_privacy.shadows.models",
    "Population": "nni_privacy.shadows.references",
    "ShadowCache": "nni_privacy.shadows.cache",
    "ShadowData": "nni_privacy.shadows.plan",
    "ShadowError": "nni_privacy.shadows.one",
    "ShadowOptions": "nni_privacy.shadows.options",
    "ShadowTask": "nni_privacy.shadows.plan",
    "SmallCNN": "nni_privacy.shadows.small_cnn",
    "default_cache_folder": "nni_privacy.shadows.cache",
    "reference_shadows": "nni_privacy.shadows.references",
    "small_cnn_signals": "nni_privacy.shadows.paper",
    "spec_for": "nni_privacy.shadows.models",
    "train_shadows": "nni_privacy.shadows.train",
    "twin_signals": "nni_privacy.shadows.paper",
}

__getattr__ = lazy_attributes(__name__, _LAZY)
