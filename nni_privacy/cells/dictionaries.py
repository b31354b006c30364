"""Genotypes of other tools that are dictionaries or nested tuples, told by their keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nni_privacy.cells.darts import INPUT_NODES, Cell, Edge, Genotype
from nni_privacy.cells.literals import shown
from nni_privacy.cells.nasbench201 import NASBENCH201_EDGES, NNI_NAMES, NasBench201Genotype, edge_label
from nni_privacy.errors import GenotypeError

__all__ = ["nested_genotypes"]

_NNI = re.compile(r"(?:\w+/)*(normal|reduce)/(op|input)_(\d{1,2})_([01])")
_NASBENCH301 = re.compile(r"(?:.*(?::|_COLON_))?(edge|inputs_node)_(normal|reduce)_(\d{1,2})")
_NASBENCH201 = re.compile(r"(?:\w+/|edge_)?([0-2])_([1-3])")
_SAMPLE = re.compile(r"(?:normal|reduction)_\d{1,2}_(?:sources|op1|op2)")

_Read = Callable[[Any], Genotype | NasBench201Genotype]


def nested_genotypes(value: Any) -> Iterator[Genotype | NasBench201Genotype]:
    """The genotypes in plain data, in their order.

    Read are DARTS' fields (``normal``, ``reduce``), NNI's (``normal/op_2_0``, ``normal/input_2_0``), NAS-Bench-301's
    (``...:edge_normal_0``, ``...:inputs_node_normal_3``), our samples, and NAS-Bench-201's (``0_1``, or tuples of
    operation and node).

    Raises:
        GenotypeError: if one of them is no legal genotype.
    """
    read = _reader(value)
    if read is not None:
        yield read(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from nested_genotypes(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from nested_genotypes(inner)


def _reader(value: Any) -> _Read | None:
    if isinstance(value, Mapping):
        return next((read for fits, read in _DICTIONARIES if fits(value)), None)
    return _from_nodes if _are_nodes(value) else None


def _matching(form: re.Pattern[str], content: Mapping[Any, Any]) -> dict[tuple[str, ...], Any]:
    """The groups of each key that is of a form, to its value."""
    found = ((form.fullmatch(key), value) for key, value in content.items() if isinstance(key, str))
    return {key.groups(): value for key, value in found if key}


def _is_darts(content: Mapping[Any, Any]) -> bool:
    reduction = content.get("reduce", content.get("reduction"))
    return all(isinstance(cell, list | tuple) for cell in (content.get("normal"), reduction))


def _from_darts(content: Mapping[Any, Any]) -> Genotype:
    return Genotype.from_fields({str(key).replace("reduction", "reduce"): value for key, value in content.items()})


def _from_nni(content: Mapping[Any, Any]) -> Genotype:
    found = _matching(_NNI, content)
    cells: dict[str, list[Edge]] = {"normal": [], "reduce": []}
    for (cell, kind, target, which), op in found.items():
        if kind == "op":
            source = found.get((cell, "input", target, which))
            source = source[0] if isinstance(source, list | tuple) and len(source) == 1 else source
            cells[cell].append(_edge(source, int(target), op))
    return _genotype(cells)


def _from_nasbench301(content: Mapping[Any, Any]) -> Genotype:
    found = _matching(_NASBENCH301, content)
    cells: dict[str, list[Edge]] = {"normal": [], "reduce": []}
    for (kind, cell, number), op in found.items():
        if kind == "edge":
            target, source = INPUT_NODES, int(number)
            while source >= target:  # edges are numbered through: two into node 2, three into node 3, ...
                target, source = target + 1, source - target
            chosen = found.get(("inputs_node", cell, str(target)))
            if chosen is None or str(source) in str(chosen).split("_"):
                cells[cell].append(_edge(source, target, op))
    return _genotype(cells)


def _edge(source: Any, target: int, op: Any) -> Edge:
    if type(source) is not int or not isinstance(op, str):
        raise GenotypeError(f"node {target}: {shown(op)} from {shown(source)} is not an operation from one node")
    return Edge(source, target, op)


def _genotype(cells: Mapping[str, list[Edge]]) -> Genotype:
    made = []
    for name, edges in cells.items():
        try:
            made.append(Cell(tuple(edges)))
        except GenotypeError as error:
            raise GenotypeError(f"{name}: {error}") from None
    return Genotype(*made)


def _from_nasbench201(content: Mapping[Any, Any]) -> NasBench201Genotype:
    found = _matching(_NASBENCH201, content)
    named = {edge_label(int(source), int(target)): op for (source, target), op in found.items()}
    return NasBench201Genotype.from_sample({label: NNI_NAMES.get(str(op), op) for label, op in named.items()})


def _are_nodes(value: Any) -> bool:
    """Whether a value is ``((('none', 0),), (('none', 0), ('none', 1)), ...)``: one tuple of in-edges a node."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        return False
    pairs = [pair for node in value for pair in (node if isinstance(node, list | tuple) else [None])]
    whole = all(isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs)
    return whole and [len(node) for node in value] == [1, 2, 3]


def _from_nodes(value: Any) -> NasBench201Genotype:
    edges = [(source, target, op) for target, node in enumerate(value, start=1) for op, source in node]
    return NasBench201Genotype(tuple(_edge(source, target, NNI_NAMES.get(op, op)) for source, target, op in edges))


_DICTIONARIES: tuple[tuple[Callable[[Mapping[Any, Any]], Any], _Read], ...] = (
    (_is_darts, _from_darts),
    (lambda content: _matching(_SAMPLE, content), Genotype.from_sample),
    (lambda content: _matching(_NNI, content), _from_nni),
    (lambda content: _matching(_NASBENCH301, content), _from_nasbench301),
    (lambda content: len(_matching(_NASBENCH201, content)) == len(NASBENCH201_EDGES), _from_nasbench201),
)
"""How each form is told by its keys, and how it is read."""
