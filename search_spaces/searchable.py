"""Access to the space that NNI hands to a one-shot strategy, and its supernets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nni.mutable import Categorical
from nni.nas.space import ExecutableModelSpace, RawFormatModelSpace, SimplifiedModelSpace

from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.layer_choice_supernet import build_layer_choice_supernet
from nni_privacy.search_spaces.space import SIZES
from nni_privacy.search_spaces.supernet import Supernet
from nni_privacy.training.fit import seed_everything

__all__ = ["Searchable", "open_space"]


@dataclass(frozen=True)
class Searchable:
    """A (constrained) model space and how to build supernets of it.

    Attributes:
        space: the class of the model space.
        arguments: keyword arguments that build it.
        positional: positional arguments that build it (spaces of a user's own).
        choices: label to the values that are left to choose, single values included; no sizes.
        sizes: where the size is searched, the largest one: the cell is searched there. Every sample has to name it.
    """

    space: type[Any]
    arguments: Mapping[str, Any]
    positional: tuple[Any, ...]
    choices: Mapping[str, tuple[Any, ...]]
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def own(self) -> bool:
        """Whether it is one of our spaces, whose supernets come in any size."""
        return hasattr(self.space, "supernet")

    def supernet(
        self, *, seed: int, partial: int = 1, candidates: Mapping[str, Sequence[str]] | None = None, **sizes: int
    ) -> Supernet:
        """A fresh supernet.

        Args:
            seed: of its initial weights; the global generators are seeded with it.
            partial: the candidates of an edge see one in so many channels. Spaces of LayerChoice have candidates of
                their own making: there they always see all.
            candidates: for some decisions, the names of what is left of their candidates.
            **sizes: of the network, other than the space's; only for our own spaces, others are as they are.

        Raises:
            ConfigError: if the space cannot become a supernet.
        """
        seed_everything(seed)
        if self.own:
            arguments = {**self.arguments, **sizes}
            return self.space.supernet(self.choices, **arguments, partial=partial, candidates=candidates)
        space = self.space(*self.positional, **self.arguments)
        return build_layer_choice_supernet(space, self.choices, candidates=candidates)


def open_space(model_space: ExecutableModelSpace) -> Searchable:
    """The (constrained) space inside an NNI model space of the simplified or raw format.

    Raises:
        ConfigError: if it has a choice that is not between plain values, nothing is left to choose, or its choices were
            narrowed in a way that a supernet cannot follow.
    """
    choices: dict[str, Any]
    if isinstance(model_space, SimplifiedModelSpace):
        model, choices = model_space.model, dict(model_space.mutables)
    elif isinstance(model_space, RawFormatModelSpace):
        view = model_space.model_space
        model, choices = getattr(view, "space", view), dict(view.simplify())
    else:
        raise ConfigError(
            f"one-shot search cannot open a {type(model_space).__name__}; use NNI's model format 'simplified' or 'raw'"
        )
    for label, choice in choices.items():
        if not isinstance(choice, Categorical):
            raise ConfigError(f"choice {label!r} is a {type(choice).__name__}; one-shot search takes plain choices")
    # Plain strings: NNI's labels of layers are of a class of its own, which checkpoints must not hold.
    values = {str(label): tuple(choice.values) for label, choice in choices.items()}
    arguments = dict(model.trace_kwargs)
    sizes: dict[str, int] = {}
    if any(isinstance(arguments.get(label), list | tuple) for label in SIZES):
        sizes = {label: max(values.pop(label)) for label in SIZES}
        arguments |= sizes
    if all(len(allowed) == 1 for allowed in values.values()):
        raise ConfigError("the space has no choice left to search; give the pattern a smaller budget")
    found = Searchable(model.trace_symbol, arguments, tuple(model.trace_args), values, sizes)
    check = getattr(found.space, "check_supernet", None)
    if check is not None:
        check(values, **found.arguments)
    return found
