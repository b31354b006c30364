"""An NNI evaluator that trains nothing: it reports the AUC that a surrogate predicts.

The architecture is read off the sample of NNI's model, and no network is built.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nni
from nni.mutable import Categorical
from nni.nas.evaluator import Evaluator
from nni.nas.space import ExecutableModelSpace

from nni_privacy.cells.darts import Genotype
from nni_privacy.errors import ConfigError, GenotypeError
from nni_privacy.search_spaces.space import size_of, unwrap_space
from nni_privacy.surrogate import load_surrogate
from nni_privacy.surrogate.search import PredictedArchitecture

__all__ = ["ModelPredictor", "PredictedEvaluator"]


class ModelPredictor:
    """Predicts the AUC of frozen models of the DARTS space.

    Args:
        surrogate: file of a fitted surrogate; by default the one that ships.

    Raises:
        DataError: if the file is missing or is no such file.
    """

    def __init__(self, surrogate: str | Path | None = None) -> None:
        self.surrogate = load_surrogate(surrogate)

    def check(self, model_space: ExecutableModelSpace) -> None:
        """Raises ConfigError unless the surrogate can predict the architectures of ``model_space``."""
        choices = model_space.simplify()
        sample = {label: choice.default() for label, choice in choices.items() if isinstance(choice, Categorical)}
        genotype_of = getattr(unwrap_space(model_space), "genotype_of", None)
        genotype = genotype_of(sample) if genotype_of is not None else None
        if not isinstance(genotype, Genotype):
            name = getattr(unwrap_space(model_space), "__name__", "this space")
            raise ConfigError(
                f"search_space: a surrogate predicts architectures of the DARTS space only, not of {name}"
            )
        try:
            self.of_genotype(genotype)
        except GenotypeError as error:
            raise ConfigError(f"search_space: {error}") from None

    def of_model(self, model: ExecutableModelSpace) -> PredictedArchitecture:
        """What is predicted of a frozen model.

        Raises:
            GenotypeError: if the surrogate cannot predict it.
        """
        genotype_of = getattr(unwrap_space(model), "genotype_of", None)
        return self.of_genotype(genotype_of(model.sample) if genotype_of is not None else None)

    def of_genotype(self, genotype: object) -> PredictedArchitecture:
        """What is predicted of an architecture.

        Raises:
            GenotypeError: if it is none of the DARTS space, or has another number of nodes than those that the
                surrogate learned from.
        """
        if not isinstance(genotype, Genotype):
            raise GenotypeError("surrogates know architectures of the DARTS space only")
        mean, sd = self.surrogate.predict_with_uncertainty([genotype])
        return PredictedArchitecture(genotype, float(mean[0]), float(sd[0]))


class PredictedEvaluator(Evaluator):
    """Predicts the AUC of an architecture of the DARTS space instead of measuring it; a few milliseconds each.

    Reports to NNI ``predicted_mia_auc`` and ``predicted_mia_auc_sd`` (the standard deviation of what one training run
    would measure), ``seconds``, ``architecture``, and as ``default``, which strategies maximise, minus the predicted
    AUC. None of them is a measurement, and none is called ``mia_auc``. The accuracy is not predicted.

    The network is not built, and no data is read. Works with any strategy that proposes architectures, in
    :class:`PrivacyExperiment` and in a plain ``NasExperiment``.

    Args:
        surrogate: file of a fitted surrogate, which trials read too; by default the one that ships, for cells with four
            intermediate nodes.

    Raises:
        DataError: if the file is missing or is no such file.
    """

    def __init__(self, surrogate: str | Path | None = None) -> None:
        # Trials run in folders of their own.
        self.surrogate = None if surrogate is None else str(Path(surrogate).absolute())
        self._predictor = ModelPredictor(self.surrogate)

    def extra_repr(self) -> str:
        """For ``repr``."""
        return f"surrogate={self.surrogate!r}"

    def check_space(self, model_space: ExecutableModelSpace) -> None:
        """Raises ConfigError unless the architectures of ``model_space`` can be predicted; a search asks first."""
        self._predictor.check(model_space)

    def evaluate(self, model: Any) -> dict[str, Any]:
        """Predicts ``model``, and reports to NNI.

        Args:
            model: has a ``genotype``; nothing else of it is looked at.

        Returns:
            The final metrics, as reported.

        Raises:
            GenotypeError: if the surrogate cannot predict it.
        """
        started = time.perf_counter()
        predicted = self._predictor.of_genotype(getattr(model, "genotype", None))
        return _report(predicted, started, getattr(model, "factors", {}))

    def _execute(self, model: Any) -> Any:
        started = time.perf_counter()
        return _report(self._predictor.of_model(model), started, size_of(model))

    def _dump(self) -> dict[str, Any]:
        return {"surrogate": self.surrogate}

    @classmethod
    def _load(cls, **state: Any) -> PredictedEvaluator:
        return cls(**state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PredictedEvaluator) and self._dump() == other._dump()

    def __hash__(self) -> int:
        return hash(json.dumps(self._dump(), sort_keys=True))


def _report(predicted: PredictedArchitecture, started: float, size: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {
        "default": -predicted.predicted_mia_auc,
        "predicted_mia_auc": predicted.predicted_mia_auc,
        "predicted_mia_auc_sd": predicted.predicted_sd,
        "seconds": round(time.perf_counter() - started, 4),
        "architecture": str(predicted.genotype),
        **({"factors": json.dumps(size, sort_keys=True)} if size else {}),
    }
    nni.report_final_result(metrics)
    return metrics
