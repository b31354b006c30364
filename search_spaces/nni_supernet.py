"""Any NNI model space of layers, inputs, cells, depths and shapes to choose from, as a supernet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nni.mutable import Mutable, frozen_context
from nni.nas.nn.pytorch import Cell, InputChoice, LayerChoice, ModelSpace, MutableModule, ParametrizedModule, Repeat
from nni.nas.oneshot.pytorch.supermodule.operation import NATIVE_MIXED_OPERATIONS
from torch import Tensor, nn

from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces.hub import space_name
from nni_privacy.search_spaces.mixed_modules import MixedCell, MixedInput, MixedLayer, MixedRepeat, Shapes, Standings
from nni_privacy.search_spaces.supernet import FlatLayout, Supernet, Switchboard

__all__ = ["build_nni_supernet"]


def build_nni_supernet(
    space: ModelSpace, choices: Mapping[str, Sequence[Any]], *, candidates: Mapping[str, Sequence[str]] | None = None
) -> Supernet:
    """Turns ``space`` into a supernet, in place.

    Its layers keep their own kind of normalisation. Candidates that are not left are taken out.

    Args:
        space: a fresh, unfrozen model space of ``LayerChoice``, ``InputChoice``, ``Cell``, ``Repeat`` and NNI's layers
            of mutable shape, which may stand inside each other.
        choices: label to the values that are left; of an ``InputChoice``, sets of inputs as lists.
        candidates: for some choices, the names of what is left of their candidates.

    Raises:
        ConfigError: if the space has other choices, or candidates of one label differ between places.
    """
    layout, switchboard = FlatLayout(choices, candidates=candidates), Switchboard()
    builder = _Builder(Standings(layout, switchboard), space_name(type(space)))
    with frozen_context({label: values[0] for label, values in choices.items()}):  # what NNI builds layers within
        network = builder.converted(space)
    builder.check(choices, network)
    return Supernet(_Plain(network), layout, switchboard)


class _Builder:
    """Replaces what chooses, from the outside to the inside.

    Args:
        standings: of the space's choices.
        name: of the space, for messages.
    """

    def __init__(self, standings: Standings, name: str) -> None:
        self.standings, self.name = standings, name
        self.shapes = Shapes(standings)
        self.placed: set[str] = set()
        self._known: dict[int, tuple[nn.Module, nn.Module]] = {}

    def converted(self, module: nn.Module) -> nn.Module:
        """``module`` with all choices in it replaced, or what replaces it."""
        if id(module) in self._known:
            return self._known[id(module)][1]
        replaced = self._replaced(module)
        self._known[id(module)] = (module, replaced)  # what stands in two places stays one
        self._known[id(replaced)] = (replaced, replaced)
        for name, child in list(replaced._modules.items()):
            found = child if child is None else self.converted(child)
            if found is not None and found is not child:
                setattr(replaced, name, found)
        return replaced

    def _replaced(self, module: nn.Module) -> nn.Module:
        if isinstance(module, LayerChoice):
            return self._layers(module)
        if isinstance(module, InputChoice):
            self._place(str(module.label))
            return MixedInput(module, self.standings)
        if isinstance(module, Cell) and module.op_candidates_factory is not None:
            cell = MixedCell(module, self.standings)
            for label in [label for slots in cell.slots for pair in slots for label in pair]:
                self._place(label)
            return cell
        if isinstance(module, Repeat) and not isinstance(module.depth_choice, int):
            self._place(*map(str, module.depth_choice.simplify()))
            return MixedRepeat(module, self.shapes)
        if isinstance(module, ParametrizedModule):
            return self._shaped(module)
        return module

    def _layers(self, choice: LayerChoice) -> MixedLayer:
        label = str(choice.label)
        self._place(label)
        decision = self.standings.decisions.get(label)
        names = [str(value) for value in self.standings.values(label)]
        missing = [name for name in names if name not in choice._modules]
        if missing:
            raise ConfigError(f"choice {label!r} of {self.name} has no candidate {missing[0]!r} in one of its places")
        return MixedLayer({name: getattr(choice, name) for name in names}, decision, self.standings.switchboard)

    def _shaped(self, module: ParametrizedModule) -> nn.Module:
        """NNI's own layer that computes with a part of its weights, in place of one of mutable shape."""
        labels = [str(label) for label in module.simplify()]
        kind = next((mixed for mixed in NATIVE_MIXED_OPERATIONS if isinstance(module, mixed.bound_type)), None)
        if not labels or kind is None:
            return module
        self._place(*labels)
        given = module.trace_kwargs
        if given.get("padding_mode", "zeros") != "zeros" and isinstance(given.get("kernel_size"), Mutable):
            raise ConfigError(
                f"choice {labels[0]!r} of {self.name}: a kernel that is chosen is the middle of the largest one, which "
                f"padding_mode {given['padding_mode']!r} makes another network; allowed is 'zeros'"
            )
        try:
            layer = kind(dict(module.trace_kwargs))
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ConfigError(f"choice {labels[0]!r} of {self.name}: {' '.join(str(error).split())}") from None
        layer.sampling_policy = self.shapes
        return layer

    def _place(self, *labels: str) -> None:
        unknown = [label for label in labels if label not in self.standings.layout.choices]
        if unknown:
            raise ConfigError(f"choice {unknown[0]!r} of {self.name} is not among the choices that NNI found in it")
        self.placed.update(labels)

    def check(self, choices: Mapping[str, Sequence[Any]], network: nn.Module) -> None:
        """Raises ConfigError if a choice has found no place, or a module that is left has choices of its own."""
        for module in network.modules():
            own = module.mutables if isinstance(module, MutableModule) else []
            if own and type(module) not in set(NATIVE_MIXED_OPERATIONS):
                label = str(next(iter(own[0].simplify()), ""))
                raise ConfigError(
                    f"{space_name(type(module))} in the space {self.name} has a choice of its own, {label!r}, that "
                    "stands in none of NNI's layers; one-shot search takes "
                    "LayerChoice, InputChoice, Cell, Repeat, and NNI's MutableLinear, MutableConv2d and the like"
                )
        unplaced = sorted(set(choices) - self.placed)
        if unplaced:
            raise ConfigError(
                f"choice {unplaced[0]!r} of {self.name} stands in no LayerChoice, InputChoice, Cell, Repeat or layer "
                "of mutable shape; one-shot search takes the spaces of nni_privacy and spaces made of these"
            )


class _Plain(nn.Module):
    """A model space as an ordinary module: NNI's own bookkeeping of choices no longer fits what is inside."""

    def __init__(self, space: nn.Module) -> None:
        super().__init__()
        self.space = space

    def forward(self, images: Tensor) -> Tensor:
        return self.space(images)
