"""Surrogates: regression models that predict an architecture's attack AUC from its genotype alone.

What they return is *predicted*, never measured: four fifths of the variance of a measured AUC is the noise of a single
training run, which no model of the genotype can explain. Averages over many architectures are what they are good for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_attributes

if TYPE_CHECKING:
    from nni_privacy.surrogate.base import (
        Surrogate,
        build_surrogate,
        load_surrogate,
        register_surrogate,
        surrogate_names,
    )
    from nni_privacy.surrogate.data import MIAData, read_mia_data, write_mia_data

__all__ = [
    "MIAData",
    "Surrogate",
    "build_surrogate",
    "load_surrogate",
    "read_mia_data",
    "register_surrogate",
    "surrogate_names",
    "write_mia_data",
]

_LAZY = {
    "MIAData": "nni_privacy.surrogate.data",
    "Surrogate": "nni_privacy.surrogate.base",
    "build_surrogate": "nni_privacy.surrogate.base",
    "load_surrogate": "nni_privacy.surrogate.base",
    "read_mia_data": "nni_privacy.surrogate.data",
    "register_surrogate": "nni_privacy.surrogate.base",
    "surrogate_names": "nni_privacy.surrogate.base",
    "write_mia_data": "nni_privacy.surrogate.data",
}

__getattr__ = lazy_attributes(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
