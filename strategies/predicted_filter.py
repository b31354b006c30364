"""Filter around any strategy: only architectures are trained whose predicted AUC, or another score, is low enough."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from nni.nas.execution import ExecutionEngine
from nni.nas.space import ExecutableModelSpace
from nni.nas.strategy import Strategy
from torch import Tensor

from nni_privacy.errors import ConfigError
from nni_privacy.schema import Seed, checked
from nni_privacy.search_spaces.space import architecture_of, size_of
from nni_privacy.strategies.one_shot import OneShotStrategy
from nni_privacy.strategies.proposal_filter import ProposalFilter
from nni_privacy.strategies.registry import FilterOptions
from nni_privacy.strategies.scorers import Known, quantile_bound, scorer_of
from nni_privacy.strategies.scores import PREDICTED

__all__ = ["PredictedFilter"]

_logger = logging.getLogger(__name__)


class PredictedFilter(ProposalFilter):
    """Lets ``strategy`` propose, and trains only the architectures whose *score*, known before training, is low enough.

    The score is the AUC that a surrogate predicts, or what else ``by`` names: ``parameters``, ``multiply_adds``, or a
    zero-cost proxy of the untrained network, ``synflow``, ``grad_norm``, ``snip`` or ``naswot``
    (:func:`~nni_privacy.training.zero_cost.zero_cost_proxies`), on 64 records of target-train.

    The others are skipped before they reach the engine: they cost a few milliseconds (a zero-cost proxy up to a
    second), take none of the experiment's trials, are counted and logged with their scores, and the inner strategy is
    told that they ended without a result. What is trained is measured as ever. What has no such score is skipped.

    Works around any strategy that proposes architectures one after another, for predicted AUCs those of the DARTS
    space. Together with a pattern write ``FixedPattern(PredictedFilter(strategy, quantile=0.1), pattern)``: the
    quantile is then one of the architectures that have the pattern's edges.

    Args:
        strategy: the strategy that proposes.
        surrogate: file of a fitted surrogate, for predicted AUCs; by default the one that ships.
        below: only what has a score below this is trained; of a predicted AUC a number between 0 and 1.
        quantile: instead, only this share (between 0 and 1) of the searched architectures, those of the lowest
            scores; the bound is estimated on random ones when the search starts, see
            :data:`~nni_privacy.strategies.scores.SCORES`.
        max_rejections: the search ends with an error when so many proposals in a row are skipped.
        seed: of the architectures that the quantile is estimated on, and of initial weights.
        log: a file that gets a line of JSON for each skipped architecture.
        by: the score.
        above: only what has a score above this is trained, instead of ``below``.
        keep: ``lowest`` or ``highest``, of a quantile; by default the lowest.
        image_shape: channels, height and width of the images, for ``multiply_adds``; by default those of the
            evaluator's data.
        data: images (n, C, h, w) and labels (n,), for zero-cost proxies, of which the first 64 are taken; by default
            the target-train part of the evaluator's data.

    Raises:
        ConfigError: if an option is not valid; at the start of the search, if there is no such score in the space, or
            it is the same for all architectures; during the search, if too many proposals in a row are skipped.
        DataError: if the surrogate's file cannot be read.

    Attributes:
        bound: the score that an architecture must be below, or above; None until the search starts if it is a
            quantile.
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
        by: str = PREDICTED,
        above: float | None = None,
        keep: str | None = None,
        image_shape: tuple[int, ...] | None = None,
        data: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__(strategy)
        given = {"by": by, "keep": keep, "below": below, "above": above, "quantile": quantile, "surrogate": surrogate}
        options = FilterOptions.from_mapping({**given, "max_rejections": max_rejections})
        if isinstance(getattr(strategy, "strategy", strategy), OneShotStrategy):
            raise ConfigError(
                "filter: a one-shot search proposes its top_k architectures once; there is none to go on to"
            )
        self.options = options
        self.below, self.above, self.quantile = options.below, options.above, options.quantile
        self.max_rejections = options.max_rejections
        self.seed = checked(Seed, seed, "seed")
        self.log = log
        self.bound = options.bound
        # As if the lowest were kept: where the highest are, all scores are looked at with the other sign.
        self._sign = -1 if options.keep == "highest" else 1
        self._nearest = np.inf
        self._scorer = scorer_of(Known(options.by, options.surrogate, self.seed, image_shape, data))

    def extra_repr(self) -> str:
        """For ``repr``."""
        given = {name: value for name, value in self.options.to_dict().items() if value is not None}
        return ", ".join([repr(self.strategy), *(f"{name}={value!r}" for name, value in given.items())])

    def check(self, model_space: ExecutableModelSpace) -> None:
        """Raises what the search would raise at its start, if anything; changes and writes nothing.

        Raises:
            ConfigError: if architectures of ``model_space`` have no such score, or the inner strategy cannot search it.
        """
        self._scorer.check(model_space)
        super().check(model_space)

    def _initialize(self, model_space: ExecutableModelSpace, engine: ExecutionEngine) -> ExecutableModelSpace:
        self._scorer.check(model_space)
        if self.quantile is not None:
            self.bound = self._estimated(model_space, self.quantile)
        if self.log is not None:
            # A search that is resumed skips once more what it skipped before.
            self.log.unlink(missing_ok=True)
        return self.strategy.initialize(model_space, self.filtered(engine))

    def _estimated(self, model_space: ExecutableModelSpace, share: float) -> float:
        """The bound of a quantile."""
        score = self.options.score
        scores = self._scorer.of_random(model_space, score.drawn, seed=self.seed)
        found = np.unique(scores[~np.isnan(scores)])
        if len(found) < 2:
            same = f"all the same {score.label}, {score.written(found[0])}" if len(found) else f"no {score.label}"
            raise ConfigError(f"filter.by: {self.options.by}; {score.drawn:,} random architectures have {same}")
        bound = self._sign * quantile_bound(self._sign * scores, share)
        _logger.info("filter: %s %s, of %d random architectures", self._side, score.written(bound), score.drawn)
        return bound

    @property
    def _side(self) -> str:
        return f"{self.options.by} {'below' if self._sign > 0 else 'above'}"

    def _run(self) -> None:
        self.strategy.run()
        _logger.info("not measured: %d architectures skipped, %d passed on", self.skipped, self.accepted)

    def admits(self, model: ExecutableModelSpace) -> bool:
        """Whether ``model`` is to be trained.

        Raises:
            ConfigError: if it is not, and neither were too many before it.
        """
        score, bound = self._scorer.of_model(model), self.bound
        off = np.inf if score is None else self._sign * score
        if score is not None and (bound is None or off < self._sign * bound):
            self._nearest = np.inf
            return self.count(admitted=True)
        self.count(admitted=False)
        self._nearest = min(self._nearest, off)
        self._note(model, score)
        if self._in_a_row >= self.max_rejections:
            raise ConfigError(self._told_of_rejections())
        return False

    def _note(self, model: ExecutableModelSpace, score: float | None) -> None:
        """Logs what is skipped."""
        known, architecture, factors = self.options.score, architecture_of(model), size_of(model)
        written = "none" if score is None else known.written(score)
        _logger.info("skipped, %s %s (not measured): %s", known.label, written, architecture)
        if self.log is not None:
            size = {"factors": factors} if factors else {}
            line = json.dumps({"architecture": architecture, self.options.by: score, **size})
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def _told_of_rejections(self) -> str:
        known, bound = self.options.score, self.bound or 0.0
        side, beyond = ("below", "more") if self._sign > 0 else ("above", "less")
        nearest = known.written(self._sign * self._nearest) if self._nearest < np.inf else None
        have = f"no {known.label}" if nearest is None else f"a {known.label} of {nearest} or {beyond}"
        return (
            f"filter: {self._in_a_row} proposals in a row have {have}, "
            f"none {side} {known.written(bound)}; allow more, or raise max_rejections"
        )

    def state_dict(self) -> dict[str, Any]:
        """The state of the inner strategy, the score and its bound, and the counts."""
        return {"by": self.options.by, "keep": self.options.keep, "bound": self.bound, **super().state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the inner strategy and the counts.

        Raises:
            ConfigError: if the state is of a search with another bound.
        """
        # What was saved before there were other scores names none.
        found = (state_dict.get("by", PREDICTED), state_dict.get("keep", "lowest"), state_dict["bound"])
        wanted = (self.options.by, self.options.keep, self.bound)
        if found != wanted:
            before, now = (f"{by}: {keep}, bound {bound}" for by, keep, bound in (found, wanted))
            raise ConfigError(f"the checkpoint is of a search with the filter {before}; this one's is {now}")
        super().load_state_dict(state_dict)
