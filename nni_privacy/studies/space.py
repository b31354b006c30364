"""A study as NNI sees it: a space of measurements, and a strategy that carries them all out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nni.mutable import Categorical
from nni.nas.evaluator import Evaluator
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.strategy import Strategy

__all__ = ["MeasureAll", "MeasurementSpace"]


class MeasurementSpace(ModelSpace):
    """The factors of a study as choices, so that the web UI shows and charts them like hyper-parameters.

    Args:
        **factors: name to its values.
    """

    def __init__(self, **factors: Sequence[Any]) -> None:
        super().__init__()
        for name, values in factors.items():
            self.add_mutable(Categorical(list(values), label=name))


class MeasureAll(Strategy):
    """Submits a given list of measurements in its order.

    Args:
        measurements: pairs of a sample of the :class:`MeasurementSpace` and the evaluator that carries it out.
    """

    def __init__(self, measurements: Sequence[tuple[dict[str, Any], Evaluator]]) -> None:
        super().__init__()
        self.measurements = list(measurements)

    def extra_repr(self) -> str:
        """For ``repr``."""
        return f"{len(self.measurements)} measurements"

    def _run(self) -> None:
        for sample, evaluator in self.measurements:
            if not self.wait_for_resource():
                return
            model: Any = self.model_space.freeze(sample)
            model.evaluator = evaluator
            self.engine.submit_models(model)
        self.engine.wait_models()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: which measurements are finished is in the run directory."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to restore."""
