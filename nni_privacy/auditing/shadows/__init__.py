"""Shadow models: planned up front, trained once, remembered by what defines them. Torch comes on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.auditing.shadows.sampling import keep_matrix
from nni_privacy.lazy import lazy_names

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

__all__ = ["CallableModel", "ModelSpec", "Population", "ShadowCache", "ShadowData", "ShadowError"]
__all__ += ["ShadowOptions", "ShadowTask", "SmallCNN", "keep_matrix", "reference_shadows", "small_cnn_signals"]
__all__ += ["spec_for", "train_shadows", "twin_signals"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "auditing.shadows.cache": ["ShadowCache"],
        "auditing.shadows.models": ["CallableModel", "ModelSpec", "spec_for"],
        "auditing.shadows.options": ["ShadowOptions"],
        "auditing.shadows.paper": ["small_cnn_signals", "twin_signals"],
        "auditing.shadows.plan": ["ShadowData", "ShadowTask"],
        "auditing.shadows.references": ["Population", "reference_shadows"],
        "auditing.shadows.shadow": ["ShadowError"],
        "auditing.shadows.small_cnn": ["SmallCNN"],
        "auditing.shadows.train": ["train_shadows"],
    },
)
