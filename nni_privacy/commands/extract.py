"""``nni-privacy patterns extract``: from a file of measured architectures to patterns with evidence."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.options import add_command, add_plugins
from nni_privacy.commands.surrogate import read_measured
from nni_privacy.plugins import import_plugins

if TYPE_CHECKING:
    from nni_privacy.patterns.cross_fitting import Fit
    from nni_privacy.patterns.findings import Extraction

__all__ = ["add_extract", "run_extract", "surrogate_fit"]


def add_extract(actions: Any) -> None:
    """Adds the command to the parser of ``patterns``."""
    extract = add_command(
        actions,
        "extract",
        "find patterns in measured architectures, with evidence",
        "patterns extract measured.csv --output mine/",
        "patterns extract study/ --surrogate ridge --resamples 50 --output mine/",
    )
    add_plugins(extract)
    extract.add_argument("data", metavar="DATA.csv", type=Path, help="columns genotype and mia_auc; or run directories")
    extract.add_argument("--output", metavar="DIR", type=Path, required=True, help="a new folder for the results")
    extract.add_argument("--surrogate", metavar="NAME", default="default", help="which surrogate (default: default)")
    extract.add_argument("--resamples", metavar="N", type=int, default=100, help="for intervals (default: 100)")
    extract.add_argument("--seed", metavar="S", type=int, default=0)
    extract.add_argument("--high", metavar="AUC", type=float, default=0.84, help="promotion: above it (default: .84)")
    extract.add_argument("--low", metavar="AUC", type=float, default=0.78, help="demotion: below it (default: .78)")
    extract.set_defaults(run=run_extract)


def run_extract(data: Path, *, output: Path, surrogate: str, plugins: Sequence[str] = (), **options: Any) -> int:
    """Extracts patterns from measured architectures, writes them with a report, and prints a line for each.

    Args:
        data: what :func:`nni_privacy.surrogate.read_mia_data` reads: a CSV, a run directory, ...
        output: a new or empty folder for the results.
        surrogate: its name.
        plugins: modules that are imported first.
        **options: fields of :class:`~nni_privacy.patterns.findings.ExtractionOptions`.

    Raises:
        PrivacyError: if the input is not valid; nothing has been written then.
    """
    from nni_privacy.cells.codes import GenotypeCodes
    from nni_privacy.patterns import list_patterns
    from nni_privacy.patterns.extraction import extract_patterns
    from nni_privacy.patterns.findings import ExtractionOptions
    from nni_privacy.runs.directory import RunDirectory

    RunDirectory.check_free(output.absolute())
    import_plugins(plugins)
    given = ExtractionOptions(**options)
    fit = surrogate_fit(surrogate)
    measured = read_measured(data)
    extraction = extract_patterns(
        GenotypeCodes.from_genotypes(measured.genotypes),
        measured.mia_auc,
        fit,
        options=given,
        assess=[pattern for pattern in list_patterns() if "Figure 7" in pattern.source],
        progress=_say,
    )
    source = (
        f"extracted by nni-privacy from {data.name} ({len(measured):,} architectures; AUC < {given.low} or > "
        f"{given.high}), surrogate {surrogate}, seed {given.seed}; effects are predicted"
    )
    facts = {"Data": f"{data.name}: {measured.summary()}", "Surrogate": surrogate}
    _write(extraction, output, title=f"Patterns of {data.name}", facts=facts, source=source)
    _print(extraction)
    print(f"report: {output / 'report.html'}")
    return 0


def surrogate_fit(name: str) -> Fit:
    """A function that fits a new surrogate called ``name`` and corrects it by single edges.

    Raises:
        ConfigError: if there is no such surrogate.
    """
    from nni_privacy.patterns.edge_regression import with_edge_correction
    from nni_privacy.surrogate import build_surrogate

    build_surrogate(name)
    return with_edge_correction(lambda codes, auc, seed: build_surrogate(name).fit(codes, auc, seed=seed).predict)


def _say(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def _write(extraction: Extraction, output: Path, *, title: str, facts: dict[str, str], source: str) -> None:
    """Writes patterns, importance and report: all of them or none."""
    from nni_privacy.files import new_folder
    from nni_privacy.patterns import write_pattern
    from nni_privacy.report.extraction_page import oi_csv, render_extraction

    page = render_extraction(extraction, title=title, facts=facts)
    with new_folder(output) as draft:
        for found in extraction.found:
            pattern = found.pattern(name=found.name, source=source)
            if len(pattern):
                write_pattern(pattern, draft / f"{found.name}.yaml")
        (draft / "importance.csv").write_text(oi_csv(extraction), encoding="utf-8")
        (draft / "report.html").write_text(page, encoding="utf-8")


def _print(extraction: Extraction) -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    found = extraction.predictiveness
    print(f"surrogate, cross-fitted: rank correlation {found.spearman:.3f} (chance: up to {found.needed:.3f})")
    for pattern in extraction.found:
        if pattern.supported:
            edges = ", ".join(f"{edge.source}->{edge.target} {edge.op}" for edge in pattern.edges)
            print(f"{pattern.name:<20} supported, predicted {pattern.effects[-1].change:+.4f}: {edges}")
        else:
            written = "written with supported: false" if pattern.literal else "no edge to write"
            print(f"{pattern.name:<20} not supported, {written}")
    for other in extraction.assessed:
        m, change = other.judged_at, other.effects[other.judged_at - 1].change
        verdict = "supported" if other.supported else f"not supported ({other.reason})"
        print(f"paper's {other.pattern.name:<20} {verdict}; predicted {change:+.4f} at m = {m}")
