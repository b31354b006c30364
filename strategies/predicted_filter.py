"""Filter around any strategy: only architectures of low predicted AUC are trained."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from nni.nas.execution import ExecutionEngine
from nni.nas.space import ExecutableModelSpace
from nni.nas.strategy import Strategy

from nni_privacy.errors import ConfigError
from nni_privacy.schema import Seed, checked
from nni_privacy.search_spaces.space import unwrap_space
from nni_privacy.strategies.choice_codes import ChoiceCodes, random_codes
from nni_privacy.strategies.one_shot import OneShotStrategy
from nni_privacy.strategies.proposal_filter import ProposalFilter
from nni_privacy.strategies.registry import FilterOptions
from nni_privacy.surrogate.evaluator import ModelPredictor

__all__ = ["PredictedFilter"]

_logger = logging.getLogger(__name__)

SAMPLED = 2000
"""Random architectures whose predictions give the quantile."""


class PredictedFilter(ProposalFilter):
    """Lets ``strategy`` propose, and trains only the architectures whose *predicted* AUC is low enough.

    The others are skipped before they reach the engine: they cost a few milliseconds, take none of the experiment's
    trials, are counted and logged as predicted, and the inner strategy is told that they ended without a result. What
    is trained is measured as ever.

    Works around any strategy that proposes architectures of the DARTS space one after another. Together with a pattern
    write ``FixedPattern(PredictedFilter(strategy, quantile=0.1), pattern)``: the quantile is then one of the
    architectures that have the pattern's edges.

    Args:
        strategy: the strategy that proposes.
        surrogate: file of a fitted surrogate; by default the one that ships.
        below: only what is predicted below this AUC is trained, a number between 0 and 1.
        quantile: instead, only this share (between 0 and 1) of the searched architectures, those of the lowest
            predicted AUC; the bound is estimated on 2,000 random ones when the search starts.
        max_rejections: the search ends with an error when so many proposals in a row are skipped.
        seed: of the architectures that the quantile is estimated on.
        log: a file that gets a line of JSON for each skipped architecture.

    Raises:
        ConfigError: if an option is not valid; at the start of the search, if the surrogate cannot predict the space;
            during the search, if too many proposals in a row are skipped.
        DataError: if the surrogate's file cannot be read.

    Attributes:
        bound: the predicted AUC that an architecture must be below; None until the search starts if it is a quantile.
        accepted: number of architectures that were passed on.
        skipped: number of those that were not.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        surrogate: str | Path | None = None,
        below: float | None = None,
        quantile: float | None = None,
        max_rejections: int = 1000,
        seed: int = 0,
        log: Path | None = None,
    ) -> None:
        super().__init__(strategy)
        options = FilterOptions.from_mapping(
            {"below": below, "quantile": quantile, "surrogate": surrogate, "max_rejections": max_rejections}
        )
        if isinstance(getattr(strategy, "strategy", strategy), OneShotStrategy):
            raise ConfigError(
                "filter: a one-shot search proposes its top_k architectures once; there is none to go on to"
            )
        self.below = options.below
        self.quantile = options.quantile
        self.max_rejections = options.max_rejections
        self.seed = checked(Seed, seed, "seed")
        self.log = log
        self.bound = options.below
        self._lowest = np.inf
        self._predictor = ModelPredictor(options.surrogate)

    def extra_repr(self) -> str:
        """For ``repr``."""
        return f"{self.strategy!r}, below={self.below}, quantile={self.quantile}"

    def check(self, model_space: ExecutableModelSpace) -> None:
        """Raises what the search would raise at its start, if anything; changes and writes nothing.

        Raises:
            ConfigError: if the surrogate cannot predict ``model_space``, or the inner strategy cannot search it.
        """
        self._predictor.check(model_space)
        super().check(model_space)

    def _initialize(self, model_space: ExecutableModelSpace, engine: ExecutionEngine) -> ExecutableModelSpace:
        self._predictor.check(model_space)
        if self.quantile is not None:
            choices, generator = ChoiceCodes.of(model_space), np.random.default_rng(self.seed)
            drawn = [choices.decode(random_codes(choices.counts, generator)) for _ in range(SAMPLED)]
            genotype_of = unwrap_space(model_space).genotype_of
            predicted = self._predictor.surrogate.predict([genotype_of(sample) for sample in drawn])
            self.bound = float(np.quantile(predicted, self.quantile))
        if self.log is not None:
            # A search that is resumed skips once more what it skipped before.
            self.log.unlink(missing_ok=True)
        return self.strategy.initialize(model_space, self.filtered(engine))

    def _run(self) -> None:
        self.strategy.run()
        _logger.info("predicted, not measured: %d architectures skipped, %d passed on", self.skipped, self.accepted)

    def admits(self, model: ExecutableModelSpace) -> bool:
        """Whether ``model`` is to be trained.

        Raises:
            ConfigError: if it is not, and neither were too many before it.
        """
        predicted = self._predictor.of_model(model)
        auc, bound = predicted.predicted_mia_auc, self.bound
        if bound is None or auc < bound:
            self._lowest = np.inf
            return self.count(admitted=True)
        self.count(admitted=False)
        self._lowest = min(self._lowest, auc)
        _logger.info("skipped, predicted AUC %.4f (not measured): %s", auc, predicted.genotype)
        if self.log is not None:
            line = json.dumps({"architecture": str(predicted.genotype), "predicted_mia_auc": auc})
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        if self._in_a_row >= self.max_rejections:
            raise ConfigError(
                f"filter: {self._in_a_row} proposals in a row are predicted at an AUC of {self._lowest:.4f} or more, "
                f"none below {bound:.4f}; allow more, or raise max_rejections"
            )
        return False

    def state_dict(self) -> dict[str, Any]:
        """The state of the inner strategy, the bound, and the counts."""
        return {"bound": self.bound, **super().state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the inner strategy and the counts.

        Raises:
            ConfigError: if the state is of a search with another bound.
        """
        if state_dict["bound"] != self.bound:
            raise ConfigError(
                f"the checkpoint is of a search that trained below a predicted AUC of {state_dict['bound']}; "
                f"this one trains below {self.bound}"
            )
        super().load_state_dict(state_dict)
