"""Networks traced by torch.fx, as text: constructors of their layers, and the code of their forward pass."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import fx, nn

from nni_privacy.auditing.model_record import ModelRecord
from nni_privacy.errors import ConfigError
from nni_privacy.training.convolutions import DilatedDepthwise

__all__ = ["trace_network"]


def trace_network(network: nn.Module, record: ModelRecord) -> dict[str, Any]:
    """What the template ``traced.py.jinja`` needs.

    Layers of torch itself stay what they are, under their names; all others are looked through.

    Args:
        network: preprocessed images to logits; it is not changed.
        record: says the shape of images, which decides where the network itself looks at it.

    Raises:
        ConfigError: if the network cannot be traced.
    """
    traced = copy.deepcopy(network).cpu().eval()
    tracer = _Tracer(torch.zeros(2, *record.image_shape))
    try:
        graph = tracer.trace(traced)
        code = graph.python_code("self").src
    except Exception as error:  # a user's network may do anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split()):.160}"
        raise ConfigError(f"the network cannot be written as plain torch: torch.fx fails ({reason})") from error
    paths = dict.fromkeys(str(node.target) for node in graph.nodes if node.op == "call_module")
    layers = [(path, _constructor(traced.get_submodule(path))) for path in paths]
    inside = tuple(f"{path}." for path in paths)
    parameters = dict(traced.named_parameters())
    state = {name: value for name, value in traced.state_dict().items() if not name.startswith(inside)}
    return {
        "layers": layers,
        "parameters": [(name, tuple(value.shape)) for name, value in state.items() if name in parameters],
        "buffers": [(name, tuple(value.shape), value.dtype) for name, value in state.items() if name not in parameters],
        "forward": code.strip(),
    }


class _Tracer(fx.Tracer):
    """Looks through all modules but torch's own; where the network asks about a value, an image of zeros decides.

    Args:
        example: images.
    """

    def __init__(self, example: torch.Tensor) -> None:
        super().__init__()
        self._example, self._asking = example, False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a layer is called as it is."""
        return not isinstance(m, nn.Sequential) and _torch_class(m) is not None

    def to_bool(self, obj: fx.Proxy) -> bool:
        """What a condition on a traced value is, for images of the right shape."""
        graph = fx.Graph()
        nodes: dict[fx.Node, fx.Node] = {}
        graph.graph_copy(self.graph, nodes)
        graph.output(nodes[obj.node])
        self._asking = True  # meanwhile layers compute, and their weights are what they are
        try:
            with torch.no_grad():
                return bool(fx.Interpreter(fx.GraphModule(self.root, graph)).run(self._example))
        finally:
            self._asking = False

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """What a layer gives: a traced value."""
        return forward(*args, **kwargs) if self._asking else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """What a layer has under a name: of a weight, a traced value."""
        return attr_val if self._asking else super().getattr(attr, attr_val, parameter_proxy_cache)


def _torch_class(layer: nn.Module) -> type[nn.Module] | None:
    kind = nn.Conv2d if type(layer) is DilatedDepthwise else type(layer)
    return kind if getattr(nn, kind.__name__, None) is kind else None


def _constructor(layer: nn.Module) -> str:
    """The call that makes such a layer, with the arguments that differ from their defaults."""
    kind = _torch_class(layer)
    assert kind is not None  # noqa: S101 - for the type checker: only such layers are called
    words = []
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in ("device", "dtype") or not hasattr(layer, name):
            continue
        value = getattr(layer, name)
        if name == "bias" and not isinstance(value, bool):
            value = value is not None
        value = tuple(value) if isinstance(value, torch.Size) else value
        if parameter.default is inspect.Parameter.empty:
            words.append(repr(value))
        elif value != parameter.default and value != _pair(parameter.default):
            words.append(f"{name}={value!r}")
    return f"nn.{kind.__name__}({', '.join(words)})"


def _pair(value: Any) -> Any:
    """What torch makes of a number for both sides of an image."""
    return (value, value) if isinstance(value, int) else value
