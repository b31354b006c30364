"""``nni-privacy surrogate search``: random architectures ordered by predicted AUC, with and without a pattern."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.errors import ConfigError

if TYPE_CHECKING:
    from nni_privacy.predicted_search import PredictedSearch
    from nni_privacy.report.predicted_infos import PredictedGroup

__all__ = ["PredictedRequest", "add_predicted_search", "run_predicted_search"]


@dataclass(frozen=True, kw_only=True)
class PredictedRequest:
    """The arguments of the command.

    Attributes:
        output: a new or empty folder for the results.
        surrogate: file of a fitted surrogate; by default the one that ships.
        count: architectures to draw for each search.
        pattern: name or YAML file of a pattern for a second search; by default there is none.
        cells: which cells, where ``pattern`` is a family.
        budget: how many of the pattern's edges to fix.
        best: how many architectures of either search the report shows.
        seed: of the draw.
    """

    output: Path
    surrogate: Path | None = None
    count: int = 10_000
    pattern: str | None = None
    cells: str | None = None
    budget: int = 4
    best: int = 20
    seed: int = 0


def add_predicted_search(actions: Any) -> None:
    """Adds the command to the parser of ``surrogate``."""
    search = actions.add_parser("search", help="order thousands of random architectures by predicted AUC")
    search.add_argument("--output", metavar="DIR", type=Path, required=True, help="a new folder for the results")
    search.add_argument("--surrogate", metavar="FILE", type=Path, help="of `fit` (default: the one that ships)")
    search.add_argument("--count", metavar="N", type=int, default=10_000, help="architectures (default: 10000)")
    search.add_argument("--pattern", metavar="NAME", help="search again with its edges fixed; a name or a YAML file")
    search.add_argument("--cells", choices=("normal", "reduction", "dual"), help="where --pattern is a family")
    search.add_argument("--budget", metavar="M", type=int, default=4, help="edges to fix (default: 4)")
    search.add_argument("--best", metavar="K", type=int, default=20, help="shown in the report (default: 20)")
    search.add_argument("--seed", metavar="S", type=int, default=0)
    search.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return run_predicted_search(
        PredictedRequest(**{key: value for key, value in vars(options).items() if key != "run"})
    )


def run_predicted_search(request: PredictedRequest) -> int:
    """Searches, writes ``architectures.csv`` and ``report.html``, and prints a line for each search.

    Raises:
        PrivacyError: if the input is not valid; nothing has been written then.
    """
    from nni_privacy.nni_runtime.run_directory import RunDirectory
    from nni_privacy.patterns import load_pattern
    from nni_privacy.patterns.library import warn_unsupported
    from nni_privacy.predicted_search import search_predicted
    from nni_privacy.report.predicted_infos import group_of_search
    from nni_privacy.surrogate import load_surrogate

    RunDirectory.check_free(request.output.absolute())
    if request.best < 1:
        raise ConfigError(f"best: {request.best}; allowed is a whole number of at least 1")
    if request.cells is not None and request.pattern is None:
        raise ConfigError("cells: without a pattern it has no meaning; add --pattern")
    patterns: list[Any] = [None]
    if request.pattern is not None:
        cells: Any = request.cells
        patterns.append(load_pattern(request.pattern, cells=cells).first(request.budget))
        warn_unsupported(patterns[-1])
    surrogate = load_surrogate(request.surrogate)
    searches = [
        search_predicted(surrogate, count=request.count, pattern=pattern, seed=request.seed) for pattern in patterns
    ]
    groups = [group_of_search(search, best=request.best) for search in searches]
    _write(request, searches, groups)
    for group in groups:
        best, auc = group.best[0], group.predicted_mia_auc
        print(
            f"PREDICTED, {group.name}: {len(auc)} architectures in {group.seconds:.1f} s, "
            f"lowest AUC {best.predicted_mia_auc:.4f} ± {best.predicted_sd:.4f}, mean {auc.mean():.4f}"
        )
    print(f"report: {request.output / 'report.html'}")
    return 0


def _write(request: PredictedRequest, searches: list[PredictedSearch], groups: list[PredictedGroup]) -> None:
    from nni_privacy.new_folder import new_folder
    from nni_privacy.predicted_search import predicted_csv
    from nni_privacy.report.predicted_page import render_predicted_search

    facts = {
        "Surrogate": "the one that ships" if request.surrogate is None else os.fspath(request.surrogate),
        "Architectures": f"{request.count:,} random ones a search, the same before the pattern's edges are fixed",
        "Seed": str(request.seed),
        "Time": ", ".join(f"{group.name}: {group.seconds:.1f} s" for group in groups),
    }
    page = render_predicted_search(groups, title="Search on predicted AUC", facts=facts)
    with new_folder(request.output) as draft:
        (draft / "architectures.csv").write_text(predicted_csv(searches), encoding="utf-8")
        (draft / "report.html").write_text(page, encoding="utf-8")
