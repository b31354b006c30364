"""Training of any network by a recipe, with or without defences. Torch comes on first use.

The one function that trains is :func:`nni_privacy.training.fit.fit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_attributes

if TYPE_CHECKING:
    from nni_privacy.training.contours import loss_contour
    from nni_privacy.training.defences import apply_defence, defence_label
    from nni_privacy.training.fit import FitResult, TrainingDiverged, predict_logits, resolve_device, seed_everything
    from nni_privacy.training.initialization import initialize_paired
    from nni_privacy.training.recipe import DPOptions, Recipe

__all__ = [
    "DPOptions",
    "FitResult",
    "Recipe",
    "TrainingDiverged",
    "apply_defence",
    "defence_label",
    "initialize_paired",
    "loss_contour",
    "predict_logits",
    "resolve_device",
    "seed_everything",
]

_LAZY = {
    "DPOptions": "nni_privacy.training.recipe",
    "FitResult": "nni_privacy.training.fit",
    "Recipe": "nni_privacy.training.recipe",
    "TrainingDiverged": "nni_privacy.training.fit",
    "apply_defence": "nni_privacy.training.defences",
    "defence_label": "nni_privacy.training.defences",
    "initialize_paired": "nni_privacy.training.initialization",
    "loss_contour": "nni_privacy.training.contours",
    "predict_logits": "nni_privacy.training.fit",
    "resolve_device": "nni_privacy.training.fit",
    "seed_everything": "nni_privacy.training.fit",
}

__getattr__ = lazy_attributes(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
