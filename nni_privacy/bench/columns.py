"""The columns of the table: what each is, in which unit, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["COLUMNS", "KEY", "Column", "attacks_of", "column_named"]

Kind = Literal["text", "whole", "number"]


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        name: as in the file's first line.
        kind: ``text``, ``whole`` or ``number``.
        unit: of its values; empty of a text.
        meaning: in one sentence.
        key: whether it tells a row from the others.
        needed: whether a table without it is none.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    key: bool = False
    needed: bool = True


_KEY = (
    Column("dataset", "text", "", "label of the data set", key=True),
    Column(
        "protocol", "text", "", "digest of how records, training and attacks were set; see protocols.json", key=True
    ),
    Column("space", "text", "", "search space of the cell, darts or nasbench201", key=True),
    Column("cell", "text", "", "name of the genotype, one within data set and space", key=True),
    Column("variant", "text", "", "original, or what was done to the cell", key=True),
    Column("width", "whole", "channels", "initial channels that were asked for", key=True),
    Column("seed", "whole", "", "of split, initial weights, batches and attacks", key=True),
    Column("epoch", "whole", "epochs", "after which the network was attacked", key=True),
)
_TRAINING = (
    Column("epochs", "whole", "epochs", "of the whole training"),
    Column("genotype", "text", "", "the cell that was trained, as text"),
    Column(
        "channels", "whole", "channels", "initial channels of the network, other than width only where size-matched"
    ),
    Column("network_cells", "whole", "cells", "of the network (NAS-Bench-201: cells a stage)"),
    Column("parameters", "whole", "weights", "of the network"),
    Column("multiply_adds", "whole", "multiply-adds", "of its convolutions and linear layers for one image"),
    Column("members", "whole", "records", "that it was trained on and that were attacked"),
    Column("nonmembers", "whole", "records", "that were attacked beside them; accuracy and loss are theirs"),
    Column("accuracy", "number", "fraction", "of non-members that are classified right"),
    Column("train_accuracy", "number", "fraction", "of members that are classified right"),
    Column("gap", "number", "fraction", "train_accuracy less accuracy: the generalisation gap"),
    Column("loss", "number", "nats", "mean cross-entropy of non-members"),
    Column("train_loss", "number", "nats", "mean cross-entropy of members"),
)
_STATISTICS = tuple(
    Column(name, "number", unit, meaning, needed=False)
    for name, unit, meaning in (
        ("stable_rank", "", "mean over layers of |W|_F^2 / |W|_2^2"),
        ("log_spectral_norm", "log10", "sum over layers of log10 |W|_2"),
        ("weight_norm", "", "sum over layers of |W|_F^2"),
        ("synflow", "log10", "of the untrained network (Tanaka et al., 2020)"),
        ("grad_norm", "", "of the untrained network on one batch (Abdelfattah et al., 2021)"),
        ("snip", "", "of the untrained network on one batch (Lee et al., 2019)"),
        ("naswot", "", "log-determinant of ReLU codes of the untrained network (Mellor et al., 2021)"),
    )
)
_ATTACK: Mapping[str, tuple[str, str]] = {
    "_auc": ("fraction", "AUC of the attack {}; .5 is guessing"),
    "_auc_se": ("fraction", "standard error over records of the AUC of {} (DeLong)"),
    "_tpr": ("fraction", "members that {} finds at 1% FPR"),
    "_tpr_se": ("fraction", "standard error over records of the TPR of {}"),
}
"""The columns of each attack by how their names end."""

COLUMNS = (*_KEY, *_TRAINING, *_STATISTICS)
"""The columns that have nothing to do with an attack, in the order of the file."""

KEY = tuple(column.name for column in _KEY)
"""The columns that tell a row from all others."""

_KNOWN: Mapping[str, Column] = {column.name: column for column in COLUMNS}


def column_named(name: str) -> Column | None:
    """The column of this name, that of an attack too; None if there is none."""
    if name in _KNOWN:
        return _KNOWN[name]
    for ending in sorted(_ATTACK, key=len, reverse=True):
        attack = name.removesuffix(ending)
        if attack and attack != name:
            unit, meaning = _ATTACK[ending]
            return Column(name, "number", unit, meaning.format(attack), needed=False)
    return None


def attacks_of(names: Iterable[str]) -> list[str]:
    """The attacks that a table with these columns has, in their order."""
    return [name.removesuffix("_auc") for name in names if name.endswith("_auc")]
