"""GDAS (Dong, Yang: Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019, arXiv 1910.04465)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch.nn import functional

from nni_privacy.search_spaces.supernet import Gate, Gates
from nni_privacy.strategies.differentiable import Differentiable, DifferentiableOptions
from nni_privacy.strategies.one_shot import OneShotOptions

__all__ = ["GDAS", "GDASOptions"]


class GDASOptions(DifferentiableOptions):
    """Options of GDAS; the temperatures are the paper's (section 4.1)."""

    temperature: float = Field(10.0, gt=0, description="tau of the Gumbel-softmax in the first epoch")
    temperature_min: float = Field(0.1, gt=0, description="tau in the last epoch")

    @model_validator(mode="after")
    def _cools_down(self) -> GDASOptions:
        if self.temperature_min > self.temperature:
            raise ValueError(
                f"temperature_min: {self.temperature_min} is above temperature, which is {self.temperature}"
            )
        return self


class GDAS(Differentiable):
    """Gradient-based search with a differentiable architecture sampler (arXiv 1910.04465, section 3.2).

    Before every forward pass, of the architecture as of the weights, one operation is drawn for each decision:

        p = softmax((log softmax(alpha) + o) / tau),  o ~ Gumbel(0, 1)    (equations 3 and 5)
        h = onehot(argmax p) - stopgrad(p) + p                            (straight-through)

    Forward, h is one-hot, so that only the operation drawn runs; backward, the gradient at its h reaches all of alpha
    through p. The argmax is a draw from softmax(alpha) at any tau. A decision is drawn once a pass, so all cells that
    share it run the same operation. An edge on which ``none`` is drawn is not there, and tells alpha nothing.

    tau goes linearly from 10 to 0.1 over the epochs (section 4.1). Everything else is as in
    :class:`~nni_privacy.strategies.darts.DARTSFirstOrder`, 50 epochs included where the paper has 240. The
    export is by softmax(alpha), without noise.

    Attributes:
        temperature: tau of the current epoch.
    """

    Options: ClassVar[type[OneShotOptions]] = GDASOptions

    temperature: float

    def before_epoch(self, epoch: int) -> None:
        """Sets the temperature: linear from ``temperature`` to ``temperature_min``."""
        self.temperature = self.ramp(self.options.temperature, self.options.temperature_min, epoch)

    def gates(self) -> Gates:
        """A fresh sample: the one operation of each decision that runs, multiplied by its h."""
        gates = {}
        for key, alpha in self.architecture.items():
            # Drawn on the CPU, so that a seed means the same anywhere.
            exponential = torch.empty(alpha.shape).exponential_(generator=self.generator)
            gumbel = -exponential.clamp_min(torch.finfo(exponential.dtype).tiny).log().to(alpha.device)
            logits = torch.log_softmax(alpha, dim=0) + gumbel
            p = torch.softmax(logits / self.temperature, dim=0)
            # Of the logits: at a low temperature p may round to a tie.
            index = int(logits.argmax())
            one_hot = functional.one_hot(torch.tensor(index), len(p)).to(p)
            # In this order p cancels to an exact zero, and h is one-hot bit for bit.
            gates[key] = Gate(weights=one_hot + (p - p.detach()), active=(index,))
        return gates

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """The temperature."""
        return {"temperature": self.temperature}
