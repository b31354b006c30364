"""Filters around any strategy: what one does not let through is skipped before it reaches the engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nni.mutable import Mutable
from nni.nas.execution import ExecutionEngine, Middleware
from nni.nas.execution.event import ModelEventType, TrainingEndEvent
from nni.nas.space import ExecutableModelSpace, ModelStatus
from nni.nas.strategy import Strategy

from nni_privacy.search_spaces.constraints import FixedEdges

__all__ = ["ProposalFilter"]


class ProposalFilter(Strategy):
    """Lets ``strategy`` propose, and passes on the architectures that :meth:`admits` lets through.

    The others take none of the experiment's trials, and the inner strategy is told that they ended without a result.
    Where the same is proposed in the same order, the same is skipped, so a run that is resumed goes the same way.

    Args:
        strategy: the strategy that proposes.

    Attributes:
        accepted: number of architectures that were passed on.
        skipped: number of those that were not.
    """

    def __init__(self, strategy: Strategy) -> None:
        super().__init__()
        self.strategy = strategy
        self.accepted = self.skipped = self._in_a_row = 0

    def admits(self, model: ExecutableModelSpace) -> bool:
        """Whether ``model`` is passed on."""
        raise NotImplementedError

    def filtered(self, engine: ExecutionEngine) -> Middleware:
        """The engine that the inner strategy is to see; while its ``closed`` is true, there is no budget."""
        return _FilteringEngine(engine, self.admits)

    def fit_to(self, model_space: Any) -> Any:
        """What an inner :class:`FixedPattern` fixes of ``model_space``; nothing if there is none."""
        fit_to = getattr(self.strategy, "fit_to", None)
        return fit_to(model_space) if fit_to is not None else FixedEdges()

    def searched_space(self) -> dict[str, Mutable]:
        """Label to choice of the space that is searched; valid once initialised."""
        searched = getattr(self.strategy, "searched_space", None)
        return searched() if searched is not None else self.strategy.model_space.simplify()

    def check(self, model_space: ExecutableModelSpace) -> None:
        """Raises what the search would raise at its start, if anything; changes and writes nothing.

        Raises:
            ConfigError: if the inner strategy cannot search ``model_space``.
        """
        check = getattr(self.strategy, "check", None)
        if check is not None:
            check(model_space)

    def _run(self) -> None:
        self.strategy.run()

    def count(self, *, admitted: bool) -> bool:
        """Counts a proposal; returns ``admitted``."""
        self.accepted += admitted
        self.skipped += not admitted
        self._in_a_row = 0 if admitted else self._in_a_row + 1
        return admitted

    def list_models(self, sort: bool = True, limit: int | None = None) -> Iterator[ExecutableModelSpace]:
        """The models of the inner strategy."""
        return self.strategy.list_models(sort=sort, limit=limit)

    def state_dict(self) -> dict[str, Any]:
        """The state of the inner strategy, and the counts."""
        return {"accepted": self.accepted, "skipped": self.skipped, "strategy": self.strategy.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the inner strategy and the counts."""
        self.accepted, self.skipped = state_dict["accepted"], state_dict["skipped"]
        self.strategy.load_state_dict(state_dict["strategy"])


class _FilteringEngine(Middleware):
    """Passes on what ``admits`` lets through; of everything else the strategy hears that it ended without a result.

    Attributes:
        closed: whether the strategy is told that no more trials may be proposed.
    """

    def __init__(self, engine: ExecutionEngine, admits: Callable[[ExecutableModelSpace], bool]) -> None:
        super().__init__(engine)
        self.closed = False
        self._admits = admits
        self._listeners: dict[ModelEventType, list[Callable[..., None]]] = defaultdict(list)

    def submit_models(self, *models: ExecutableModelSpace) -> None:
        for model in models:
            if self._admits(model):
                self.engine.submit_models(model)
            else:
                # To this engine's own listeners only: others count the trials that there were.
                event = TrainingEndEvent(model, ModelStatus.Invalid)
                for listener in list(self._listeners[event.event_type]):
                    listener(event)
                model.status = event.status

    def register_model_event_callback(self, event_type: ModelEventType, callback: Callable[..., None]) -> None:
        self._listeners[ModelEventType(event_type)].append(callback)
        self.engine.register_model_event_callback(event_type, callback)

    def unregister_model_event_callback(self, event_type: ModelEventType, callback: Callable[..., None]) -> None:
        self._listeners[ModelEventType(event_type)].remove(callback)
        self.engine.unregister_model_event_callback(event_type, callback)

    def wait_models(self, *models: ExecutableModelSpace) -> None:
        self.engine.wait_models(*models)

    def list_models(self, status: ModelStatus | None = None) -> Iterable[ExecutableModelSpace]:
        return self.engine.list_models(status)

    def idle_worker_available(self) -> bool:
        return bool(self.engine.idle_worker_available())

    def budget_available(self) -> bool:
        return not self.closed and bool(self.engine.budget_available())
