"""Training of any network by a recipe, with or without defences. Torch comes on first use.

The one function that trains is :func:`nni_privacy.training.fit.fit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_names

if TYPE_CHECKING:
    from nni_privacy.training.contours import loss_contour
    from nni_privacy.training.costs import latency, multiply_adds, parameters
    from nni_privacy.training.defences import apply_defence, defence_label
    from nni_privacy.training.fit import FitResult, TrainingDiverged, predict_logits, resolve_device, seed_everything
    from nni_privacy.training.initialization import initialize_paired
    from nni_privacy.training.loss_trace import LossTrace, traced_epochs
    from nni_privacy.training.recipe import DPOptions, Recipe

__all__ = ["DPOptions", "FitResult", "LossTrace", "Recipe", "TrainingDiverged", "apply_defence", "defence_label"]
__all__ += ["initialize_paired", "latency", "loss_contour", "multiply_adds", "parameters", "predict_logits"]
__all__ += ["resolve_device", "seed_everything", "traced_epochs"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "training.contours": ["loss_contour"],
        "training.costs": ["latency", "multiply_adds", "parameters"],
        "training.defences": ["apply_defence", "defence_label"],
        "training.fit": ["FitResult", "TrainingDiverged", "predict_logits", "resolve_device", "seed_everything"],
        "training.initialization": ["initialize_paired"],
        "training.loss_trace": ["LossTrace", "traced_epochs"],
        "training.recipe": ["DPOptions", "Recipe"],
    },
)
