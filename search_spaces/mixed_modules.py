"""What NNI's choices become in a supernet: every candidate is in place, and the gates of their labels say what runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from nni.mutable import MutableExpression
from nni.nas.nn.pytorch import Cell, InputChoice, Repeat
from nni.nas.nn.pytorch.cell import create_cell_op_candidates, preprocess_cell_inputs
from nni.nas.nn.pytorch.choice import ChosenInputs
from nni.nas.oneshot.pytorch.supermodule.operation import MixedOperationSamplingPolicy
from torch import Tensor, cat, nn

from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.supernet import Decision, FlatLayout, Switchboard

__all__ = ["MixedCell", "MixedInput", "MixedLayer", "MixedRepeat", "Shapes", "Standings"]

Standing = list[tuple[Any, Tensor | None]]
"""Values of a choice that run now, and what each is multiplied by; ``None``: by one."""


class Standings:
    """How the choices of a space stand during a forward pass.

    Args:
        layout: the space's.
        switchboard: of the supernet.
    """

    def __init__(self, layout: FlatLayout, switchboard: Switchboard) -> None:
        self.layout, self.switchboard = layout, switchboard
        self.decisions = {decision.key: decision for decision in layout.decisions}
        named = {label: {str(value): value for value in values} for label, values in layout.choices.items()}
        self._values = {
            key: [named[key][name] for name in decision.candidates] for key, decision in self.decisions.items()
        }

    def values(self, label: str) -> Sequence[Any]:
        """The values that a choice can have in this supernet."""
        return self._values[label] if label in self._values else self.layout.choices[label][:1]

    def of(self, label: str) -> Standing:
        """The values of a choice that run now, with their weights, the gate's scale included.

        Raises:
            ConfigError: if its gate lets no candidate run.
        """
        if label not in self._values:
            return [(self.layout.choices[label][0], None)]
        values, gate = self._values[label], self.switchboard.gates[label]
        active = range(len(values)) if gate.active is None else gate.active
        if not len(active):
            raise ConfigError(f"choice {label!r}: its gate lets no candidate run")
        weights = [None if gate.weights is None else gate.weights[index] for index in active]
        if gate.scale is not None:
            weights = [gate.scale if weight is None else weight * gate.scale for weight in weights]
        return [(values[index], weight) for index, weight in zip(active, weights, strict=True)]


class MixedLayer(nn.Module):
    """The candidates of a ``LayerChoice``, all in place; the gate of its label says which run.

    Args:
        layers: name to candidate.
        decision: the choice; ``None`` where only one candidate is left.
        switchboard: of the supernet.
    """

    def __init__(self, layers: Mapping[str, nn.Module], decision: Decision | None, switchboard: Switchboard) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.decision = decision
        self._switchboard = switchboard

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        """What the candidates return, weighted and summed; they take the same inputs and return equal shapes."""
        if self.decision is None:
            (layer,) = self.layers.values()
            return layer(*inputs, **options)
        gate = self._switchboard.gates[self.decision.key]
        output = gate.mix(self.decision.candidates, lambda name: self.layers[name](*inputs, **options))
        if output is None:
            raise ConfigError(f"choice {self.decision.key!r}: its gate lets no candidate run")
        return gate.scaled(output)


class MixedInput(nn.Module):
    """An ``InputChoice``: the weighted sum of what each set of inputs that may be chosen is reduced to.

    Args:
        choice: what it replaces.
        standings: of the space's choices.
    """

    def __init__(self, choice: InputChoice, standings: Standings) -> None:
        super().__init__()
        self.label, self.reduction = str(choice.label), choice.reduction
        self._standings = standings
        sizes = {len(chosen) for chosen in standings.values(self.label)}
        if len(sizes) > 1 and self.reduction in ("none", "concat"):
            raise ConfigError(
                f"choice {self.label!r} takes {min(sizes)} to {max(sizes)} inputs with reduction {self.reduction!r}; "
                "one-shot search mixes results of one shape: take 'sum' or 'mean', or a fixed n_chosen"
            )

    def forward(self, inputs: Sequence[Tensor]) -> Any:
        """The candidates, of equal shapes, to one of them or a mixture; with reduction ``none``, lists of these."""
        standing = self._standings.of(self.label)
        reduced = [ChosenInputs(list(chosen), self.reduction)(list(inputs)) for chosen, _ in standing]
        return weighted(reduced, [weight for _, weight in standing])


class MixedCell(nn.Module):
    """A ``Cell`` whose candidates depend on where their input comes from: every operation on every edge.

    The slots of a node share the operations of its edges. All nodes are concatenated, as NNI builds the space itself:
    which of them nobody reads (``loose_end``) depends on the architecture.

    Args:
        cell: what it replaces.
        standings: of the space's choices.
    """

    def __init__(self, cell: Cell, standings: Standings) -> None:
        super().__init__()
        self.preprocessor, self.postprocessor = cell.preprocessor, cell.postprocessor
        self.predecessors, self.dimension = cell.num_predecessors, cell.concat_dim
        self._standings = standings
        self.slots: list[list[tuple[str, str]]] = []
        self.nodes = nn.ModuleList()
        for node in range(cell.num_predecessors, cell.num_predecessors + cell.num_nodes):
            self.slots.append(
                [(f"{cell.label}/input_{node}_{slot}", f"{cell.label}/op_{node}_{slot}")
                 for slot in range(cell.num_ops_per_node)]
            )  # fmt: skip
            used: dict[int, set[str]] = {}
            for sources, operation in self.slots[-1]:
                for source in standings.values(sources):
                    used.setdefault(source[0], set()).update(map(str, standings.values(operation)))
            edges = {}
            for source, names in sorted(used.items()):
                # The number of the slot is always 0: the operations are shared by all.
                with cell.label_scope:  # choices inside are called as NNI calls them
                    made, _ = create_cell_op_candidates(cell.op_candidates_factory, node, 0, source)
                if not isinstance(made, dict):
                    made = dict(enumerate(made))
                edges[str(source)] = nn.ModuleDict({str(name): made[name] for name in made if str(name) in names})
            self.nodes.append(nn.ModuleDict(edges))

    def forward(self, *inputs: Any) -> Any:
        """What ``Cell`` computes, with every slot's input and operation mixed."""
        given = preprocess_cell_inputs(self.predecessors, *inputs)
        states: list[Tensor] = list(self.preprocessor(given))
        for slots, edges in zip(self.slots, self.nodes, strict=True):
            totals: dict[tuple[int, str], Tensor | float] = {}
            for sources, operation in slots:
                for source, first in self._standings.of(sources):
                    for name, second in self._standings.of(operation):
                        weight = _product([first, second])
                        key = (source[0], str(name))
                        totals[key] = totals.get(key, 0.0) + (1.0 if weight is None else weight)
            found: Any = edges  # by source, then by operation
            terms = [found[str(source)][name](states[source]) * weight for (source, name), weight in totals.items()]
            states.append(weighted(terms, [None] * len(terms)))
        return self.postprocessor(cat(states[self.predecessors :], self.dimension), given)


