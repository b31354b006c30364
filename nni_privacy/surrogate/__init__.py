"""Surrogates: regression models that predict an architecture's attack AUC from its genotype alone.

What they return is *predicted*, never measured: four fifths of the variance of a measured AUC is the noise of a single
training run, which no model of the genotype can explain. Averages over many architectures are what they are good for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_names

if TYPE_CHECKING:
    from nni_privacy.surrogate.base import (
        Surrogate,
        build_surrogate,
        load_surrogate,
        register_surrogate,
        surrogate_names,
    )
    from nni_privacy.surrogate.data import MIAData, read_mia_data, write_mia_data

__all__ = ["Surrogate", "build_surrogate", "load_surrogate", "register_surrogate", "surrogate_names"]
__all__ += ["MIAData", "read_mia_data", "write_mia_data"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "surrogate.base": ["Surrogate", "build_surrogate", "load_surrogate", "register_surrogate", "surrogate_names"],
        "surrogate.data": ["MIAData", "read_mia_data", "write_mia_data"],
    },
)
