"""TE-NAS (Chen, Gong, Wang: NAS on ImageNet in Four GPU Hours, ICLR 2021, arXiv 2102.11535): no training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from scipy.stats import rankdata
from torch import Tensor, nn

from nni_privacy.schema import Several
from nni_privacy.search_spaces.supernet import NONE, Gate, Gates, Layout, Sample, Supernet
from nni_privacy.strategies.one_shot import OneShotOptions, OneShotStrategy

__all__ = ["TENAS", "TENASOptions", "linear_regions", "ntk_condition_number"]

REGION_SIDE = 3
"""Side of the inputs on which regions are counted, where the space takes images of any size (released code)."""

GONE = -1.0
"""Importance of ``none``: below that of all that take part."""

Remaining = dict[str, tuple[int, ...]]
"""Key of a decision to the indices of the candidates that are left, ascending."""


class TENASOptions(OneShotOptions):
    """Options of :class:`TENAS`. There is no training: what it takes depends on rounds, repeats and batches."""

    batch_size: Several = Field(8, description="images of the neural tangent kernel; the cost is in proportion")
    repeats: int | None = Field(
        None,
        ge=1,
        description="initialisations over which both indicators are averaged; by default 1 where edges compete, else 3",
    )
    region_inputs: Several = Field(300, description="inputs on which linear regions are counted")
    removed_per_round: int | None = Field(
        None, ge=1, description="candidates that a decision loses a round; by default 3 where edges compete, else 1"
    )
    channels: int | None = Field(
        None, ge=1, description="width of our spaces' networks; by default 1 where edges compete, else 3"
    )


@dataclass(frozen=True)
class Probe:
    """A freshly initialised network and what it is looked at with.

    Attributes:
        supernet: in training mode.
        images: (n, C, h, w) for the neural tangent kernel.
        inputs: (k, C, h', w') for the linear regions.
    """

    supernet: Supernet
    images: Tensor
    inputs: Tensor

    def measure(self, gates: Gates) -> tuple[float, float]:
        """Logarithm of the condition number, infinite where the network is cut, and the number of linear regions."""
        model = _Gated(self.supernet, gates)
        # Convolutions this small take twice as long through oneDNN.
        with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
            condition = ntk_condition_number(model, self.images)
        return math.log(condition), float(linear_regions(model, self.inputs))


class TENAS(OneShotStrategy):
    """Training-free NAS: prunes the supernet by its trainability and its expressivity at initialisation.

    Pruning by importance (arXiv 2102.11535, algorithm 1). At first all candidates of all decisions but ``none`` run,
    unweighted. In a round each candidate that is left is masked in turn, and the network without it is measured:

    - trainability: the condition number of the neural tangent kernel, the lower the better. A candidate is the more
      important, the less the number falls (or the more it rises) without it;
    - expressivity: the number of linear regions, the higher the better. A candidate is the more important, the more
      regions are lost without it.

    Both changes are ranked over all candidates of all decisions; the importance is the sum of the two ranks, and every
    decision loses its least important candidate, or the three least important on DARTS. An epoch is a round; there are
    as many as it takes to leave one candidate each. Where edges compete for a node (DARTS), one more round masks each
    edge as a whole and ranks edges alike; the most important stay.

    Measured in training mode, at ``repeats`` initialisations, with the same weights and inputs for all masks; the
    kernel's images are a random batch of the training half. Networks are tiny (section 4.1 and the released code): 3
    channels and 1 cell a stage on NAS-Bench-201, 1 channel and the fewest cells on DARTS; a space of a user's own is as
    it is.

    Where this differs from the paper:

    - changes are those of the logarithm of the condition number. It varies by orders of magnitude between
      initialisations; the mean of the logarithms lets none of them decide alone;
    - the inputs for the linear regions lie on a line between two random ones, as in the work of Hanin and Rolnick
      (arXiv 1901.09021). Independent ones fall into a region each, in networks of thousands of ReLUs, with or without
      any candidate: that ranks nothing;
    - fewer images and inputs, and on DARTS one initialisation instead of three, to stay within minutes on a CPU: there
      a search measures some 340 networks for each. ``repeats=3`` is the paper's number.

    ``none`` takes no part: as in the released code, it is gone before the first round. Masking it would change neither
    number. A network that is cut has a singular kernel, so its condition number is infinite, which ranks worst.

    Attributes:
        remaining: what is left; there after :meth:`prepare`.
        importance: key to (candidates,) numbers: those that went later are higher, then those of the larger rank sum.
    """

    Options: ClassVar[type[OneShotOptions]] = TENASOptions

    remaining: Remaining
    importance: dict[str, list[float]]

    def begin(self) -> None:
        """Reads the decisions off a supernet that is as small as can be; every candidate but ``none`` is left."""
        self._layout = self._supernet(self.stream(3), channels=1, cells=3).layout
        decisions = self._layout.decisions
        self.remaining = {
            decision.key: tuple(index for index, op in enumerate(decision.candidates) if op != NONE)
            for decision in decisions
        }
        self._most = max(len(left) for left in self.remaining.values())
        self.importance = {
            decision.key: [GONE if op == NONE else 0.0 for op in decision.candidates] for decision in decisions
        }

    def _supernet(self, seed: int, *, channels: int, cells: int) -> Supernet:
        if not self.searchable.own:
            return self.searchable.supernet(seed=seed)
        return self.searchable.supernet(seed=seed, channels=channels, cells=cells)

    def layout(self) -> Layout:
        """The decisions with all their candidates."""
        return self._layout

    # --- rounds ---

    def removed_per_round(self) -> int:
        """How many candidates a decision loses a round."""
        return self.options.removed_per_round or (3 if self._layout.rivals else 1)

    def pruning_rounds(self) -> int:
        """How many rounds leave one candidate each."""
        return max(math.ceil((self._most - 1) / self.removed_per_round()), 1)

    def total_epochs(self) -> int:
        """The rounds of pruning, and one for the edges where they compete."""
        return self.pruning_rounds() + bool(self._layout.rivals)

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """One round."""
        repeats = self.options.repeats or (1 if self._layout.rivals else 3)
        probes = [self._probe(epoch, repeat) for repeat in range(repeats)]
        if epoch < self.pruning_rounds():
            self._prune(epoch, probes)
        else:
            self._rank_edges(epoch, probes)
        condition, regions = self._measure(probes, _gates(self.remaining))
        return {"log_condition_number": condition, "linear_regions": regions} if math.isfinite(condition) else {}

    def _probe(self, epoch: int, repeat: int) -> Probe:
        channels = self.options.channels or (1 if self._layout.rivals else 3)
        supernet = self._supernet(
            self.stream(4, epoch, repeat), channels=channels, cells=3 if self._layout.rivals else 1
        )
        generator = torch.Generator().manual_seed(self.stream(5, epoch, repeat))
        order = torch.randperm(len(self.data.train), generator=generator)
        images, _ = self.data.batch(self.data.train[order[: self.options.batch_size]])
        shape = images.shape[1:] if not self.searchable.own else (images.shape[1], REGION_SIDE, REGION_SIDE)
        start, end = torch.randn(2, *shape, generator=generator).to(images.device)
        steps = torch.linspace(0, 1, self.options.region_inputs, device=images.device).view(-1, 1, 1, 1)
        return Probe(supernet.to(images.device).train(), images, torch.lerp(start, end, steps))

    def _measure(self, probes: Iterable[Probe], gates: Gates) -> tuple[float, float]:
        """Both indicators of the network with these gates, averaged over the initialisations."""
        condition, regions = np.mean([probe.measure(gates) for probe in probes], axis=0).tolist()
        return condition, regions

    def _prune(self, epoch: int, probes: list[Probe]) -> None:
        """Takes the least important candidates from every decision that has more than one."""
        masks = [(key, index) for key, left in self.remaining.items() if len(left) > 1 for index in left]
        measured = []
        for key, index in masks:
            others = tuple(other for other in self.remaining[key] if other != index)
            measured.append(self._measure(probes, _gates({**self.remaining, key: others})))
        importance = dict(zip(masks, rank_sums(measured), strict=True))
        for (key, index), value in importance.items():
            self.importance[key][index] = epoch + value
        for key, left in self.remaining.items():
            kept = max(len(left) - self.removed_per_round(), 1)
            # Stable: of equally important candidates the first ones stay.
            ranked = sorted(left, key=lambda index: -importance.get((key, index), 0.0))
            self.remaining[key] = tuple(sorted(ranked[:kept]))
            for index in self.remaining[key]:
                self.importance[key][index] += 1

    def _rank_edges(self, epoch: int, probes: list[Probe]) -> None:
        """Ranks the edges that compete for nodes, by the network without each of them."""
        keys = [key for group in self._layout.rivals for key in group]
        measured = [
            self._measure(probes, _gates({other: left for other, left in self.remaining.items() if other != key}))
            for key in keys
        ]
        for key, value in zip(keys, rank_sums(measured), strict=True):
            for index in self.remaining[key]:
                self.importance[key][index] = epoch + 1 + value

    # --- what the search has found ---

    def current_sample(self) -> Sample:
        """The most important candidate of every decision; where edges compete, the most important edges."""
        return self._layout.export(self._scores())

    def best_samples(self, count: int) -> list[Sample]:
        """The architecture that is left, then those with one decision's best candidate replaced by its next best.

        The smaller the difference in importance, the earlier they come; there are no more than decisions.
        """
        found = [self.current_sample()]
        best_two = {key: sorted(values, reverse=True)[:2] for key, values in self.importance.items()}
        for key, _ in sorted(best_two.items(), key=lambda item: item[1][0] - item[1][1]):
            scores = self._scores()
            scores[key][int(scores[key].argmax())] = 2 * GONE
            sample = self._layout.export(scores)
            if sample not in found:
                found.append(sample)
        return found[:count]

    def _scores(self) -> dict[str, Tensor]:
        return {key: torch.tensor(values) for key, values in self.importance.items()}

    def entropy(self) -> float | None:
        """Mean logarithm of the number of candidates left: the entropy of taking any of them."""
        return float(np.mean([math.log(len(left)) for left in self.remaining.values()]))

    # --- checkpoints ---

    def search_state(self) -> dict[str, Any]:
        """What is left, and how important everything was."""
        return {
            "remaining": {key: list(left) for key, left in self.remaining.items()},
            "importance": {key: list(values) for key, values in self.importance.items()},
        }

    def load_search_state(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`search_state` gave."""
        self.remaining = {key: tuple(left) for key, left in state["remaining"].items()}
        self.importance = {key: list(values) for key, values in state["importance"].items()}


