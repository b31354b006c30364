"""Access to the space that NNI hands to a one-shot strategy, and its supernets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nni.mutable import Categorical, CategoricalMultiple
from nni.nas.space import ExecutableModelSpace, RawFormatModelSpace, SimplifiedModelSpace

from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.hub import space_name
from nni_privacy.search_spaces.space import SIZES
from nni_privacy.search_spaces.supernet import Supernet
from nni_privacy.training.fit import seed_everything

__all__ = ["Searchable", "open_space"]

MOST_SETS = 256
"""Sets of inputs that one choice may have: each is a candidate with a weight of its own."""


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
            partial: the candidates of an edge see one in so many channels. Spaces of NNI's own choices have candidates
                of their own making: there they always see all.
            candidates: for some decisions, the names of what is left of their candidates.
            **sizes: of the network, other than the space's; only for our own spaces, others are as they are.

        Raises:
            ConfigError: if the space cannot become a supernet.
        """
        seed_everything(seed)
        if self.own:
            arguments = {**self.arguments, **sizes}
            return self.space.supernet(self.choices, **arguments, partial=partial, candidates=candidates)
        from nni_privacy.search_spaces.nni_supernet import build_nni_supernet  # NNI's supernets import Lightning

        space = self.space(*self.positional, **self.arguments)
        return build_nni_supernet(space, self.choices, candidates=candidates)


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
    # Plain strings: NNI's labels of layers are of a class of its own, which checkpoints must not hold.
    values = {
        str(label): _values(choice, f"choice {str(label)!r} of {space_name(model.trace_symbol)}")
        for label, choice in choices.items()
    }
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


def _values(choice: Any, place: str) -> tuple[Any, ...]:
    """What a choice may be, as samples write it: of several inputs, every set of them as a list."""
    if isinstance(choice, Categorical):
        return tuple(choice.values)
    if not isinstance(choice, CategoricalMultiple):
        raise ConfigError(f"{place} is a {type(choice).__name__}; one-shot search takes choices among finitely many")
    total = len(choice.values)
    sizes = range(1, total + 1) if choice.n_chosen is None else (choice.n_chosen,)
    if sum(math.comb(total, size) for size in sizes) > MOST_SETS:
        raise ConfigError(f"{place} has more than {MOST_SETS} sets of inputs; one-shot search keeps a weight of each")
    return tuple(list(chosen) for size in sizes for chosen in itertools.combinations(choice.values, size))
