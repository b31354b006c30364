"""Layout of spaces whose choices are single operations: NAS-Bench-201, and NNI's LayerChoice spaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from nni_privacy.cells.operations import is_skip
from nni_privacy.search_spaces.supernet import Decision, Layout, Sample

__all__ = ["FlatLayout"]


class FlatLayout(Layout):
    """One decision a choice that has more than one value left; its key is the choice's label.

    Args:
        choices: label to the values that the (constrained) space leaves.
        candidates: for some decisions, the names of what is left of their candidates; all others have all their values.
        describe: how a sample is written in logs.
    """

    def __init__(
        self,
        choices: Mapping[str, Sequence[Any]],
        *,
        candidates: Mapping[str, Sequence[str]] | None = None,
        describe: Callable[[Mapping[str, Any]], str] | None = None,
    ) -> None:
        self.choices = {label: tuple(values) for label, values in choices.items()}
        self.fixed = {label: values[0] for label, values in self.choices.items() if len(values) == 1}
        self.decisions = tuple(
            Decision(label, tuple((candidates or {}).get(label, map(str, values))))
            for label, values in self.choices.items()
            if len(values) > 1
        )
        self._describe = describe

    def path(self, sample: Mapping[str, Any]) -> dict[str, int]:
        """Index of the chosen operation of every decision."""
        return {decision.key: decision.candidates.index(str(sample[decision.key])) for decision in self.decisions}

    def export(self, scores: Mapping[str, Tensor]) -> Sample:
        """The best operation of every decision."""
        chosen = {decision.key: decision.candidates[int(scores[decision.key].argmax())] for decision in self.decisions}
        return {
            label: next(value for value in values if str(value) == chosen[label]) if label in chosen else values[0]
            for label, values in self.choices.items()
        }

    def describe(self, sample: Mapping[str, Any]) -> str:
        """The space's own text of an architecture, or the sample."""
        return super().describe(sample) if self._describe is None else self._describe(sample)

    def skip_connections(self, sample: Mapping[str, Any]) -> int:
        """How many choices are skip connections, fixed ones included."""
        return sum(is_skip(str(value)) for value in sample.values())
