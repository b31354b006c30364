"""Options of a loss contour; torch is not needed to check them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from nni_privacy.errors import ConfigError
from nni_privacy.schema import Count, Options, Positive, options

__all__ = ["ContourOptions"]


@options(section="contours")
class ContourOptions(Options):
    """The grid around the trained weights on which :func:`~nni_privacy.training.contours.loss_contour` evaluates.

    Attributes:
        steps: points along either axis, an odd number of 3 or more, so that the weights are one of them.
        span: the axes run from -span to span.
        records: of target-train, on which the loss is evaluated.
    """

    steps: Annotated[int, Field(ge=3, le=201)] = 21
    span: Positive = 1.0
    records: Count = 512

    @field_validator("steps")
    @classmethod
    def _has_a_middle(cls, steps: int) -> int:
        if steps % 2 == 0:
            raise ConfigError(f"{steps}; allowed are odd numbers, so that the weights are a point of the grid")
        return steps
