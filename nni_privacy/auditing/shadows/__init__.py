"""Shadow models: planned up front, trained once, remembered by what defines them. Torch comes on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.auditing.shadows.sampling import keep_matrix
from nni_privacy.lazy import lazy_attributes

if TYPE_CHECKING:
    from nni_privacy.auditing.shadows.cache import ShadowCache
    from nni_privacy.auditing.shadows.models import CallableModel, ModelSpec, spec_for
    from nni_privacy.auditing.shadows.options import ShadowOptions
    from nni_privacy.auditing.shadows.paper import small_cnn_signals, twin_signals
    from nni_privacy.auditing.shadows.plan import ShadowData, ShadowTask
    from nni_privacy.auditing.shadows.references import Population, reference_shadows
    from nni_privacy.auditing.shadows.shadow import ShadowError
    from nni_privacy.auditing.shadows.small_cnn import SmallCNN
    from nni_privacy.auditing.shadows.train import train_shadows

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
    "keep_matrix",
    "reference_shadows",
    "small_cnn_signals",
    "spec_for",
    "train_shadows",
    "twin_signals",
]

_LAZY = {
    "CallableModel": "nni_privacy.auditing.shadows.models",
    "ModelSpec": "nni_privacy.auditing.shadows.models",
    "Population": "nni_privacy.auditing.shadows.references",
    "ShadowCache": "nni_privacy.auditing.shadows.cache",
    "ShadowData": "nni_privacy.auditing.shadows.plan",
    "ShadowError": "nni_privacy.auditing.shadows.shadow",
    "ShadowOptions": "nni_privacy.auditing.shadows.options",
    "ShadowTask": "nni_privacy.auditing.shadows.plan",
    "SmallCNN": "nni_privacy.auditing.shadows.small_cnn",
    "reference_shadows": "nni_privacy.auditing.shadows.references",
    "small_cnn_signals": "nni_privacy.auditing.shadows.paper",
    "spec_for": "nni_privacy.auditing.shadows.models",
    "train_shadows": "nni_privacy.auditing.shadows.train",
    "twin_signals": "nni_privacy.auditing.shadows.paper",
}

__getattr__ = lazy_attributes(__name__, _LAZY)
