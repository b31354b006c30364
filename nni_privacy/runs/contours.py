"""A loss contour as plain arrays: what :mod:`nni_privacy.training.contours` computes and reports draw. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nni_privacy.errors import AuditError

__all__ = ["PREFIX", "ContourInfo"]

PREFIX = "contour/"
"""Before the names of a contour's arrays, where they stand in one file with others."""

ROUNDING = 1 + 1e-9
"""So that a point of the grid at exactly a distance counts as within it: the hypotenuse of .3 and .4 is not .5."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ContourInfo:
    """The mean loss on a grid around the weights, ``weights + alpha * first + beta * second``.

    Attributes:
        axis: ``(s,)`` values of alpha, and of beta; 1 moves every filter by its own norm.
        losses: ``(s, s)``, rows by beta, columns by alpha; may be infinite or NaN far away.
        loss: at the weights themselves.
    """

    axis: Floats
    losses: Floats
    loss: float

    def rise(self, radius: float) -> float | None:
        """Mean rise of the loss over the grid's points within ``radius`` of the weights; larger is sharper.

        None if the disc is larger than the grid, or so small that no point but the weights is in it.
        """
        alpha, beta = np.meshgrid(self.axis, self.axis)
        within = np.hypot(alpha, beta) <= radius * ROUNDING
        if within.sum() < 2 or self.axis.max() * ROUNDING < radius:
            return None
        return float((self.losses[within] - self.loss).mean())

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Plain arrays for a ``.npz`` file; :meth:`from_arrays` reads them back."""
        arrays = {"axis": self.axis, "losses": self.losses, "loss": np.array(self.loss)}
        return {PREFIX + name: value for name, value in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ContourInfo:
        """Reads what :meth:`to_arrays` gave.

        Raises:
            AuditError: if an array is missing or of another shape.
        """
        missing = [name for name in ("axis", "losses", "loss") if PREFIX + name not in arrays]
        if missing:
            raise AuditError(f"contour: no array {PREFIX + missing[0]!r}")
        axis, losses, loss = (np.asarray(arrays[PREFIX + name], np.float64) for name in ("axis", "losses", "loss"))
        if axis.ndim != 1 or losses.shape != (len(axis), len(axis)) or loss.ndim:
            raise AuditError(f"contour: axis {axis.shape}, losses {losses.shape}, loss {loss.shape} do not fit")
        return cls(axis, losses, float(loss))
