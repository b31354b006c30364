"""The command ``nni-privacy records``: the members that the attacks of a run or an audit find most often."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.options import ExitCode, add_command
from nni_privacy.errors import ConfigError, DataError

if TYPE_CHECKING:
    from nni_privacy.analysis.exposed import ExposedRecord, Exposures

__all__ = ["add_records", "run_records"]

TOP = 100


def add_records(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    records = add_command(
        commands,
        "records",
        "list the members that attacks find most often",
        "records runs/quickstart-20250101-120000",
        "records audit/ --top 20 --csv exposed.csv",
    )
    records.add_argument("directory", metavar="DIR", type=Path, help="a run directory, or an audit's folder")
    records.add_argument("--top", type=int, default=TOP, metavar="N", help=f"how many (default: {TOP})")
    records.add_argument("--csv", type=Path, metavar="FILE", help="write them as CSV, too")
    records.set_defaults(run=run_records)


def run_records(directory: Path, *, top: int = TOP, csv: Path | None = None) -> int:
    """Prints the most exposed members of a run directory or of an audit, and writes them as CSV where asked to.

    Raises:
        PrivacyError: if the folder is neither, its scores do not say which records they are of, ``top`` is not
            positive, or the file cannot be written.
    """
    from nni_privacy.analysis.exposed import exposures_of
    from nni_privacy.files import atomic_write, to_csv

    if top < 1:
        raise ConfigError(f"--top: {top}; allowed are integers of 1 or more")
    found = exposures_of(directory)
    shown = found.records[:top]
    if csv is not None:
        try:
            atomic_write(csv, to_csv([one.row() for one in shown]))
        except OSError as error:
            raise DataError(f"--csv: {csv}: {error.strerror or type(error).__name__}") from None
    print(_summary(found))
    print("\n".join(_table(shown)))
    return ExitCode.DONE


def _summary(found: Exposures) -> str:
    trials = f"{found.trials} trial{'s' if found.trials > 1 else ''}"
    return (
        f"{len(found.records)} members attacked by {', '.join(found.attacks)} in {trials}; "
        "found: at the threshold of 1% FPR, by guessing one time in a hundred"
    )


def _table(records: Sequence[ExposedRecord]) -> list[str]:
    """Lines with a column each for data set (where there are several), index, class, percentile and counts."""
    rows = [["index", "class", "percentile", "found", "attacks", "trials"]]
    for one in records:
        counts = ((one.found, one.attacked), (one.attacks, one.attacks_of), (one.trials, one.trials_of))
        label = "-" if one.label is None else str(one.label)
        shown = [f"{hits}/{of}" if of else "-" for hits, of in counts]
        rows.append([str(one.index), label, f"{one.percentile:.4f}", *shown])
    if any(one.dataset for one in records):
        for row, name in zip(rows, ["data set", *(one.dataset for one in records)], strict=True):
            row.insert(0, name)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
