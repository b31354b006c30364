"""Release of a trained network: its files, its card, and the way back from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_names

if TYPE_CHECKING:
    from nni_privacy.release.export import export_trial
    from nni_privacy.release.loading import ReleasedModel, load_model

__all__ = ["ReleasedModel", "export_trial", "load_model"]

__getattr__, __dir__ = lazy_names(
    __name__, {"release.export": ["export_trial"], "release.loading": ["ReleasedModel", "load_model"]}
)