class _Gated(nn.Module):
    """A supernet with its decisions standing in one way."""

    def __init__(self, supernet: Supernet, gates: Gates) -> None:
        super().__init__()
        self.supernet, self.gates = supernet, gates

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, C, h, w) -> logits (n, K)."""
        return self.supernet(images, self.gates)


def rank_sums(measured: list[tuple[float, float]]) -> list[float]:
    """Importance of what was masked, from (log condition number, linear regions) of the network without it.

    Returns:
        (m,) sums of both ranks over 2 m + 2, in (0, 1); equal values share the mean of their ranks. The more the
        condition number rises and the more regions are lost, the higher.
    """
    conditions, regions = np.array(measured).reshape(-1, 2).T
    return ((rankdata(conditions) + rankdata(-regions)) / (2 * len(measured) + 2)).tolist()


def _gates(remaining: Remaining) -> dict[str, Gate]:
    return {key: Gate(active=left) for key, left in remaining.items()}


def ntk_condition_number(model: nn.Module, images: Tensor) -> float:
    """Condition number of the neural tangent kernel on a batch; the lower, the easier the network is to train.

    With g_i the gradient of image i's logits, summed, with respect to all parameters, the kernel is
    K_ij = <g_i, g_j>, and the condition number is its largest over its smallest eigenvalue (TE-NAS, arXiv 2102.11535,
    section 3.1.1; there, as here, the logits of an image are summed). The model runs once, on the whole batch and in
    the mode that it is in, so that batch normalisation sees the batch.

    Args:
        model: maps images (n, C, h, w) to logits (n, K).
        images: (n, C, h, w), two or more.

    Returns:
        A number >= 1; 1 where all images pull at the parameters equally hard and independently; infinity where the
        kernel is singular (at the precision of the gradients) or not finite.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    logits = model(images).sum(dim=1)
    rows: list[Tensor] = []
    for logit in logits:
        gradients = torch.autograd.grad(logit, parameters, retain_graph=True, allow_unused=True)
        # Parameters that the logits do not depend on are the same ones for all images.
        rows.append(torch.cat([gradient.flatten() for gradient in gradients if gradient is not None]))
    jacobian = torch.stack(rows)
    precision = torch.finfo(jacobian.dtype).eps * len(rows)
    jacobian = jacobian.double()
    kernel = jacobian @ jacobian.T
    if not torch.isfinite(kernel).all():
        return math.inf
    eigenvalues = torch.linalg.eigvalsh(kernel)
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    return largest / smallest if smallest > precision * largest else math.inf


@torch.no_grad()
def linear_regions(model: nn.Module, images: Tensor) -> int:
    """Number of linear regions of a ReLU network that a batch of inputs falls into; the more, the more it can express.

    Two inputs are in one region if every ReLU is active for both or for neither (TE-NAS, arXiv 2102.11535, section
    3.1.2). The ReLUs are the ``nn.ReLU`` modules that run; calls of ``functional.relu`` are not seen.

    Args:
        model: maps images (n, C, h, w) to anything.
        images: (n, C, h, w).

    Returns:
        A number in 1 .. n; n says that the inputs are too few to tell.
    """
    patterns: list[Tensor] = []  # (n, units) booleans of every ReLU that runs

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        patterns.append((output > 0).flatten(start_dim=1))

    handles = [part.register_forward_hook(record) for part in model.modules() if isinstance(part, nn.ReLU)]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    if not patterns:
        return 1
    packed = np.packbits(torch.cat(patterns, dim=1).cpu().numpy(), axis=1)
    return len({row.tobytes() for row in packed})
