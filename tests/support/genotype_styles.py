"""Genotypes as other tools write them: each style turns a genotype of four nodes into a text that means the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from nni_privacy.cells.darts import Cell, Genotype
from nni_privacy.cells.nasbench201 import NasBench201Genotype

CONCAT = "range(2, 6)"


def _call(normal: str, reduce: str, *, concat: str = CONCAT, reduced: str = "reduce") -> str:
    return f"Genotype(normal={normal}, normal_concat={concat}, {reduced}={reduce}, {reduced}_concat={concat})"


def _nested(cell: Cell, *, pair: Callable[[Any], Any] = tuple) -> list[list[Any]]:
    pairs = cell.to_pairs()
    return [[pair(pairs[at]), pair(pairs[at + 1])] for at in range(0, len(pairs), 2)]


def _numbered(genotype: Genotype, number: str) -> str:
    cells = (
        ", ".join(f"('{op}', {number.format(source)})" for op, source in cell.to_pairs()) for cell in both(genotype)
    )
    normal, reduce = cells
    return _call(f"[{normal}]", f"[{reduce}]", concat="[2, 3, 4, 5]")


def both(genotype: Genotype) -> tuple[Cell, Cell]:
    return genotype.normal, genotype.reduction


def _lines(genotype: Genotype) -> str:
    """As in a module: a pair a line, with comments and a comma after the last."""
    text = "DARTS_V2 = Genotype(\n"
    for name, cell in (("normal", genotype.normal), ("reduce", genotype.reduction)):
        pairs = "".join(
            f"    ('{op}', {source}),  # node (2 + {at} // 2\n" for at, (op, source) in enumerate(cell.to_pairs())
        )
        text += f"  {name} = [\n{pairs}  ],\n  {name}_concat = [2, 3, 4, 5],\n"
    return text + ")\n\nDARTS = DARTS_V2\n"


def _fields(genotype: Genotype, *, reduced: str = "reduce") -> dict[str, Any]:
    normal, reduce = (cell.to_pairs() for cell in both(genotype))
    return {"normal": normal, "normal_concat": [2, 3, 4, 5], reduced: reduce, f"{reduced}_concat": [2, 3, 4, 5]}


def _nni(genotype: Genotype) -> dict[str, Any]:
    """As ``nni.nas.hub``'s DARTS exports it."""
    content: dict[str, Any] = {}
    for name, cell in (("normal", genotype.normal), ("reduce", genotype.reduction)):
        for target in range(2, 6):
            for which, edge in enumerate(cell.into(target)):
                content[f"{name}/op_{target}_{which}"] = edge.op
                content[f"{name}/input_{target}_{which}"] = [edge.source]
    return content


def _nasbench301(genotype: Genotype, *, prefix: str = "NetworkSelectorDatasetInfo:darts:") -> dict[str, Any]:
    content: dict[str, Any] = {"OptimizerSelector:sgd:momentum": 0.9}
    first = {2: 0, 3: 2, 4: 5, 5: 9}
    for name, cell in (("normal", genotype.normal), ("reduce", genotype.reduction)):
        for target in range(2, 6):
            edges = cell.into(target)
            content |= {f"{prefix}edge_{name}_{first[target] + edge.source}": edge.op for edge in edges}
            if target > 2:
                content[f"{prefix}inputs_node_{name}_{target}"] = "_".join(str(edge.source) for edge in edges)
    return content


LOG = "2019-12-31 00:20:20,772 epoch 6 lr 4.8e-01\n2019-12-31 00:20:20,774 genotype = {}\n2019-12-31 train_acc 0.09\n"

