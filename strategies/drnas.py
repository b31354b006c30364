"""DrNAS (Chen, Wang, Cheng, Tang, Hsieh: DrNAS: Dirichlet Neural Architecture Search, ICLR 2021, arXiv 2006.10355)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Dirichlet
from torch.nn import functional

from nni_privacy.search_spaces.supernet import NONE, Gate, Gates, transfer_weights
from nni_privacy.strategies.differentiable import Differentiable, DifferentiableOptions
from nni_privacy.strategies.one_shot import OneShotOptions

__all__ = ["DrNAS", "DrNASOptions", "sample_dirichlet"]

LEAST_KEPT = 2
"""Candidates that the second stage leaves of every decision at least: one of them may be ``none``."""

LEAST_CONCENTRATION = 1e-3
"""beta comes no nearer to 0 (alpha no lower than -6.9 counts): samples and their derivatives would underflow."""


class DrNASOptions(DifferentiableOptions):
    """Options of :class:`DrNAS`."""

    architecture_weight_decay: float = Field(
        1e-3, ge=0, description="weight of the L2 penalty that keeps the concentrations near one"
    )
    warmup: float = Field(
        0.4, ge=0, lt=1, description="fraction of each stage's epochs, rounded down, that train the weights only"
    )
    kept: float = Field(
        0.5, gt=0, le=1, description="fraction of a decision's candidates left in the second stage, rounded up"
    )
    partial_channels: list[Annotated[int, Field(ge=1)]] = Field(
        [6, 4], min_length=2, max_length=2, description="K of either stage: candidates see one in so many channels"
    )


class DrNAS(Differentiable):
    """DrNAS: the mixture of every edge is drawn from a Dirichlet distribution whose concentration is learnt.

    Section 2.2: theta ~ Dir(beta) with beta = elu(alpha) + 1 (:func:`sample_dirichlet`), anew in each forward pass; the
    validation loss of the sampled mixture reaches beta through the pathwise derivative of the sample. Its distance
    from the anchor Dir(1) is penalised, equation 3: as in the authors' code, by an L2 penalty on alpha, which is 0 at
    the anchor (and beta - 1 = alpha above it); it is the weight decay of alpha's Adam.

    Section 3: the search is progressive. The first half of the epochs, candidates see a sixth of the channels (partial
    channels, as in PC-DARTS, without its edge normalisation). Then the better half of the candidates of every edge
    stays, judged by their probabilities, and the supernet is built anew with a fourth of the channels: weights are
    taken over as far as they overlap, so is alpha; both optimisers start afresh. On the DARTS space that leaves 4 of 7
    operations, on NAS-Bench-201 3 of 5, in any other space the fraction ``kept``, at least 2. ``none`` is a candidate
    like others, except where edges compete for a node: the contest decides there which of them are absent, and it is
    left out from the start, as in the authors' code.

    Either stage begins with a warm-up of the weights under a fixed distribution, by default for 0.4 of its epochs: in
    the authors' code 10 of the 25 of each stage.

    The probabilities that export and logs go by are the Dirichlet mean, beta / sum(beta).

    Defaults: 50 epochs, 25 a stage; all else as in DARTS (arXiv 1806.09055, section 3.1). The authors' own searches
    on the DARTS space have 36 channels, 20 cells, learning rate 0.1 to 0 and 6e-4 for alpha; on NAS-Bench-201 50 epochs
    a stage and K = 4, then 2.

    Attributes:
        stage: 0 or 1.
        candidates: key of each decision to the names of what is left of its candidates.
    """

    Options: ClassVar[type[OneShotOptions]] = DrNASOptions

    stage: int
    candidates: dict[str, list[str]]

    def begin(self) -> None:
        """Builds the first stage."""
        layout = self.searchable.supernet(seed=self.stream(3)).layout
        competing = {key for group in layout.rivals for key in group}
        # No ``none`` where edges compete for a node.
        names = {
            decision.key: [name for name in decision.candidates if name != NONE or decision.key not in competing]
            for decision in layout.decisions
        }
        self.enter_stage(0, names)

    def enter_stage(self, stage: int, candidates: Mapping[str, Sequence[str]]) -> None:
        """A fresh supernet of ``candidates`` with the stage's partial channels, fresh alpha, and their optimisers."""
        self.stage, self.candidates = stage, {key: list(names) for key, names in candidates.items()}
        partial = self.options.partial_channels[stage]
        supernet = self.searchable.supernet(seed=self.stream(3, stage), partial=partial, candidates=self.candidates)
        self.install_supernet(supernet)
        self.install_architecture()

    # --- the distribution (section 2.2) ---

    def concentrations(self) -> dict[str, Tensor]:
        """The vectors beta = elu(alpha) + 1 by key, each (candidates,), positive."""
        return {
            key: (functional.elu(alpha) + 1.0).clamp_min(LEAST_CONCENTRATION)
            for key, alpha in self.architecture.items()
        }

    def gates(self) -> Gates:
        """Every candidate weighted by a fresh sample from its decision's Dirichlet distribution."""
        seed = int(torch.randint(2**31, (), generator=self.generator))
        return {key: Gate(weights=theta) for key, theta in sample_dirichlet(self.concentrations(), seed=seed).items()}

    def probabilities(self) -> dict[str, Tensor]:
        """The Dirichlet means, beta / sum(beta), detached."""
        return {key: beta.detach() / beta.detach().sum() for key, beta in self.concentrations().items()}

    # --- progressive search (section 3) ---

    def first_stage_epochs(self) -> int:
        """Half of all epochs; of an odd number the larger part."""
        return (self.total_epochs() + 1) // 2

    def trains_architecture(self, epoch: int) -> bool:
        """Whether the warm-up of the epoch's stage is over."""
        first = self.first_stage_epochs()
        start, length = (0, first) if epoch < first else (first, self.total_epochs() - first)
        return epoch - start >= int(self.options.warmup * length)

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """Goes on to the second stage when the first is over, if there is one."""
        if self.stage == 0 and self.first_stage_epochs() == epoch + 1 < self.total_epochs():
            self.progress()
        return {"stage": float(self.stage + 1)}

    def progress(self) -> None:
        """Prunes every decision to its likeliest candidates, and widens what they see."""
        probabilities, old_supernet, old = self.probabilities(), self.supernet, self.architecture
        positions = {}
        for key, values in probabilities.items():
            count = min(len(values), max(LEAST_KEPT, math.ceil(self.options.kept * len(values))))
            # Stable: of equally likely candidates the first ones stay.
            positions[key] = sorted(torch.argsort(values, descending=True, stable=True)[:count].tolist())
        kept = {key: [self.candidates[key][index] for index in indices] for key, indices in positions.items()}
        self.enter_stage(1, kept)
        transfer_weights(old_supernet, self.supernet)
        with torch.no_grad():
            for key, alpha in self.architecture.items():
                alpha.copy_(old[key][positions[key]])

    # --- checkpoints ---

    def search_state(self) -> dict[str, Any]:
        """The stage and what it left, weights, alpha and both optimisers."""
        return {"stage": self.stage, "candidates": self.candidates, **super().search_state()}

    def load_search_state(self, state: Mapping[str, Any]) -> None:
        """Builds the supernet of the state's stage, then restores all."""
        self.enter_stage(state["stage"], state["candidates"])
        super().load_search_state(state)


def sample_dirichlet(concentrations: Mapping[str, Tensor], *, seed: int) -> dict[str, Tensor]:
    """A reparametrised sample of the Dirichlet distribution of every concentration; the global generator stays as is.

    Args:
        concentrations: key to a vector (candidates,), positive.
        seed: of the samples, which are the same on every device.

    Returns:
        Key to a vector (candidates,) in 0..1 whose sum is 1; its gradient reaches the concentration.
    """
    # torch.distributions takes no generator of ours: it draws from the global one, here for a while under our seed.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return {
            # In double precision on the CPU: samples of small concentrations are extreme.
            key: Dirichlet(beta.cpu().double()).rsample().to(beta.device, beta.dtype)
            for key, beta in concentrations.items()
        }
