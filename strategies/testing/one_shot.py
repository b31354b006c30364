"""Conformance suite of one-shot strategies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nni_privacy.cells.genotypes import parse_genotype
from nni_privacy.runs.epochs import EpochRecord
from nni_privacy.strategies.one_shot import OneShotStrategy
from nni_privacy.strategies.testing.cases import CASES, Case, tiny_data
from nni_privacy.strategies.testing.engine import RecordingEngine

__all__ = ["OneShotConformance"]

SEED = 5

cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


class _Stopped(Exception):  # noqa: N818 - it is no error
    """Raised by a test after an epoch, where a user would press Ctrl-C."""


class OneShotConformance:
    """What a one-shot strategy promises, on both spaces, with and without patterns.

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

    @cases
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

    @cases
    def test_what_is_fixed_is_not_searched(self, case: Case) -> None:
        strategy = self.prepared(case)
        fixed = {(cell, edge.target): 0 for cell, edges in case.fixed().edges.items() for edge in edges}
        for cell, edges in case.fixed().edges.items():
            for edge in edges:
                fixed[cell, edge.target] += 1
        keys = [decision.key for decision in strategy.layout().decisions]
        assert keys and len(set(keys)) == len(keys)
        for cell, edges in case.fixed().edges.items():
            for edge in edges:
                assert not any(key.endswith(f"_{edge.source}_{edge.target}") and key.startswith(cell) for key in keys)
        for (cell, target), count in fixed.items():
            if cell in ("normal", "reduction") and count == 2:
                assert not any(key.startswith(cell) and key.endswith(f"_{target}") for key in keys)

    @cases
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

    @cases
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
        # Themselves, not their ids: the id of one that is gone is given to another.
        self._seen: list[torch.optim.Optimizer] = []
        self._kept: dict[str, torch.Tensor] = {}

    def attach(self) -> None:
        """Takes hold of the optimisers, new ones included; a strategy may make others between two epochs."""
        optimizers = self.strategy.optimizers()
        owners = [id(parameter) for optimizer in optimizers.values() for parameter in _parameters(optimizer)]
        assert len(set(owners)) == len(owners), "a parameter is in two optimisers"
        for name, optimizer in optimizers.items():
            self._kept[name] = _values(optimizer)
            if not self._watched(optimizer):
                self._seen.append(optimizer)
                optimizer.register_step_pre_hook(lambda *_: self.compare())
                optimizer.register_step_post_hook(lambda *_, name=name: self._stepped(name))

    def compare(self) -> None:
        """Every parameter is what it was after the last step of its own optimiser."""
        for name, optimizer in self.strategy.optimizers().items():
            if self._watched(optimizer):
                changed = not torch.equal(_values(optimizer), self._kept[name])
                assert not changed, f"{name} changed outside the steps of its optimiser"

    def _watched(self, optimizer: torch.optim.Optimizer) -> bool:
        return any(seen is optimizer for seen in self._seen)

    def _stepped(self, name: str) -> None:
        self.steps += 1
        self._kept[name] = _values(self.strategy.optimizers()[name])


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