STYLES: Mapping[str, Callable[[Genotype], str]] = {
    "plain": str,
    "named": lambda g: f"DARTS_V2 = {g}",
    "qualified": lambda g: f"GDAS = genotypes.{g}",
    "log": lambda g: LOG.format(g),
    "module": _lines,
    "trailing": lambda g: f"  {g} ;  ",
    "comma": lambda g: f"{g},",
    "quoted": lambda g: f'"{g}"',
    "mark": lambda g: f"\ufeff{g}",
    "windows": lambda g: _lines(g).replace("\n", "\r\n"),
    "comment": lambda g: f"# best of 3: Genotype(normal=[...])\n{g}\n",
    "wrapped": lambda g: str(g).replace("], ", "],\n  "),
    "nested": lambda g: _call(str(_nested(g.normal)), str(_nested(g.reduction))),
    "nested tuples": lambda g: _call(*(str([tuple(node) for node in _nested(cell)]) for cell in both(g))),
    "numpy": lambda g: _numbered(g, "np.int64({})"),
    "numpy names": lambda g: str(g).replace("('", "(np.str_('").replace("',", "'),"),
    "tensor": lambda g: _numbered(g, "tensor({}, device='cuda:0')"),
    "array": lambda g: str(g).replace("[2, 3, 4, 5]", "array([2, 3, 4, 5])"),
    "positional": lambda g: f"Genotype({g.normal.to_pairs()}, {CONCAT}, {g.reduction.to_pairs()}, {CONCAT})",
    "reduction": lambda g: str(g).replace("reduce", "reduction"),
    "without concat": lambda g: f"Genotype(normal={g.normal.to_pairs()}, reduce={g.reduction.to_pairs()})",
    "lists": lambda g: str(g).replace("(", "[").replace(")", "]").replace("Genotype[", "Genotype(")[:-1] + ")",
    "json string": lambda g: json.dumps({"epoch": 3, "arch": str(g).replace("'", '"')}),
    "escaped": lambda g: repr(_lines(g) + '"'),
    "doubled quotes": lambda g: str(g).replace("'", '""'),
    "command": lambda g: f'python augment.py --layers 20 --genotype "{g}" --epochs 600',
    "dictionary": lambda g: str(_fields(g)),
    "dictionary with reduction": lambda g: f"best: {_fields(g, reduced='reduction')}",
    "json": lambda g: json.dumps({"acc": 0.97, "ok": True, "arch": _fields(g)}, indent=2),
    "nni": lambda g: json.dumps(_nni(g)),
    "nasbench301": lambda g: json.dumps({"budget": 98, "optimized_hyperparamater_config": _nasbench301(g)}),
    "nasbench301 of yahpo": lambda g: str(_nasbench301(g, prefix="NetworkSelectorDatasetInfo_COLON_darts_COLON_")),
    "sample": lambda g: str(g.to_sample()),
}  # fmt: skip
"""Name of a style to what writes it."""


def _tuples(genotype: NasBench201Genotype) -> tuple[Any, ...]:
    return tuple(tuple((edge.op, edge.source) for edge in genotype.into(node)) for node in (1, 2, 3))


def _by_edge(genotype: NasBench201Genotype) -> dict[str, str]:
    return {f"{edge.source}_{edge.target}": edge.op.replace("nor_", "") for edge in genotype}


NASBENCH201_STYLES: Mapping[str, Callable[[NasBench201Genotype], str]] = {
    "plain": str,
    "quoted": lambda g: f"'{g}',",
    "information": lambda g: f"[2020-01-01 10:00] arch : {g} | accuracy 94.37%",
    "structure": lambda g: f"Structure(4 nodes with {g})",
    "names of nni": lambda g: str(g).replace("nor_", ""),
    "wide": lambda g: str(g).replace("+", " + "),
    "tuples": lambda g: str(_tuples(g)),
    "lists": lambda g: json.dumps(_tuples(g)),
    "dictionary": lambda g: str(_by_edge(g)),
    "json": lambda g: json.dumps({"arch": _by_edge(g), "valid": 0.9}),
    "sample": lambda g: str(g.to_sample()),
}
"""The same of NAS-Bench-201."""
