"""Conformance suite of all strategies, one-shot or not."""

from __future__ import annotations

from typing import Any

import pytest
from nni.nas.strategy import Strategy

from nni_privacy.strategies.testing.cases import CASES, Case
from nni_privacy.strategies.testing.engine import RecordingEngine

__all__ = ["StrategyConformance"]


class StrategyConformance:
    """Every submitted architecture is in the space and has the fixed edges; the same seed submits the same ones.

    Override :meth:`make_strategy`; :attr:`proposals` is how many architectures a run submits.
    """

    proposals = 12

    def make_strategy(self, *, seed: int) -> Strategy:
        """The strategy under test, its random choices driven by ``seed``."""
        raise NotImplementedError

    def proposed(self, case: Case, *, seed: int = 0) -> list[dict[str, Any]]:
        """The samples that a run submits."""
        engine = RecordingEngine(self.proposals)
        case.wrap(self.make_strategy(seed=seed))(case.model_space(), engine)
        return engine.samples

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_every_proposal_is_in_the_space_and_has_the_fixed_edges(self, case: Case) -> None:
        samples = self.proposed(case)
        space, fixed = case.make_space(), case.fixed()
        assert len(samples) == self.proposals
        for sample in samples:
            assert space.check_contains(sample) is None
            assert fixed.missing_from(case.genotype_of(sample)) == []

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_the_same_seed_proposes_the_same(self, case: Case) -> None:
        assert self.proposed(case, seed=3) == self.proposed(case, seed=3)
