"""The data card of a table: what its columns are, how its rows came about, and how to add some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from nni_privacy.bench.columns import Column, attacks_of, column_named

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CardInfo", "ProtocolInfo", "card_info", "render_card", "settings_text"]


@dataclass(frozen=True)
class ProtocolInfo:
    """What one protocol has measured.

    Attributes:
        digest: its name in the table.
        dataset: label of its data set.
        settings: as YAML; empty if they are unknown.
        rows: number of rows.
        trainings: number of trainings that they are looks at.
        cells: number of different cells.
        widths: initial channels.
        seeds: of the trainings.
        epochs: after which was looked.
        members: attacked on either side, at least and at most.
        accuracy: lowest and highest test accuracy at the end of a training.
    """

    digest: str
    dataset: str
    settings: str
    rows: int
    trainings: int
    cells: int
    widths: tuple[int, ...]
    seeds: tuple[int, ...]
    epochs: tuple[int, ...]
    members: tuple[int, int]
    accuracy: tuple[float, float]


@dataclass(frozen=True)
class CardInfo:
    """The content of a card.

    Attributes:
        rows: number of rows.
        columns: in the order of the file; those that are unknown are left out.
        attacks: that the table has.
        protocols: in the order of data set and digest.
    """

    rows: int
    columns: tuple[Column, ...]
    attacks: tuple[str, ...]
    protocols: tuple[ProtocolInfo, ...]


def card_info(table: pd.DataFrame, protocols: Mapping[str, Any]) -> CardInfo:
    """What the card of a table says."""
    names = [str(name) for name in table.columns]
    columns = tuple(column for name in names if (column := column_named(name)) is not None)
    groups = table.groupby(["dataset", "protocol"], sort=True)
    found = tuple(_protocol(str(dataset), str(digest), rows, protocols) for (dataset, digest), rows in groups)
    return CardInfo(len(table), columns, tuple(attacks_of(names)), found)


def _protocol(dataset: str, digest: str, rows: pd.DataFrame, protocols: Mapping[str, Any]) -> ProtocolInfo:
    settings, last = protocols.get(digest), rows[rows["epoch"] == rows["epochs"]]
    ends = last if len(last) else rows
    return ProtocolInfo(
        digest=digest,
        dataset=dataset,
        settings="" if settings is None else settings_text(settings),
        rows=len(rows),
        trainings=len(rows.drop_duplicates(["space", "cell", "variant", "width", "seed"])),
        cells=len(rows.drop_duplicates(["space", "cell"])),
        widths=_values(rows["width"]),
        seeds=_values(rows["seed"]),
        epochs=_values(rows["epoch"]),
        members=(int(rows["members"].min()), int(rows["members"].max())),
        accuracy=(float(ends["accuracy"].min()), float(ends["accuracy"].max())),
    )


def _values(column: pd.Series[Any]) -> tuple[int, ...]:
    return tuple(sorted(int(value) for value in column.unique()))


def settings_text(settings: Any) -> str:
    """The settings of a protocol as YAML."""
    return str(yaml.safe_dump(settings, sort_keys=False, width=100)).rstrip()


def render_card(table: pd.DataFrame, protocols: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    return _template().render(info=card_info(table, protocols))


@cache
def _template() -> Template:
    environment = Environment(  # Markdown, of values that were checked
        loader=PackageLoader("nni_privacy.bench"), undefined=StrictUndefined, autoescape=False  # noqa: S701
    )  # fmt: skip
    return environment.get_template("card.md.jinja")
