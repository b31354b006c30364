"""Search for the best trade-offs between several metrics at once, accuracy and membership leakage above all."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from nni.mutable import SampleValidationError
from nni.nas.execution import ExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, ModelEventType, TrainingEndEvent
from nni.nas.space import ExecutableModelSpace, ModelStatus
from nni.nas.strategy import Strategy

from nni_privacy.analysis.constraints import Constraints
from nni_privacy.analysis.pareto import binary_tournament, environmental_selection
from nni_privacy.errors import ConfigError
from nni_privacy.schema import Seed, Several, Share, checked
from nni_privacy.strategies.choice_codes import ChoiceCodes, Codes, crossover, diverse_codes, mutate, random_codes
from nni_privacy.strategies.objectives import Direction, Objectives

__all__ = ["ParetoEvolution"]

_logger = logging.getLogger(__name__)

CHANGES_A_CHILD = 2.0
"""How many choices of a child mutate on average, unless told otherwise."""

BRED, DRAWN = 100, 100
"""How often a child, then a random architecture, is made anew that was proposed before or breaks a constraint."""

WALKED = 10_000
"""How many architectures are looked at, after that, for one that a constraint allows."""


@dataclass(frozen=True)
class _Individual:
    codes: Codes
    costs: tuple[float, ...]
    violation: float = 0.0


@dataclass
class _Running:
    model: ExecutableModelSpace  # held, since NNI's engine forgets models that nobody holds
    codes: Codes
    metric: Any = None


class ParetoEvolution(Strategy):
    """NSGA-II over whole metric dicts: a population that spreads along the best trade-offs between the objectives.

    The first ``population_size`` architectures are random, each with a preference of its own (:func:`diverse_codes`).
    Each further one is a child: two parents win a binary
    tournament each (fewer dominated, then less crowded), their nodes are mixed, some choices mutate. Every result joins
    the population and the worst of it leaves, so nothing waits for a generation to be complete: the strategy keeps
    any number of workers busy (steady-state NSGA-II; J. J. Durillo, A. J. Nebro, F. Luna, E. Alba, "On the effect of
    the steady-state selection scheme in multi-objective genetic algorithms", EMO 2009). Where one trial runs at a
    time, the same seed proposes the same architectures.

    NNI's own strategies see ``default`` only; this one listens to the whole dict that a trial reports. A trial that
    failed, or whose objectives are not all finite numbers, takes part in nothing. What was found is a front, not
    one best model: see the run's report, or :meth:`front`.

    Works on every space of ``Categorical`` choices, in NNI's model formats ``simplified`` and ``raw``, with any engine,
    and inside :class:`~nni_privacy.strategies.FixedPattern`. A space may say which choices belong together, see
    :meth:`ChoiceCodes.of <nni_privacy.strategies.choice_codes.ChoiceCodes.of>`.

    Source: Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEVC 6(2), 2002.

    Args:
        objectives: metric to ``"maximize"`` or ``"minimize"``; a trial that reports a bare number reports ``default``.
        population_size: architectures kept, at least 2; as many random ones start the search.
        mutation_prob: chance in (0, 1] that a choice of a child is drawn anew; by default two choices a child on
            average.
        crossover: whether a child has two parents; else it is a mutant of one.
        dedup: never propose an architecture twice; the search then ends when the space is exhausted.
        constraints: metric to bound, as :meth:`Constraints.of` takes them. A feasible trial is better than one that
            breaks a constraint, and of two that do the one that is less far off (Deb's rule, section VI).
        seed: drives all random choices.

    Raises:
        ConfigError: if an option is out of range; at the start of the search, if the space has other choices than
            categorical ones or nothing left to choose.
    """

    def __init__(
        self,
        *,
        objectives: Mapping[str, Direction] | None = None,
        population_size: int = 20,
        mutation_prob: float | None = None,
        crossover: bool = True,
        dedup: bool = True,
        constraints: Mapping[str, Any] | Constraints | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.objectives = Objectives.of(objectives)
        self.population_size = checked(Several, population_size, "population_size")
        self.mutation_prob = checked(Share | None, mutation_prob, "mutation_prob")
        self.crossover = crossover
        self.dedup = dedup
        self.constraints = Constraints.of(constraints)
        self.seed = checked(Seed, seed, "seed")
        self._rng = np.random.default_rng(self.seed)
        self._population: list[_Individual] = []
        self._proposed: set[Codes] = set()
        self._unfinished: list[Codes] = []  # of an earlier session: proposed again first
        self._running: dict[int, _Running] = {}
        # Results come in the thread that listens to the manager, and in this one with NNI's sequential engine.
        self._lock = threading.RLock()

    def extra_repr(self) -> str:
        """For ``repr``."""
        return (
            f"objectives={dict(self.objectives.directions)}, population_size={self.population_size}, "
            f"mutation_prob={self.mutation_prob}, crossover={self.crossover}, dedup={self.dedup}, seed={self.seed}"
        )

    def front(self) -> list[tuple[dict[str, Any], dict[str, float]]]:
        """The best trade-offs among the feasible ones of the population, pairs of a sample and its objectives' values.

        No other trial is at least as good in every objective and better in one. At most ``population_size`` pairs, by
        the first objective, the best first.
        """
        with self._lock:
            feasible = [individual for individual in self._population if not individual.violation]
            best = self.objectives.front([individual.costs for individual in feasible])
            chosen = sorted((feasible[index] for index in best), key=lambda individual: individual.costs)
        return [(self._choices.decode(one.codes), self.objectives.values(one.costs)) for one in chosen]

    def _initialize(self, model_space: ExecutableModelSpace, engine: ExecutionEngine) -> ExecutableModelSpace:
        self._choices = ChoiceCodes.of(model_space)
        engine.register_model_event_callback(ModelEventType.FinalMetric, self._on_metric)
        engine.register_model_event_callback(ModelEventType.TrainingEnd, self._on_end)
        return model_space

    def _cleanup(self) -> None:
        self.engine.unregister_model_event_callback(ModelEventType.FinalMetric, self._on_metric)
        self.engine.unregister_model_event_callback(ModelEventType.TrainingEnd, self._on_end)

    def _run(self) -> None:
        while self.wait_for_resource():
            with self._lock:
                proposal = self._propose()
                if proposal is None:
                    _logger.warning("every architecture of the space has been proposed: the search ends early")
                    break
                self._running[id(proposal.model)] = proposal
            self.engine.submit_models(proposal.model)
        self.engine.wait_models()

    def _propose(self) -> _Running | None:
        """The next architecture to try; None if there is none left."""
        if self._unfinished:
            codes = self._unfinished.pop(0)
            return _Running(self.model_space.freeze(self._choices.decode(codes)), codes)
        starting = len(self._population) + len(self._running) < self.population_size
        bred = 0 if starting or not self._population else BRED
        kinds, counts = self._choices.kinds, self._choices.counts
        for attempt in range(bred + DRAWN):
            codes = self._child() if attempt < bred else diverse_codes(counts, kinds, len(self._proposed), self._rng)
            proposal = self._try(codes)
            if proposal is not None:
                return proposal
        return self._first_left()

    def _child(self) -> Codes:
        counts = self._choices.counts
        costs = np.array([individual.costs for individual in self._population])
        off = [individual.violation for individual in self._population]
        parents = [self._population[binary_tournament(costs, self._rng, off)].codes for _ in range(1 + self.crossover)]
        child = crossover(parents[0], parents[1], self._choices.groups, self._rng) if self.crossover else parents[0]
        free = sum(count > 1 for count in counts)
        default = min(1.0, CHANGES_A_CHILD / free)
        return mutate(child, counts, default if self.mutation_prob is None else self.mutation_prob, self._rng)

    def _first_left(self) -> _Running | None:
        """A search for what is left of a space that is nearly exhausted, or of which constraints allow little."""
        if self.dedup and len(self._proposed) >= self._choices.size:
            return None
        start = random_codes(self._choices.counts, self._rng)
        for looked, codes in enumerate(self._choices.onwards(start)):
            if looked >= WALKED + len(self._proposed):
                return None
            proposal = self._try(codes)
            if proposal is not None:
                return proposal
        return None

    def _try(self, codes: Codes) -> _Running | None:
        """Proposes ``codes``, unless they were proposed before or break a constraint of the space."""
        if self.dedup and codes in self._proposed:
            return None
        try:
            model = self.model_space.freeze(self._choices.decode(codes))
        except SampleValidationError:
            return None
        self._proposed.add(codes)
        return _Running(model, codes)

    def _on_metric(self, event: FinalMetricEvent) -> None:
        with self._lock:
            running = self._running.get(id(event.model))
            if running is not None:
                running.metric = event.metric

    def _on_end(self, event: TrainingEndEvent) -> None:
        with self._lock:
            running = self._running.pop(id(event.model), None)
            if running is None or event.status != ModelStatus.Trained:
                return
            costs = self.objectives.costs(running.metric)
            if costs is None:
                return
            metrics = running.metric if isinstance(running.metric, Mapping) else {"default": running.metric}
            self._population.append(_Individual(running.codes, costs, self.constraints.violation(metrics)))
            points, off = zip(*((one.costs, one.violation) for one in self._population), strict=True)
            kept = environmental_selection(points, self.population_size, off)
            self._population = [self._population[index] for index in kept]

    def state_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and texts: population, proposals, and the state of the random numbers.

        Empty where the search did not start: NNI saves the state of a search that was refused, too.
        """
        if not hasattr(self, "_choices"):
            return {}
        with self._lock:
            unfinished = [*(one.codes for one in self._running.values()), *self._unfinished]
            return {
                "choices": {label: len(options) for label, options in self._choices.values.items()},
                "objectives": dict(self.objectives.directions),
                "constraints": self.constraints.to_dict(),
                "population": [
                    {"codes": list(one.codes), "costs": list(one.costs), "violation": one.violation}
                    for one in self._population
                ],
                "proposed": sorted(list(codes) for codes in self._proposed),
                "unfinished": [list(codes) for codes in unfinished],
                "random": self._rng.bit_generator.state,
            }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where the state was taken; trials that were running then are proposed again.

        The state of a search that did not start changes nothing.

        Raises:
            ConfigError: if the state is of another space, of other objectives or of other constraints.
        """
        if not state_dict:
            return
        here = {label: len(options) for label, options in self._choices.values.items()}
        if state_dict["choices"] != here:
            raise ConfigError("the checkpoint is of a search in another space: its choices are not those of this one")
        if state_dict["objectives"] != dict(self.objectives.directions):
            raise ConfigError(
                f"the checkpoint is of a search for {state_dict['objectives']}; this one is for "
                f"{dict(self.objectives.directions)}"
            )
        if state_dict.get("constraints", {}) != self.constraints.to_dict():
            raise ConfigError(f"the checkpoint is of a search with other constraints; this one has {self.constraints}")
        with self._lock:
            self._population = [
                _Individual(tuple(one["codes"]), tuple(one["costs"]), one.get("violation", 0.0))
                for one in state_dict["population"]
            ]
            self._proposed = {tuple(codes) for codes in state_dict["proposed"]}
            self._unfinished = [tuple(codes) for codes in state_dict["unfinished"]]
            self._rng.bit_generator.state = state_dict["random"]
