"""The command ``nni-privacy bench``: from studies with snapshots and tables to one table and what it shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.options import ExitCode, add_command

if TYPE_CHECKING:
    from nni_privacy.bench.results import BenchResults

__all__ = ["add_bench", "run_bench"]

RESULTS = "results.json"


def add_bench(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    bench = add_command(
        commands,
        "bench",
        "one table of how cells leak, of studies and tables, and what it shows",
        "bench study/ --output table/",
        "bench table/ mine/ theirs.csv --output merged/",
    )
    bench.add_argument("sources", metavar="SOURCE", nargs="+", type=Path, help="run directories and tables")
    bench.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder of the table; written anew")
    bench.add_argument("--compare", metavar="FILE", type=Path, help="AUCs that others measured, split beside (minutes)")
    bench.add_argument("--attack", metavar="NAME", help="whose numbers verdicts are of (default: rmia, or the first)")
    bench.add_argument("--rounds", metavar="N", type=int, default=2000, help="of each bootstrap (default: 2000)")
    bench.add_argument("--seed", metavar="S", type=int, default=0, help="of each bootstrap")
    bench.add_argument("--table-only", action="store_true", help="merge, and analyse nothing")
    bench.set_defaults(run=run_bench)


def run_bench(
    sources: Sequence[Path],
    *,
    output: Path,
    compare: Path | None = None,
    attack: str | None = None,
    rounds: int = 2000,
    seed: int = 0,
    table_only: bool = False,
) -> ExitCode:
    """Merges run directories of studies that take snapshots and tables, analyses the table, and writes all of it.

    Args:
        sources: run directories, folders with a table, CSV files of tables.
        output: gets ``table.csv``, ``protocols.json``, ``card.md``, and with analyses ``results.json`` and
            ``report.html``; files of these names are replaced.
        compare: a file of architectures that somebody else has measured, one training each
            (:func:`nni_privacy.surrogate.read_mia_data`); the variance of its AUCs is split, too.
        attack: whose numbers the verdicts are of.
        rounds: of each bootstrap.
        seed: of each bootstrap.
        table_only: analyse nothing.

    Raises:
        PrivacyError: if a source is neither run nor table, two contradict each other, or an option is not valid;
            nothing has been written then.
    """
    from nni_privacy.bench.results import bench_results, plain_results
    from nni_privacy.bench.table import gather, write_table
    from nni_privacy.files import atomic_write

    table, protocols = gather(sources)
    if table_only:
        print(f"{len(table):,} rows: {write_table(output, table, protocols)}")
        return ExitCode.DONE
    from nni_privacy.report.bench_page import render_bench

    results = bench_results(table, attack=attack, compare=compare, rounds=rounds, seed=seed)
    page = render_bench(results, protocols)
    path = write_table(output, table, protocols)
    atomic_write(output / RESULTS, json.dumps(plain_results(results), indent=1, allow_nan=False) + "\n")
    atomic_write(output / "report.html", page)
    _print(results)
    print(f"{len(table):,} rows: {path}\nreport: {output / 'report.html'}")
    return ExitCode.DONE


def _print(results: BenchResults) -> None:
    for line in results.verdicts:
        interval = f"{line.value:+.3f} [{line.low:+.3f}, {line.high:+.3f}]"
        print(f"{line.dataset:<26} {interval:<26} {line.verdict:<22} {line.claim} ({line.outcome})")
    for one in results.datasets:
        for analysis, reason in one.missing.items():
            print(f"{one.dataset}: no {analysis}: {reason}")
