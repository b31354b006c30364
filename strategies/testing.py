"""Conformance suites: what every search strategy must do, for ours and for those that you write.

Subclass one in your tests, say how to make your strategy, and let pytest collect it::

    from nni_privacy.strategies.testing import OneShotConformance

    class TestMySearch(OneShotConformance):
        def make_strategy(self, **options):
            return MySearch(epochs=2, batch_size=16, **options)

Needs pytest.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from nni.nas.execution import ExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, TrainingEndEvent
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import ExecutableModelSpace, ModelStatus, SimplifiedModelSpace
from nni.nas.strategy import Strategy

from nni_privacy.cells.genotypes import parse_genotype
from nni_privacy.cells.spaces import SPACES, AnyGenotype, SpaceRecord
from nni_privacy.runs.epochs import EpochRecord
from nni_privacy.search_spaces import FixedEdges
from nni_privacy.strategies.fixed_pattern import FixedPattern
from nni_privacy.strategies.one_shot import OneShotStrategy

__all__ = ["CASES", "Case", "OneShotConformance", "RecordingEngine", "StrategyConformance"]

CLASSES = 3
SIZES = {"channels": 4, "in_channels": 1, "num_classes": CLASSES}
SEED = 5


@dataclass(frozen=True)
class Case:
    """A space and what is fixed in it.

    Attributes:
        name: for the names of tests.
        make_space: makes the (tiny) space.
        pattern: name of a shipped pattern, or None for an unconstrained search.
        budget: how many of its edges are fixed.
    """

    name: str
    make_space: Callable[[], ModelSpace]
    pattern: str | None = None
    budget: int = 0

    def model_space(self) -> SimplifiedModelSpace:
        """A fresh model space as NNI hands it to a strategy."""
        return SimplifiedModelSpace.from_model(self.make_space(), None)

    def wrap(self, strategy: Strategy) -> Strategy:
        """``strategy`` inside a FixedPattern, if the case has a pattern."""
        return strategy if self.pattern is None else FixedPattern(strategy, self.pattern, budget=self.budget)

    def size(self) -> int:
        """How many samples there are to choose from, those of one architecture counted one by one."""
        space = self.make_space()
        mutables: dict[str, Any] = space.simplify()
        constrained = space.constrain(mutables, self.fixed()) if self.pattern is not None else mutables
        return math.prod(len(choice.values) for choice in constrained.values())

    def fixed(self) -> FixedEdges:
        """The edges that every architecture must have."""
        wrapped = self.wrap(Strategy())
        return wrapped.fit_to(self.make_space()) if isinstance(wrapped, FixedPattern) else FixedEdges({})

    def genotype_of(self, sample: dict[str, Any]) -> AnyGenotype:
        """The architecture of a sample of the space."""
        return self.make_space().genotype_of(sample)


def cases_of(record: SpaceRecord) -> tuple[Case, ...]:
    """The cases of a registered space, at the least number of cells that it may have."""
    space = resolve_name(record.model_space)
    make = partial(space, cells=resolve_name(record.network).minimum["cells"], **SIZES)
    fixed: list[tuple[str, str | None, int]] = [("free", None, 0)]
    if hasattr(space, "fixed_edges"):
        fixed += [("demotion-4", "demotion-reduction", 4), ("promotion-3", "promotion-normal", 3)]
    return tuple(Case(f"{record.name}-{label}", make, pattern, budget) for label, pattern, budget in fixed)


CASES = tuple(case for record in SPACES.values() for case in cases_of(record))
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
searchable = [case for case in CASES if hasattr(case.make_space(), "supernet")]
one_shot_cases = pytest.mark.parametrize("case", searchable, ids=lambda case: case.name)


def tiny_data(records: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (records, 1, 8, 8) in 0..1 and labels; the classes differ by where the images are bright."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(records) % CLASSES
    images = 0.5 * torch.rand(records, 1, 8, 8, generator=generator)
    for label in range(CLASSES):
        images[labels == label, :, 2 * label : 2 * label + 2] += 0.5
    return images, labels


def made_up_metrics(sample: dict[str, Any]) -> dict[str, float]:
    """Metrics that depend on the sample only."""
    values = [zlib.crc32(f"{salt}{sorted(sample.items())}".encode()) / 2**32 for salt in ("accuracy", "auc")]
    return {"default": values[0], "accuracy": values[0], "mia_auc": 0.5 + values[1] / 2}


class RecordingEngine(ExecutionEngine):
    """Ends every trial at once.

    Args:
        budget: how many trials there may be.
        evaluate: sample to metrics; by default numbers that depend on the sample only.
    """

    def __init__(self, budget: int, evaluate: Callable[[dict[str, Any]], Any] = made_up_metrics) -> None:
        super().__init__()
        self.budget, self.evaluate = budget, evaluate
        self.models: list[ExecutableModelSpace] = []

    @property
    def samples(self) -> list[dict[str, Any]]:
        """What was submitted, in order."""
        return [dict(model.sample or {}) for model in self.models]

    def submit_models(self, *models: ExecutableModelSpace) -> None:
        """Takes note of ``models`` and reports their metrics."""
        for model in models:
            self.models.append(model)
            model.status = ModelStatus.Training
            self.dispatch_model_event(FinalMetricEvent(model, self.evaluate(dict(model.sample or {}))))
            self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Trained))

    def list_models(self, status: ModelStatus | None = None) -> Iterable[ExecutableModelSpace]:
        """All models, or those of one status."""
        return [model for model in self.models if status is None or model.status == status]

    def idle_worker_available(self) -> bool:
        """Always: nothing takes time."""
        return True

    def budget_available(self) -> bool:
        """Whether more trials may be submitted."""
        return len(self.models) < self.budget


class StrategyConformance:
    """Every submitted architecture is in the space and has the fixed edges; the same seed submits the same ones.

    Override :meth:`make_strategy`; :attr:`proposals` is how many architectures a run submits, of spaces that have them.
    """

    proposals = 12

    def make_strategy(self, *, seed: int) -> Strategy:
        """The strategy under test, its random choices driven by ``seed``."""
        raise NotImplementedError

    def proposed(self, case: Case, *, seed: int = 0) -> list[dict[str, Any]]:
        """The samples that a run submits."""
        engine = RecordingEngine(min(self.proposals, case.size()))
        case.wrap(self.make_strategy(seed=seed))(case.model_space(), engine)
        return engine.samples

    @cases
    def test_every_proposal_is_in_the_space_and_has_the_fixed_edges(self, case: Case) -> None:
        samples = self.proposed(case)
        space, fixed = case.make_space(), case.fixed()
        assert len(samples) == min(self.proposals, case.size()), case.name
        for sample in samples:
            assert space.check_contains(sample) is None
            assert fixed.missing_from(case.genotype_of(sample)) == []

    @cases
    def test_the_same_seed_proposes_the_same(self, case: Case) -> None:
        assert self.proposed(case, seed=3) == self.proposed(case, seed=3)


class _Stopped(Exception):  # noqa: N818 - it is no error
    """Raised by a test after an epoch, where a user would press Ctrl-C."""


class OneShotConformance:
    """What a one-shot strategy promises, in every space that has a supernet, with and without patterns.

    Override :meth:`make_strategy`, with sizes so small that a search takes a second.
    """

    def make_strategy(self, **options: Any) -> OneShotStrategy:
        """The strategy under test, of at least two epochs; ``options`` hold data, seed, folder and so on."""
        raise NotImplementedError

    def searched(self, case: Case, **options: Any) -> tuple[OneShotStrategy, list[str]]:
        """A strategy after its whole search, and the architecture after every epoch."""
        strategy = self.prepared(case, **options)
        architectures: list[str] = []
        inner = strategy.on_epoch

        def note(record: EpochRecord) -> None:
            architectures.append(record.architecture)
            if inner is not None:
                inner(record)

        strategy.on_epoch = note
        strategy.search()
        return strategy, architectures

    def prepared(self, case: Case, **options: Any) -> OneShotStrategy:
        """A strategy that is ready to search, inside a FixedPattern if the case has a pattern."""
        strategy = self.make_strategy(**{"data": tiny_data(), "seed": SEED, "device": "cpu", **options})
        case.wrap(strategy).initialize(case.model_space(), RecordingEngine(100))
        return strategy

    @one_shot_cases
    def test_all_it_finds_and_submits_is_in_the_space_and_has_the_fixed_edges(self, case: Case) -> None:
        epochs: list[str] = []
        strategy = self.make_strategy(
            data=tiny_data(),
            seed=SEED,
            device="cpu",
            top_k=2,
            on_epoch=lambda record: epochs.append(record.architecture),
        )
        engine = RecordingEngine(100)
        case.wrap(strategy)(case.model_space(), engine)
        fixed, space = case.fixed(), case.make_space()
        assert len(epochs) == strategy.total_epochs() >= 2
        for text in epochs:
            assert fixed.missing_from(parse_genotype(text)) == []
        assert engine.samples == strategy.best_samples(2)
        texts = [strategy.layout().describe(sample) for sample in engine.samples]
        assert 1 <= len(set(texts)) == len(texts) <= 2
        for sample in engine.samples:
            assert space.check_contains(sample) is None
            assert fixed.missing_from(case.genotype_of(sample)) == []

    @one_shot_cases
    def test_what_is_fixed_is_not_searched(self, case: Case) -> None:
        strategy = self.prepared(case)
        fixed = [(cell, edge) for cell, edges in case.fixed().edges.items() for edge in edges]
        keys = [decision.key for decision in strategy.layout().decisions]
        assert keys and len(set(keys)) == len(keys)
        for cell, edge in fixed:
            assert not any(key.endswith(f"_{edge.source}_{edge.target}") and key.startswith(cell) for key in keys)
        for (cell, target), count in Counter((cell, edge.target) for cell, edge in fixed).items():
            if cell in ("normal", "reduction") and count == 2:
                assert not any(key.startswith(cell) and key.endswith(f"_{target}") for key in keys)

    @one_shot_cases
    def test_the_same_seed_ends_in_the_same_state_whether_it_was_stopped_or_not(
        self, case: Case, tmp_path: Path
    ) -> None:
        whole, epochs = self.searched(case)

        def stop(record: EpochRecord) -> None:
            raise _Stopped

        with pytest.raises(_Stopped):
            self.searched(case, folder=tmp_path, on_epoch=stop)
        resumed, rest = self.searched(case, folder=tmp_path)
        assert resumed.epoch == whole.epoch
        assert rest == epochs[1:]
        assert resumed.best_samples(2) == whole.best_samples(2)
        assert _equal(resumed.search_state(), whole.search_state())

    @one_shot_cases
    def test_the_two_optimizers_share_nothing_and_leave_each_others_parameters_alone(self, case: Case) -> None:
        strategy = self.prepared(case)
        watch = _Watch(strategy)
        for epoch in range(strategy.total_epochs()):
            watch.attach()
            strategy.run_epoch(epoch)
            strategy.epoch = epoch + 1
            watch.compare()
        assert watch.steps or not strategy.optimizers()


class _Watch:
    """Sees to it that parameters change only in steps of their own optimiser."""

    def __init__(self, strategy: OneShotStrategy) -> None:
        self.strategy = strategy
        self.steps = 0
        # Optimisers themselves, not their ids: the id of one that is gone is given to another.
        self._kept: dict[torch.optim.Optimizer, torch.Tensor] = {}

    def attach(self) -> None:
        """Takes hold of the optimisers, new ones included; a strategy may make others between two epochs."""
        optimizers = self.strategy.optimizers().values()
        owners = [id(parameter) for optimizer in optimizers for parameter in _parameters(optimizer)]
        assert len(set(owners)) == len(owners), "a parameter is in two optimisers"
        for optimizer in optimizers:
            if optimizer not in self._kept:
                optimizer.register_step_pre_hook(lambda *_: self.compare())
                optimizer.register_step_post_hook(lambda stepped, *_: self._stepped(stepped))
            self._kept[optimizer] = _values(optimizer)

    def compare(self) -> None:
        """Every parameter is what it was after the last step of its own optimiser."""
        for name, optimizer in self.strategy.optimizers().items():
            if optimizer in self._kept:
                changed = not torch.equal(_values(optimizer), self._kept[optimizer])
                assert not changed, f"{name} changed outside the steps of its optimiser"

    def _stepped(self, optimizer: torch.optim.Optimizer) -> None:
        self.steps += 1
        self._kept[optimizer] = _values(optimizer)


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _values(optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """A copy of all parameters, one after another."""
    return torch.cat([parameter.detach().flatten() for parameter in _parameters(optimizer)])


def _equal(first: Any, second: Any) -> bool:
    """Whether two nested states are equal, tensors bit for bit."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(_equal(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second)
