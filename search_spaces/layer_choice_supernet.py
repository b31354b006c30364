"""Any NNI model space made of ``LayerChoice`` as a supernet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from torch import Tensor, nn

from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.supernet import Decision, FlatLayout, Supernet, Switchboard

__all__ = ["MixedLayer", "build_layer_choice_supernet"]


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


def build_layer_choice_supernet(
    space: ModelSpace, choices: Mapping[str, Sequence[Any]], *, candidates: Mapping[str, Sequence[str]] | None = None
) -> Supernet:
    """Turns ``space`` into a supernet, in place.

    Its layers keep their own kind of normalisation. Candidates that are not left are taken out.

    Args:
        space: a fresh, unfrozen model space whose only choices are ``LayerChoice``, none of them inside another.
        choices: label to the values that are left.
        candidates: for some choices, the names of what is left of their candidates.

    Raises:
        ConfigError: if the space has other choices, or candidates of one label differ between places.
    """
    layout, switchboard = FlatLayout(choices, candidates=candidates), Switchboard()
    decisions = {decision.key: decision for decision in layout.decisions}
    found: set[str] = set()
    for parent, name, layer in list(_layer_choices(space)):
        label = str(layer.label)
        if label not in choices:
            raise ConfigError(f"choice {label!r} stands inside another choice; one-shot search takes no nested choices")
        decision = decisions.get(label)
        names = decision.candidates if decision is not None else tuple(map(str, choices[label]))
        setattr(parent, name, MixedLayer({key: getattr(layer, key) for key in names}, decision, switchboard))
        found.add(label)
    unknown = sorted(set(choices) - found)
    if unknown:
        raise ConfigError(
            f"choice {unknown[0]!r} of {type(space).__name__} is not a LayerChoice; one-shot search takes the spaces "
            "of nni_privacy and spaces made of LayerChoice"
        )
    return Supernet(_Plain(space), layout, switchboard)


class _Plain(nn.Module):
    """A model space as an ordinary module: NNI's own bookkeeping of choices no longer fits what is inside."""

    def __init__(self, space: ModelSpace) -> None:
        super().__init__()
        self.space = space

    def forward(self, images: Tensor) -> Tensor:
        return self.space(images)


def _layer_choices(module: nn.Module) -> Iterator[tuple[nn.Module, str, LayerChoice]]:
    """Every LayerChoice below ``module`` that is not inside another one, with its parent and name there."""
    for name, child in module.named_children():
        if isinstance(child, LayerChoice):
            if any(isinstance(part, LayerChoice) for part in child.modules() if part is not child):
                raise ConfigError(f"choice {child.label!r} holds another choice; one-shot search takes no nested ones")
            yield module, name, child
        else:
            yield from _layer_choices(child)