class MixedRepeat(nn.Module):
    """A ``Repeat`` of mutable depth: the weighted sum of what comes out at each depth.

    Args:
        repeat: what it replaces.
        shapes: gives the depths that run and their weights.
    """

    def __init__(self, repeat: Repeat, shapes: Shapes) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(repeat.blocks)
        self.depth: Any = repeat.depth_choice
        # A stage of NNI's hub says how the state before its first cell gets the shape of the states after it.
        first = getattr(repeat, "first_cell_transformation_factory", lambda: None)()
        self.first_cell = nn.Identity() if first is None else first
        self.aligns = first is not None
        self._shapes = shapes

    def forward(self, x: Any) -> Any:
        """What the blocks before each depth make of ``x``, of equal shapes, mixed."""
        found = self._shapes.distribution(self.depth)
        depths: Mapping[int, Any] = found if isinstance(found, dict) else {found: None}
        outputs, weights = ([x], [depths[0]]) if 0 in depths else ([], [])
        for depth, block in enumerate(self.blocks[: max(depths)], start=1):
            x = block(x)
            if depth in depths:
                aligned = self.aligns and depth == 1 and len(self.blocks) > 1
                outputs.append((self.first_cell(x[0]), *x[1:]) if aligned else x)
                weights.append(depths[depth])
        return weighted(outputs, weights)


class Shapes(MixedOperationSamplingPolicy):
    """What NNI's layers of mutable shape ask for: the value of an argument, or its values with their weights.

    A mixture of widths is a layer of the largest one whose channels are faded by the weights of the widths that have
    them; kernels are the inner part of the largest. Without weights the values that run count alike.

    Args:
        standings: of the space's choices.
    """

    def __init__(self, standings: Standings) -> None:
        self._standings = standings
        self._known: dict[Any, Any] = {}

    def forward_argument(self, operation: Any, name: str) -> Any:
        """The argument as it stands: a value, or a mapping of values to weights."""
        expression = operation.mutable_arguments.get(name)
        return operation.init_arguments[name] if expression is None else self.distribution(expression)

    def distribution(self, expression: MutableExpression[Any]) -> Any:
        """The one value of an expression that runs, or its values to their weights."""
        labels = [str(label) for label in expression.simplify()]
        result: dict[Any, Any] = {}
        combinations = list(itertools.product(*(self._standings.of(label) for label in labels)))
        for combination in combinations:
            value = self._frozen(expression, labels, tuple(value for value, _ in combination))
            weight = _product([weight for _, weight in combination])
            if len(combinations) == 1 and weight is None:
                return value
            result[value] = result.get(value, 0.0) + (1.0 / len(combinations) if weight is None else weight)
        return dict(sorted(result.items()))

    def _frozen(self, expression: MutableExpression[Any], labels: list[str], values: tuple[Any, ...]) -> Any:
        key = (id(expression), values)
        if key not in self._known:
            self._known[key] = expression.freeze(dict(zip(labels, values, strict=True)))
        return self._known[key]


def weighted(items: Sequence[Any], weights: Sequence[Tensor | None]) -> Any:
    """The weighted sum of tensors, or of tuples and lists of tensors, part by part."""
    if isinstance(items[0], list | tuple):
        return [weighted([item[part] for item in items], weights) for part in range(len(items[0]))]
    terms = [item if weight is None else item * weight for item, weight in zip(items, weights, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _product(weights: Sequence[Tensor | None]) -> Tensor | None:
    product: Tensor | None = None
    for weight in weights:
        product = weight if product is None else product if weight is None else product * weight
    return product
