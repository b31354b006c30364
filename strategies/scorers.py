"""Scorers: each knows a number of an architecture before it is trained, see :data:`~nni_privacy.strategies.scores`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from nni.nas.space import ExecutableModelSpace, SimplifiedModelSpace
from nni.nas.strategy.utils import RetrySamplingHelper
from torch import Tensor

from nni_privacy.data import Normalizer
from nni_privacy.errors import AuditError, ConfigError, PrivacyError
from nni_privacy.rng import derived_seed, isolated
from nni_privacy.runs.journal import sample_key
from nni_privacy.search_spaces.hub import space_name
from nni_privacy.search_spaces.space import unwrap_space
from nni_privacy.strategies.choice_codes import ChoiceCodes, random_codes
from nni_privacy.strategies.constrained_search import KnownCosts, image_shape_of
from nni_privacy.strategies.scores import SCORES
from nni_privacy.surrogate.evaluator import ModelPredictor
from nni_privacy.training.fit import prepare_batch, seed_everything
from nni_privacy.training.zero_cost import LEAST_IMAGES, zero_cost_proxies

__all__ = ["RECORDS", "CostScore", "Known", "PredictedScore", "Scorer", "ZeroCostScore", "quantile_bound", "scorer_of"]

RECORDS = 64
"""Records of target-train that zero-cost proxies are taken on: those of a study, unless it names another number."""

_SEEDS = 2**32


@dataclass(frozen=True, eq=False)
class Known:
    """What a scorer is made of.

    Attributes:
        name: of the score, one of :data:`~nni_privacy.strategies.scores.SCORES`.
        surrogate: file of a fitted surrogate; None: the one that ships.
        seed: of what is drawn, such as initial weights.
        image_shape: channels, height and width of the images; None: the evaluator's data tell.
        data: images (n, C, h, w) and labels (n,) to take zero-cost proxies on; None: the evaluator's are taken.
    """

    name: str
    surrogate: str | None = None
    seed: int = 0
    image_shape: tuple[int, ...] | None = None
    data: tuple[Tensor, Tensor] | None = None


class Scorer(ABC):
    """Knows one number of an architecture before it is trained.

    Args:
        known: which number, and what it takes.
    """

    def __init__(self, known: Known) -> None:
        self.known = known

    @abstractmethod
    def check(self, model_space: ExecutableModelSpace) -> None:
        """Raises ConfigError unless architectures of ``model_space`` can be scored; comes before they are."""

    @abstractmethod
    def of_model(self, model: ExecutableModelSpace) -> float | None:
        """The score of a frozen model, the same whenever it is asked for; None if it has none."""

    def of_random(self, model_space: ExecutableModelSpace, count: int, *, seed: int) -> npt.NDArray[np.float64]:
        """The scores of random architectures, drawn as NNI's random search draws them.

        Args:
            model_space: to draw from.
            count: how many to draw, 1 or more.
            seed: of the draws.

        Returns:
            ``(count,)``, NaN for what has no score.

        Raises:
            ConfigError: if no architecture of the space can be drawn.
        """
        state, drawing = np.random.RandomState(seed), RetrySamplingHelper()  # the generator that NNI's mutables take
        scores = np.full(count, np.nan)
        for place in range(count):
            model = drawing.retry(model_space.random, random_state=state)
            if model is None:
                raise ConfigError(f"filter: {drawing.retries} random samples in a row are no architecture of the space")
            score = self.of_model(model)
            scores[place] = np.nan if score is None else score
        return scores


class PredictedScore(Scorer):
    """The AUC that a surrogate predicts of a genotype.

    Raises:
        DataError: if the surrogate's file cannot be read.
    """

    def __init__(self, known: Known) -> None:
        super().__init__(known)
        self.predictor = ModelPredictor(known.surrogate)

    def check(self, model_space: ExecutableModelSpace) -> None:
        """Raises ConfigError unless the surrogate can predict the architectures of ``model_space``."""
        self.predictor.check(model_space)

    def of_model(self, model: ExecutableModelSpace) -> float:
        """The predicted AUC of a frozen model."""
        return self.predictor.of_model(model).predicted_mia_auc

    def of_random(self, model_space: ExecutableModelSpace, count: int, *, seed: int) -> npt.NDArray[np.float64]:
        """The predicted AUCs of random architectures, all predicted at once."""
        choices, generator = ChoiceCodes.of(model_space), np.random.default_rng(seed)
        drawn = [choices.decode(random_codes(choices.counts, generator)) for _ in range(count)]
        genotype_of = unwrap_space(model_space).genotype_of
        return np.asarray(self.predictor.surrogate.predict([genotype_of(sample) for sample in drawn]))


class CostScore(Scorer):
    """Parameters or multiply-adds of the network."""

    def check(self, model_space: ExecutableModelSpace) -> None:
        """Raises ConfigError if the size of the images is needed and not known."""
        name, shape = self.known.name, self.known.image_shape
        if SCORES[name].of_images and shape is None:
            shape = image_shape_of(model_space, option="filter.by")
        self._costs = KnownCosts((name,), shape)

    def of_model(self, model: ExecutableModelSpace) -> int:
        """The cost of a frozen model."""
        return self._costs.of(model)[self.known.name]


class ZeroCostScore(Scorer):
    """A zero-cost proxy of the untrained network, on the first records of target-train.

    The initial weights are drawn from a seed that follows from the architecture, so that the same one has the same
    score whatever was scored before. It runs on the CPU, with one thread.
    """

    def __init__(self, known: Known) -> None:
        super().__init__(known)
        self._evaluator: Any = self  # none that a space has
        self._scores: dict[str, float | None] = {}

    def check(self, model_space: ExecutableModelSpace) -> None:
        """Raises ConfigError unless there is labelled data, and the space's default network has proxies on it."""
        evaluator = getattr(model_space, "evaluator", None)
        if self._evaluator is not evaluator:
            self._images, self._labels = self._batch(evaluator)
            self._evaluator, self._scores = evaluator, {}
        try:
            self._compute(model_space.robust_default())
        except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, PrivacyError) as error:
            reason = " ".join(str(error).split())[:200]
            kind = "" if isinstance(error, PrivacyError) else f"{type(error).__name__}: "
            name = space_name(unwrap_space(model_space))
            raise ConfigError(f"filter.by: {self.known.name}; not of the networks of {name}: {kind}{reason}") from None

    def _batch(self, evaluator: Any) -> tuple[Tensor, Tensor]:
        """Normalised images (n, C, h, w) and labels (n,)."""
        if self.known.data is not None:
            images, labels = self.known.data
        elif hasattr(evaluator, "load_data"):
            data, split = evaluator.load_data()
            images, labels = data.images[split.target_train], data.labels[split.target_train]
        else:
            raise ConfigError(
                f"filter.by: {self.known.name}; a {type(evaluator).__name__} does not say which records to take it on; "
                "give data=(images, labels)"
            )
        if len(images) != len(labels) or len(labels) < LEAST_IMAGES:
            raise ConfigError(
                f"data: {len(images)} images and {len(labels)} labels; allowed are {LEAST_IMAGES} or more"
            )
        return prepare_batch(images[:RECORDS], Normalizer.fit(images)), labels[:RECORDS]

    def of_model(self, model: ExecutableModelSpace) -> float | None:
        """The proxy of a frozen model; None if its network does not have it."""
        key = sample_key(model.sample)
        # NNI's grid search goes on changing the sample of a raw model.
        if key not in self._scores or not isinstance(model, SimplifiedModelSpace):
            try:
                self._scores[key] = self._compute(model)
            except AuditError:  # a network without weights: data and default network were fine
                self._scores[key] = None
        return self._scores[key]

    def _compute(self, model: ExecutableModelSpace) -> float | None:
        name, seed = self.known.name, derived_seed(self.known.seed, "zero-cost", sample_key(model.sample)) % _SEEDS
        with isolated():
            seed_everything(seed)
            network = model.executable_model()
            return zero_cost_proxies(network, self._images, self._labels, names=(name,), seed=seed).get(name)


_SCORERS: Mapping[str, type[Scorer]] = {kind.__name__: kind for kind in (PredictedScore, CostScore, ZeroCostScore)}


def scorer_of(known: Known) -> Scorer:
    """The scorer of a score.

    Raises:
        DataError: if it needs a file that cannot be read.
    """
    return _SCORERS[SCORES[known.name].scorer](known)


def quantile_bound(scores: npt.NDArray[np.float64], share: float) -> float:
    """The bound that about this share of the scores are below.

    It is numpy's quantile, or the next number above it, so that scores equal to it are below, too: where so many are
    equal that this comes nearer to the share, and where nothing would be below otherwise.

    Args:
        scores: ``(n,)``, NaN for what has none and is never below; at least two different numbers.
        share: above 0, below 1.
    """
    known = scores[~np.isnan(scores)]
    bound = float(np.quantile(known, min(1.0, share * (len(scores) / len(known)))))
    beyond = float(np.nextafter(bound, np.inf))
    off, off_beyond = (abs(float(np.sum(known < one)) - share * len(scores)) for one in (bound, beyond))
    return beyond if off_beyond < off or not np.any(known < bound) else bound
