"""The table as a file: read with care, merged from several machines, written with its protocols and its data card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy import files
from nni_privacy.analysis.rows import ORIGINAL
from nni_privacy.bench.columns import COLUMNS, KEY, column_named
from nni_privacy.bench.rows import protocols_of, rows_of_run
from nni_privacy.errors import DataError
from nni_privacy.runs.records import read_run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PROTOCOLS", "TABLE", "gather", "merge_tables", "read_table", "write_table"]

TABLE = "table.csv"
PROTOCOLS = "protocols.json"
_SAME = 1e-5
"""Relative difference of numbers that are the same: a CSV has six digits of them."""

Protocols = dict[str, dict[str, Any]]


def gather(sources: Sequence[Path]) -> tuple[pd.DataFrame, Protocols]:
    """Merges the rows of run directories and of tables.

    Args:
        sources: run directories of studies that take snapshots, folders that hold a table, and CSV files of tables.

    Raises:
        DataError: if one of them is neither, or two say something different of the same row.
    """
    tables, protocols = [], {}
    for source in sources:
        table, found = _read(source)
        tables.append((str(source), table))
        protocols.update(found)
    return merge_tables(tables), {name: protocols[name] for name in sorted(protocols)}


def _read(source: Path) -> tuple[pd.DataFrame, Protocols]:
    if source.is_dir() and not (source / TABLE).is_file():
        run = read_run(source)
        return rows_of_run(run), dict(protocols_of(run).values())
    file = source / TABLE if source.is_dir() else source
    return read_table(file), _protocols(file.parent / PROTOCOLS)


def _protocols(path: Path) -> Protocols:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise DataError(f"{path}: expected digests and the settings that they are of")
    return found


def read_table(path: Path) -> pd.DataFrame:
    """Reads a table, its columns checked.

    Raises:
        DataError: with the file and the column or line, if it is no table.
    """
    import pandas as pd

    needed = [column.name for column in COLUMNS if column.needed]
    columns, rows = files.read_table(path, needed)
    lines, content = [], []
    for line, row in rows:
        lines.append(line)
        content.append(row)
    table = pd.DataFrame(content, columns=columns, dtype=str).fillna("")
    for name in table.columns:
        column = column_named(str(name))
        if column is not None and column.kind != "text":
            table[name] = _numbers(table[name], path, lines, whole=column.kind == "whole")
    return table


def _numbers(texts: pd.Series[str], path: Path, lines: Sequence[int], *, whole: bool) -> pd.Series[Any]:
    import numpy as np
    import pandas as pd

    numbers = pd.to_numeric(texts.replace("", "nan"), errors="coerce").astype(float)
    wrong = (numbers.isna() & (texts != "")) | np.isinf(numbers) | (whole & (numbers.isna() | (numbers % 1 != 0)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        kind = "a whole number" if whole else "a number"
        raise DataError(f"{path}, line {lines[row]}: {texts.name}: {texts.iloc[row]!r:.80} is not {kind}")
    return numbers.astype(np.int64) if whole else numbers


def merge_tables(tables: Iterable[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """One table of several: rows that some share are there once, in the order of the key.

    Args:
        tables: each with what it is called in messages.

    Raises:
        DataError: if two differ in a row, or one genotype's name stands for two.
    """
    import pandas as pd

    merged: pd.DataFrame | None = None
    for name, table in tables:
        fresh = table.set_index(list(KEY), drop=False)
        fresh.index.names = [f"{one}_" for one in KEY]
        if fresh.index.has_duplicates:
            raise DataError(f"{name}: {_told(fresh.index[fresh.index.duplicated()][0])}: there twice")
        if merged is None:
            merged = fresh
            continue
        shared = merged.index.intersection(fresh.index)
        _check_same(merged.loc[shared], fresh.loc[shared], name)
        merged = pd.concat([merged, fresh.loc[~fresh.index.isin(shared)]])
    if merged is None:
        raise DataError("no table and no run: there is nothing to merge")
    _check_cells(merged)
    first = [column.name for column in COLUMNS if column.name in merged]
    ordered = merged.sort_values(list(KEY), kind="stable").reset_index(drop=True)
    return ordered[[*first, *sorted(name for name in ordered if name not in first)]]


def _told(key: Iterable[Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(KEY, key, strict=True))


def _check_same(known: pd.DataFrame, fresh: pd.DataFrame, name: str) -> None:
    """Numbers agree to as many digits as a file has; what one of them lacks is no difference."""
    import numpy as np
    from pandas.api.types import is_numeric_dtype

    for column in known.columns.intersection(fresh.columns):
        old, new = known[column], fresh[column]
        if is_numeric_dtype(old) and is_numeric_dtype(new):
            differ = ~np.isclose(old, new, rtol=_SAME, atol=_SAME) & old.notna() & new.notna()
        else:
            differ = old.astype(str) != new.astype(str)
        if differ.any():
            at = int(np.flatnonzero(differ)[0])
            what = f"{column} is {str(new.iloc[at])[:60]} here and {str(old.iloc[at])[:60]} before"
            raise DataError(f"{name}: {_told(known.index[at])}: {what}")


def _check_cells(table: pd.DataFrame) -> None:
    """One name, one genotype: cells are what intervals are drawn over."""
    named = table[table["variant"] == ORIGINAL].groupby(["dataset", "space", "cell"])["genotype"].nunique()
    if len(named) and named.max() > 1:
        dataset, space, cell = named.idxmax()
        raise DataError(f"{dataset}, {space}: the name {cell!r} stands for two cells: give one study's entry a label")


def write_table(folder: Path, table: pd.DataFrame, protocols: Mapping[str, Any]) -> Path:
    """Writes table, protocols and data card into a folder; each file whole or not at all.

    Raises:
        OSError: if one cannot be written.
    """
    from nni_privacy.bench.card import render_card

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / TABLE
    files.atomic_write(path, table.to_csv(index=False, lineterminator="\n"))
    files.atomic_write(folder / PROTOCOLS, json.dumps(protocols, indent=1, sort_keys=True) + "\n")
    files.atomic_write(folder / "card.md", render_card(table, protocols))
    return path
