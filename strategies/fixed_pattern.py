"""Search with the first edges of a pattern fixed, whatever the strategy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nni.mutable import Mutable, MutableDict
from nni.nas.execution import ExecutionEngine
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import BaseModelSpace, ExecutableModelSpace, RawFormatModelSpace, SimplifiedModelSpace
from nni.nas.strategy import Strategy

from nni_privacy.errors import PatternError
from nni_privacy.patterns import Pattern, load_pattern
from nni_privacy.search_spaces.constraints import FixedEdges
from nni_privacy.search_spaces.hub import pattern_rules, space_name

__all__ = ["FixedPattern"]


class FixedPattern(Strategy):
    """Lets ``strategy`` search with the first ``budget`` edges of ``pattern`` fixed.

    Every architecture that the inner strategy proposes has these edges; all others are searched. It narrows the
    choices of the nodes concerned before the inner strategy sees the space, so nothing is proposed and thrown away,
    labels and keys of the samples stay as they are, and trials build the unmodified space.

    Which edges are fixed is the space's affair: DARTS fixes those of the pattern, NasBench201 the pattern's operation
    between the cell's input and its first nodes. The same holds for the spaces of
    ``nni.nas.hub.pytorch`` that are made of such cells: DARTS, ENAS, NASNet, AmoebaNet, PNAS and NasBench201.

    Works around any strategy that searches a simplified or raw space, NNI's ``Random``, ``RegularizedEvolution``,
    ``TPE`` and ``GridSearch`` among them, in :class:`PrivacyExperiment` and in a plain ``NasExperiment``.

    Args:
        strategy: the strategy that searches what the pattern leaves free.
        pattern: a pattern, or the name or path of one (see :func:`nni_privacy.load_pattern`).
        budget: the number m of edges to fix, in each cell that the pattern is for; 0 leaves the search unconstrained.

    Raises:
        PatternError: if the pattern is unknown or has fewer edges than ``budget``; at the start of the search, if the
            space takes no patterns, none of the fixed edges fits it, or it cannot tell what the pattern means there.

    Attributes:
        fixed: the fixed edges; those of the DARTS space until :meth:`fit_to` or the start of the search.
    """

    def __init__(self, strategy: Strategy, pattern: Pattern | str, *, budget: int = 4) -> None:
        super().__init__()
        self.strategy = strategy
        self.pattern = (load_pattern(pattern) if isinstance(pattern, str) else pattern).first(budget)
        self.budget = budget
        self.fixed = FixedEdges.of(self.pattern)

    def fit_to(self, model_space: ModelSpace) -> FixedEdges:
        """The edges that a search of ``model_space`` fixes; what a search finds out when it starts, before it.

        Raises:
            PatternError: as at the start of the search.
        """
        self.fixed, _ = _constrained_choices(type(model_space), model_space.simplify(), self.pattern)
        return self.fixed

    def extra_repr(self) -> str:
        """For ``repr``."""
        return f"{self.strategy!r}, pattern={self.pattern.name!r}, budget={self.budget}"

    def searched_space(self) -> dict[str, Mutable]:
        """Label to choice of the space that is searched, the fixed edges taken out; valid once initialised."""
        return self.strategy.model_space.simplify()

    def check(self, model_space: ExecutableModelSpace) -> None:
        """Raises what the search would raise at its start, if anything; changes and writes nothing.

        Raises:
            PatternError: as at the start of the search.
            ConfigError: if the inner strategy cannot search what the pattern leaves.
        """
        _, constrained = self._constrained(model_space)
        check = getattr(self.strategy, "check", None)
        if check is not None:
            check(constrained)

    def _initialize(self, model_space: ExecutableModelSpace, engine: ExecutionEngine) -> ExecutableModelSpace:
        self.fixed, constrained = self._constrained(model_space)
        return self.strategy.initialize(constrained, engine)

    def _constrained(self, model_space: ExecutableModelSpace) -> tuple[FixedEdges, ExecutableModelSpace]:
        if isinstance(model_space, SimplifiedModelSpace):
            choices, inner = dict(model_space.mutables), model_space.model
            fixed, choices = _constrained_choices(inner.trace_symbol, choices, self.pattern)
            return fixed, type(model_space)(inner, choices, model_space.evaluator)
        if isinstance(model_space, RawFormatModelSpace):
            raw = model_space.model_space
            fixed, choices = _constrained_choices(type(raw), raw.simplify(), self.pattern)
            return fixed, _ConstrainedRawSpace(_ConstrainedView(raw, choices), model_space.evaluator)
        raise PatternError(
            f"cannot constrain a {type(model_space).__name__}; use NNI's model format 'simplified' or 'raw'"
        )

    def _run(self) -> None:
        self.strategy.run()

    def list_models(self, sort: bool = True, limit: int | None = None) -> Iterator[ExecutableModelSpace]:
        """The models of the inner strategy."""
        return self.strategy.list_models(sort=sort, limit=limit)

    def state_dict(self) -> dict[str, Any]:
        """The state of the inner strategy, and what is fixed."""
        return {"fixed": self.fixed.as_lists(), "strategy": self.strategy.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the inner strategy.

        Raises:
            PatternError: if the state is of a search with other edges fixed.
        """
        if state_dict["fixed"] != self.fixed.as_lists():
            raise PatternError(
                f"the checkpoint is of a search that fixed {state_dict['fixed']}; "
                f"this one fixes {self.fixed.as_lists()}"
            )
        self.strategy.load_state_dict(state_dict["strategy"])


def _constrained_choices(
    space: Any, choices: Mapping[str, Mutable], pattern: Pattern
) -> tuple[FixedEdges, dict[str, Mutable]]:
    """What ``pattern`` fixes in the space of this class, and the choices that it leaves."""
    rules = pattern_rules(space)
    # A space of a user's own whose cells are those of DARTS needs ``constrain`` only.
    fixed: FixedEdges = getattr(rules, "fixed_edges", FixedEdges.of)(pattern)
    if not len(fixed):
        return fixed, dict(choices)
    if rules is None:
        raise PatternError(
            f"the space {space_name(space)} takes no cell patterns; DARTS and NasBench201 of nni_privacy.search_spaces "
            "do, and DARTS, ENAS, NASNet, AmoebaNet, PNAS and NasBench201 of nni.nas.hub.pytorch"
        )
    constrained = rules.constrain(choices, fixed)
    if all(constrained[label] is choices[label] for label in choices):
        raise PatternError("none of the pattern's edges fits the space: it has too few intermediate nodes")
    return fixed, constrained


class _ConstrainedRawSpace(RawFormatModelSpace):
    """A raw space that keeps its own copy of each sample: NNI's grid search goes on changing the dict it hands over."""

    def freeze(self, sample: dict[str, Any]) -> RawFormatModelSpace:
        return super().freeze(dict(sample))


class _ConstrainedView(BaseModelSpace):
    """A model space seen through narrowed choices; what it builds is the original's."""

    def __init__(self, space: ModelSpace, choices: Mapping[str, Mutable]) -> None:
        self.space = space
        self.choices = MutableDict(dict(choices))

    def leaf_mutables(self, is_leaf: Callable[[Mutable], bool]) -> Iterator[Mutable]:
        yield from self.choices.leaf_mutables(is_leaf)

    def check_contains(self, sample: dict[str, Any]) -> Exception | None:
        return self.choices.check_contains(sample)

    def freeze(self, sample: dict[str, Any]) -> Any:
        return self.space.freeze(sample)
