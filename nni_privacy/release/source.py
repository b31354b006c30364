"""Source of ``model.py``: an exported network as readable code of plain torch, and nothing but what it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import nn

from nni_privacy.auditing.model_record import ModelRecord
from nni_privacy.cells.darts import INPUT_NODES, Cell
from nni_privacy.cells.genotypes import parse_genotype
from nni_privacy.cells.spaces import SPACES
from nni_privacy.release.tracing import trace_network

__all__ = ["model_source", "render_text"]


def model_source(record: ModelRecord, network: nn.Module) -> str:
    """The text of ``model.py``.

    The network of a genotype of our own spaces is written as code that builds it; any other one, a human-designed
    network among them, is traced by ``torch.fx`` and written layer by layer.

    Args:
        record: of the network.
        network: with its weights.

    Raises:
        ConfigError: if it has to be traced and cannot be.
    """
    described = _DESCRIBED.get(getattr(record.architecture, "space", ""))
    template, content = described(record) if described else ("traced.py.jinja", trace_network(network, record))
    return render_text(template, **_common(record), **content)


def render_text(template: str, **content: Any) -> str:
    """A template's text, with one newline at its end."""
    return _environment().get_template(template).render(content).rstrip() + "\n"


@cache
def _environment() -> Environment:
    # Python and Markdown: nothing is HTML here, so nothing is escaped as it.
    environment = Environment(
        loader=PackageLoader("nni_privacy.release"), undefined=StrictUndefined, autoescape=False  # noqa: S701
    )  # fmt: skip
    environment.filters["python"] = repr
    return environment


def _common(record: ModelRecord) -> dict[str, Any]:
    return {
        "title": _title(record),
        "dataset": _inline(record.dataset.get("name", "a data set")),
        "shape": record.image_shape,
        "values": "uint8 0..255" if record.image_type == "uint8" else "float32",
        "number": record.num_classes,
        "classes": record.classes,
        "mean": record.mean,
        "std": record.std,
        "private": record.private and getattr(record.architecture, "space", "") in _DESCRIBED,
        "functional": getattr(record.architecture, "space", "") == "darts",
    }


def _title(record: ModelRecord) -> str:
    architecture = record.architecture
    if architecture.kind == "genotype":
        space = SPACES[architecture.space].title if architecture.space in SPACES else architecture.space
        return f"A network of the {space.removesuffix(' space')} space"
    if architecture.kind == "network":
        return f"The network {_inline(architecture.name)}"
    return "A network"


def _inline(text: Any) -> str:
    """A text that can stand in a docstring."""
    return "".join(one for one in str(text) if one.isprintable() and one not in "\"\\'")


def _darts(record: ModelRecord) -> tuple[str, dict[str, Any]]:
    genotype: Any = parse_genotype(record.architecture.genotype)  # type: ignore[union-attr]
    nodes = {"normal": _nodes(genotype.normal), "reduction": _nodes(genotype.reduction)}
    operations = {name for cell in nodes.values() for edges in cell for name, _ in edges}
    return "darts.py.jinja", {
        **nodes,
        **_sizes(record),
        "operations": operations,
        "separable": sorted(name for name in operations if name.startswith("sep_conv")),
        "dilated": sorted(name for name in operations if name.startswith("dil_conv")),
    }


def _nodes(cell: Cell) -> tuple[tuple[tuple[str, int], ...], ...]:
    """Operation and source of the edges into each node."""
    return tuple(
        tuple((edge.op, edge.source) for edge in cell if edge.target == node)
        for node in range(INPUT_NODES, INPUT_NODES + cell.nodes)
    )


def _nasbench201(record: ModelRecord) -> tuple[str, dict[str, Any]]:
    genotype: Any = parse_genotype(record.architecture.genotype)  # type: ignore[union-attr]
    edges = list(genotype)
    nodes = tuple(
        tuple((edge.op, edge.source) for edge in edges if edge.target == node)
        for node in range(1, 1 + max(edge.target for edge in edges))
    )
    operations = sorted({edge.op for edge in edges})
    return "nasbench201.py.jinja", {"nodes": nodes, "operations": operations, **_sizes(record)}


def _sizes(record: ModelRecord) -> dict[str, int]:
    sizes: Mapping[str, int] = record.architecture.sizes  # type: ignore[union-attr]
    return {name: sizes[name] for name in ("channels", "cells")}


_DESCRIBED: Mapping[str, Callable[[ModelRecord], tuple[str, dict[str, Any]]]] = MappingProxyType(
    {"darts": _darts, "nasbench201": _nasbench201}
)
"""Search space to what its template needs."""
