"""Model spaces as NNI knows them: the base class of ours, and the class of a user's own under NNI's wrappers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nni.mutable import Categorical, Sample, SampleValidationError
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import BaseModelSpace, ExecutableModelSpace, current_model, model_context
from torch import Tensor, nn

from nni_privacy.cells.spaces import AnyGenotype
from nni_privacy.errors import GenotypeError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CellSpace", "unwrap_space"]

G = TypeVar("G", bound=AnyGenotype)


# Generic comes first: NNI's __init_subclass__ calls no other. A wrapped __init__ would open a second context of NNI's.
class CellSpace(Generic[G], ModelSpace, disable_init_wrapper=True):  # type: ignore[call-arg]
    """A model space whose samples all are legal genotypes, and whose instances run the network of one of them.

    All choices are plain categoricals, so NNI's TPE and the web UI's hyper-parameter chart work with them. Labels and
    values are those of the genotype's ``to_sample``.

    Maps images (n, in_channels, h, w) to logits (n, K).

    Attributes:
        network: of the genotype; a subclass builds it.
    """

    network: Any

    def chosen(self, choices: Mapping[str, Categorical]) -> Sample:
        """The sample to build: the one that NNI freezes, or the default of ``choices``, which the space then gets."""
        sample: Sample | None = current_model()
        if sample is None:
            for mutable in choices.values():
                self.add_mutable(mutable)
            sample = {label: mutable.default() for label, mutable in choices.items()}
        return sample

    @property
    def genotype(self) -> G:
        """The architecture that this instance runs."""
        return self.network.genotype

    @property
    def classifier(self) -> nn.Linear:
        """The last layer."""
        return self.network.classifier

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features: (n, in_channels, h, w) -> (n, F)."""
        return self.network.features(images)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, in_channels, h, w) -> logits (n, K)."""
        return self.network(images)

    @staticmethod
    def genotype_of(sample: Mapping[str, Any]) -> G:
        """The architecture that ``sample`` stands for; GenotypeError if it is none."""
        raise NotImplementedError

    def check_contains(self, sample: Sample) -> SampleValidationError | None:
        """None if ``sample`` describes an architecture of this space; else what is wrong with it."""
        for mutable in self.mutables:
            error: SampleValidationError | None = mutable.check_contains(sample)
            if error is not None:
                return error
        try:
            self.genotype_of(sample)
        except GenotypeError as fault:
            return SampleValidationError(str(fault))
        return None

    def freeze(self, sample: Sample) -> Self:
        """A fresh network for ``sample``; the space holds no weights worth keeping."""
        self.validate(sample)
        with model_context(sample):
            return type(self)(**self.trace_kwargs)


def unwrap_space(model_space: ExecutableModelSpace) -> Any:
    """The class of the space that the user wrote, under NNI's wrappers; None where it cannot be found."""
    simplified = getattr(getattr(model_space, "model", None), "trace_symbol", None)
    if simplified is not None:
        return simplified
    raw = getattr(model_space, "model_space", None)
    seen_through = getattr(raw, "space", None)  # FixedPattern's view of a raw space
    return type(seen_through if isinstance(seen_through, BaseModelSpace) else raw)
