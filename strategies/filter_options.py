"""Options of a filter by predicted AUC; NNI is not needed to check them."""

from __future__ import annotations

from pydantic import model_validator

from nni_privacy.errors import ConfigError
from nni_privacy.schema import Count, OpenFraction, Options, options

__all__ = ["FilterOptions"]


@options(section="filter")
class FilterOptions(Options):
    """The proposals that a :class:`~nni_privacy.strategies.predicted_filter.PredictedFilter` passes on.

    Attributes:
        below: only what is predicted below this AUC.
        quantile: instead, only this share of the searched architectures, those of the lowest predicted AUC.
        surrogate: file of a fitted surrogate; by default the one that ships.
        max_rejections: the search ends with an error when so many proposals in a row are skipped.
    """

    below: OpenFraction | None = None
    quantile: OpenFraction | None = None
    surrogate: str | None = None
    max_rejections: Count = 1000

    @model_validator(mode="after")
    def _has_one_bound(self) -> FilterOptions:
        if (self.below is None) == (self.quantile is None):
            raise ConfigError("give either below, a predicted AUC, or quantile, a share of the architectures")
        return self
