"""Conformance suites: what every search strategy must do, for ours and for those that you write.

Subclass one in your tests, say how to make your strategy, and let pytest collect it::

    from nni_privacy.strategies.testing import OneShotConformance

    class TestMySearch(OneShotConformance):
        def make_strategy(self, **options):
            return MySearch(epochs=2, batch_size=16, **options)

Needs pytest.
"""

from __future__ import annotations

from nni_privacy.strategies.testing.cases import CASES, Case
from nni_privacy.strategies.testing.engine import RecordingEngine
from nni_privacy.strategies.testing.one_shot import OneShotConformance
from nni_privacy.strategies.testing.proposals import StrategyConformance

__all__ = ["CASES", "Case", "OneShotConformance", "RecordingEngine", "StrategyConformance"]
