"""``nni-privacy patterns extract``: from a file of measured architectures to patterns with evidence."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.surrogate import read_measured
from nni_privacy.errors import DataError
from nni_privacy.files import new_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nni_privacy.cells.codes import GenotypeCodes
    from nni_privacy.patterns.cross_fitting import Fit
    from nni_privacy.patterns.findings import Extraction
    from nni_privacy.patterns.importance import Predict
    from nni_privacy.surrogate import MIAData

__all__ = ["ExtractRequest", "add_extract", "run_extract", "surrogate_fit"]


@dataclass(frozen=True, kw_only=True)
class ExtractRequest:
    """The arguments of the command.

    Attributes:
        data: what :func:`nni_privacy.surrogate.read_mia_data` reads: a CSV, a run directory, ...
        output: a new or empty folder for the results.
        surrogate: its name.
        resamples: number of resamples.
        seed: of everything.
        high: architectures with an AUC above it make the promotion patterns.
        low: architectures with an AUC below it make the demotion patterns.
    """

    data: Path
    output: Path
    surrogate: str = "default"
    resamples: int = 100
    seed: int = 0
    high: float = 0.84
    low: float = 0.78


def add_extract(actions: Any) -> None:
    """Adds the command to the parser of ``patterns``."""
    extract = actions.add_parser("extract", help="find patterns in measured architectures, with evidence")
    extract.add_argument("data", metavar="DATA.csv", type=Path, help="columns genotype and mia_auc; or run directories")
    extract.add_argument("--output", metavar="DIR", type=Path, required=True, help="a new folder for the results")
    extract.add_argument("--surrogate", metavar="NAME", default="default", help="which surrogate (default: default)")
    extract.add_argument("--resamples", metavar="N", type=int, default=100, help="for intervals (default: 100)")
    extract.add_argument("--seed", metavar="S", type=int, default=0)
    extract.add_argument("--high", metavar="AUC", type=float, default=0.84, help="promotion: above it (default: .84)")
    extract.add_argument("--low", metavar="AUC", type=float, default=0.78, help="demotion: below it (default: .78)")
    extract.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return run_extract(ExtractRequest(**{key: value for key, value in vars(options).items() if key != "run"}))


def run_extract(request: ExtractRequest) -> int:
    """Extracts patterns, writes them with a report, and prints a line for each.

    Raises:
        PrivacyError: if the input is not valid; nothing has been written then.
    """
    from nni_privacy.cells.codes import GenotypeCodes
    from nni_privacy.patterns import list_patterns
    from nni_privacy.patterns.extraction import extract_patterns
    from nni_privacy.patterns.findings import ExtractionOptions

    if request.output.exists() and (not request.output.is_dir() or any(request.output.iterdir())):
        raise DataError(f"{request.output}: exists already; choose a new folder for the results")
    options = ExtractionOptions(high=request.high, low=request.low, resamples=request.resamples, seed=request.seed)
    fit = surrogate_fit(request.surrogate)
    data = read_measured(request.data)
    published = [pattern for pattern in list_patterns() if "Figure 7" in pattern.source]
    extraction = extract_patterns(
        GenotypeCodes.from_genotypes(data.genotypes),
        data.mia_auc,
        fit,
        options=options,
        assess=published,
        progress=_say,
    )
    _write(extraction, request, data)
    _print(extraction)
    print(f"report: {request.output / 'report.html'}")
    return 0


def surrogate_fit(name: str) -> Fit:
    """What fits a new surrogate called ``name``, and lets single edges correct it.

    Raises:
        ConfigError: if there is no such surrogate.
    """
    from nni_privacy.patterns.edge_regression import with_edge_correction
    from nni_privacy.surrogate import build_surrogate

    build_surrogate(name)

    def fit(codes: GenotypeCodes, auc: npt.NDArray[np.float64], seed: int) -> Predict:
        return build_surrogate(name).fit(codes, auc, seed=seed).predict

    return with_edge_correction(fit)


def _say(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def _write(extraction: Extraction, request: ExtractRequest, data: MIAData) -> None:
    """Writes all files, in one step."""
    from nni_privacy.patterns import write_pattern
    from nni_privacy.report.extraction_page import oi_csv, render_extraction

    name = request.data.name
    source = (
        f"extracted by nni-privacy from {name} ({len(data):,} architectures; AUC < {request.low} or > {request.high}), "
        f"surrogate {request.surrogate}, seed {request.seed}; effects are predicted"
    )
    facts = {"Data": f"{name}: {data.summary()}", "Surrogate": request.surrogate}
    page = render_extraction(extraction, title=f"Patterns of {name}", facts=facts)
    with new_folder(request.output) as draft:
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
