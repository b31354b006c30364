"""What a surrogate says of NNI's models: the architecture is read off the sample, and no network is built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nni.mutable import Categorical
from nni.nas.space import ExecutableModelSpace

from nni_privacy.cells import Genotype
from nni_privacy.errors import ConfigError, GenotypeError
from nni_privacy.predicted_search import PredictedArchitecture
from nni_privacy.search_spaces.users_space import users_space
from nni_privacy.surrogate import load_surrogate
from nni_privacy.surrogate.base import Floats

__all__ = ["ModelPredictor"]


class ModelPredictor:
    """Predicts the AUC of frozen models of the DARTS space.

    Args:
        surrogate: file of a fitted surrogate; by default the one that ships.

    Raises:
        DataError: if the file is missing or is no such file.
    """

    def __init__(self, surrogate: str | Path | None = None) -> None:
        self._surrogate = load_surrogate(surrogate)

    def check(self, model_space: ExecutableModelSpace) -> None:
        """Raises ConfigError unless the surrogate can predict the architectures of ``model_space``."""
        choices = model_space.simplify()
        sample = {label: choice.default() for label, choice in choices.items() if isinstance(choice, Categorical)}
        genotype_of = getattr(users_space(model_space), "genotype_of", None)
        genotype = genotype_of(sample) if genotype_of is not None else None
        if not isinstance(genotype, Genotype):
            name = getattr(users_space(model_space), "__name__", "this space")
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
        genotype_of = getattr(users_space(model), "genotype_of", None)
        return self.of_genotype(genotype_of(model.sample) if genotype_of is not None else None)

    def of_genotype(self, genotype: object) -> PredictedArchitecture:
        """What is predicted of an architecture.

        Raises:
            GenotypeError: if it is none of the DARTS space, or has another number of nodes than those that the
                surrogate learned from.
        """
        if not isinstance(genotype, Genotype):
            raise GenotypeError("surrogates know architectures of the DARTS space only")
        mean, sd = self._surrogate.predict_with_uncertainty([genotype])
        return PredictedArchitecture(genotype, float(mean[0]), float(sd[0]))

    def predict(self, genotypes: Sequence[Genotype]) -> Floats:
        """(n,) predicted AUC of n architectures.

        Raises:
            GenotypeError: if the surrogate cannot predict them.
        """
        return self._surrogate.predict(genotypes)
