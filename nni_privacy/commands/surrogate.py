"""The commands ``nni-privacy surrogate fit | predict | benchmark | search``.

``search`` orders random architectures by predicted AUC, with and without a pattern.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.options import add_command, add_plugins, parse_names
from nni_privacy.errors import ConfigError, GenotypeError
from nni_privacy.plugins import import_plugins

if TYPE_CHECKING:
    from nni_privacy.cells.genotypes import FoundGenotype
    from nni_privacy.patterns import Cells, Pattern
    from nni_privacy.surrogate import MIAData
    from nni_privacy.surrogate.benchmark import BenchmarkInfo, ModelScores
    from nni_privacy.surrogate.search import PredictedSearch

__all__ = ["add_surrogate", "read_measured"]

_DATA = "CSV with the columns genotype and mia_auc, run directories, or the authors' repository"


def add_surrogate(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    surrogate = add_command(
        commands,
        "surrogate",
        "predict an architecture's attack AUC without training it",
        "surrogate predict genotypes.txt",
        "surrogate fit measured.csv --output mine.npz",
    )
    actions = surrogate.add_subparsers(required=True, metavar="ACTION", title="actions")
    fit = add_command(
        actions,
        "fit",
        "learn from measured architectures",
        "surrogate fit measured.csv --output mine.npz",
        "surrogate fit runs/* --model ridge --output ridge.npz",
    )
    fit.add_argument("data", metavar="DATA", nargs="+", type=Path, help=_DATA)
    fit.add_argument("--output", required=True, type=Path, metavar="FILE", help="a new file for the surrogate (.npz)")
    fit.add_argument("--model", default="default", metavar="NAME", help="default, ridge, gin, ... (default: default)")
    fit.add_argument("--seed", type=int, default=0, metavar="S")
    fit.set_defaults(run=run_fit)
    predict = add_command(
        actions,
        "predict",
        "write the predicted (not measured) AUC of genotypes, one a line",
        "surrogate predict genotypes.txt",
        "surrogate predict --surrogate mine.npz - < genotypes.txt",
    )
    predict.add_argument(
        "file", metavar="FILE", help="any text with Genotype(...), or CSV with a column genotype; - is stdin"
    )
    predict.add_argument("--surrogate", type=Path, metavar="FILE", help="of `fit` (default: the one that ships)")
    predict.set_defaults(run=run_predict)
    for action in (fit, predict, _add_search(actions), _add_benchmark(actions)):
        add_plugins(action)


def _add_search(actions: Any) -> argparse.ArgumentParser:
    search = add_command(
        actions,
        "search",
        "order thousands of random architectures by predicted AUC",
        "surrogate search --output predicted/",
        "surrogate search --count 50000 --pattern demotion-reduction --output predicted/",
    )
    search.add_argument("--output", metavar="DIR", type=Path, required=True, help="a new folder for the results")
    search.add_argument("--surrogate", metavar="FILE", type=Path, help="of `fit` (default: the one that ships)")
    search.add_argument("--count", metavar="N", type=int, default=10_000, help="architectures (default: 10000)")
    search.add_argument("--pattern", metavar="NAME", help="search again with its edges fixed; a name or a YAML file")
    search.add_argument("--cells", choices=("normal", "reduction", "dual"), help="where --pattern is a family")
    search.add_argument("--budget", metavar="M", type=int, default=4, help="edges to fix (default: 4)")
    search.add_argument("--best", metavar="K", type=int, default=20, help="shown in the report (default: 20)")
    search.add_argument("--seed", metavar="S", type=int, default=0)
    search.set_defaults(run=run_search)
    return search


def _add_benchmark(actions: Any) -> argparse.ArgumentParser:
    compare = add_command(
        actions,
        "benchmark",
        "how well surrogates predict, over many random splits",
        "surrogate benchmark measured.csv",
        "surrogate benchmark measured.csv --models default,ridge --splits 10 --output out/",
    )
    compare.add_argument("data", metavar="DATA", nargs="+", type=Path, help=_DATA)
    compare.add_argument("--splits", type=int, default=30, metavar="N", help="10%% test each (default: 30)")
    compare.add_argument(
        "--models", metavar="NAMES", type=parse_names, default=(), help="by commas (default: all that need no extra)"
    )
    compare.add_argument("--output", type=Path, metavar="DIR", help="a new folder for table, scores and figure")
    compare.add_argument("--workers", type=int, default=1, metavar="N", help="processes of one thread (default: 1)")
    compare.add_argument("--seed", type=int, default=0, metavar="S")
    compare.set_defaults(run=run_benchmark)
    return compare


def run_fit(data: Sequence[Path], *, output: Path, model: str, seed: int, plugins: Sequence[str] = ()) -> int:
    """Fits a surrogate to measured architectures and writes it to a new file.

    Raises:
        PrivacyError: if the input is not valid; nothing has been written then.
    """
    from nni_privacy.schema import Seed, checked
    from nni_privacy.surrogate import build_surrogate

    _quiet()
    import_plugins(plugins)
    checked(Seed, seed, "--seed")
    if output.exists():
        raise ConfigError(f"output: {output} exists; name a new file")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"output: {output.absolute().parent} is not a folder")
    surrogate = build_surrogate(model)
    measured = read_measured(data)
    surrogate.fit(measured.genotypes, measured.mia_auc, seed=seed).save(output)
    print(f"{measured.summary()}\n{model}: {output}")
    return 0


def run_predict(file: str, *, surrogate: Path | None, plugins: Sequence[str] = ()) -> int:
    """Prints the predicted AUC of the genotypes in ``file`` (``-``: standard input), one per line.

    Raises:
        PrivacyError: if the input is not valid; nothing has been printed then.
    """
    from nni_privacy.cells.genotypes import locate_genotypes
    from nni_privacy.surrogate import load_surrogate

    _quiet()
    import_plugins(plugins)
    model = load_surrogate(surrogate)
    found = locate_genotypes(file)
    _check_space(found)
    try:
        predicted = model.predict([one.genotype for one in found])
    except GenotypeError as error:
        raise GenotypeError(f"{found[0].where}: {error}") from None
    sys.stdout.write("".join(f"{value:.6f}\n" for value in predicted.tolist()))
    sys.stdout.flush()
    return 0


def _check_space(found: Sequence[FoundGenotype]) -> None:
    """Says which genotype is none that a surrogate can know; with what number of nodes, the surrogate says itself."""
    from nni_privacy.cells.darts import Genotype
    from nni_privacy.cells.spaces import space_of

    first = found[0].genotype
    for number, one in enumerate(found, start=1):
        if not isinstance(one.genotype, Genotype) or not isinstance(first, Genotype):
            raise GenotypeError(
                f"{one.file}: genotype {number} is of {space_of(one.genotype).title}; "
                f"surrogates know architectures of the DARTS space only (line {one.line})"
            )
        if one.genotype.nodes != first.nodes:
            raise GenotypeError(
                f"{one.file}: genotype {number} has {one.genotype.nodes} intermediate nodes, the first {first.nodes} "
                f"(line {one.line}); a surrogate knows cells of one size"
            )


def run_benchmark(
    data: Sequence[Path],
    *,
    splits: int,
    models: Sequence[str],
    output: Path | None,
    workers: int,
    seed: int,
    plugins: Sequence[str] = (),
) -> int:
    """Compares surrogates (by default all that need no extra) over random splits of measured architectures.

    Prints the table; writes it with scores and a figure where ``output`` names a new or empty folder.

    Raises:
        PrivacyError: if the input is not valid; nothing has been written then.
    """
    from nni_privacy.runs.directory import RunDirectory
    from nni_privacy.schema import Seed, checked
    from nni_privacy.surrogate.base import surrogates_without_extra
    from nni_privacy.surrogate.benchmark import benchmark, benchmark_table

    _quiet()
    import_plugins(plugins)
    checked(Seed, seed, "--seed")
    if output is not None:
        RunDirectory.check_free(output.absolute())
    measured = read_measured(data)
    print(measured.summary(), flush=True)
    names = models or surrogates_without_extra()
    info = benchmark(measured, names, splits=splits, seed=seed, workers=workers, observe=_report_progress)
    table = benchmark_table(info)
    sys.stdout.write(table)
    if output is not None:
        _write_benchmark(output, info, table)
    return 0


def _report_progress(model: ModelScores) -> None:
    """The table comes at the end, maybe after many minutes; standard error says how it goes."""
    scores = f"R2 {model.mean('r2'):.3f}, Spearman {model.mean('spearman'):.3f}"
    print(f"{model.name}: {scores}, {model.seconds.mean():.1f} s a split", file=sys.stderr, flush=True)


def _write_benchmark(folder: Path, info: BenchmarkInfo, table: str) -> None:
    from nni_privacy.files import new_folder
    from nni_privacy.report.surrogate_figure import benchmark_svg
    from nni_privacy.surrogate.benchmark import scores_csv

    contents = {"md": table, "csv": scores_csv(info), "svg": f"{benchmark_svg(info)}\n"}
    with new_folder(folder) as draft:
        for suffix, text in contents.items():
            (draft / f"surrogates.{suffix}").write_text(text, encoding="utf-8")
    print(f"written: {', '.join(str(folder / f'surrogates.{suffix}') for suffix in contents)}")


def read_measured(paths: Path | Sequence[Path]) -> MIAData:
    """The data; what is odd about them is said in a line of its own."""
    from nni_privacy.surrogate import read_mia_data
    from nni_privacy.surrogate.data import DuplicateArchitectureWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DuplicateArchitectureWarning)
        data = read_mia_data(paths)
    for warning in caught:
        print(f"nni-privacy: warning: {warning.category.__name__}: {warning.message}", file=sys.stderr)
    return data


def _quiet() -> None:
    """torch_geometric compiles something at its import in a way that torch warns of."""
    warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)


def run_search(
    *,
    output: Path,
    surrogate: Path | None,
    count: int,
    pattern: str | None,
    cells: Cells | None,
    budget: int,
    best: int,
    seed: int,
    plugins: Sequence[str] = (),
) -> int:
    """Orders ``count`` random architectures by predicted AUC, with and without the edges of a pattern.

    Writes ``architectures.csv`` and ``report.html`` and prints the best. The keywords are the command's options.

    Raises:
        PrivacyError: if the input is not valid; nothing has been written then.
    """
    from nni_privacy.patterns import load_pattern
    from nni_privacy.patterns.library import warn_unsupported
    from nni_privacy.runs.directory import RunDirectory
    from nni_privacy.schema import Count, checked
    from nni_privacy.surrogate import load_surrogate
    from nni_privacy.surrogate.search import search_predicted

    RunDirectory.check_free(output.absolute())
    import_plugins(plugins)
    checked(Count, best, "best")
    if cells is not None and pattern is None:
        raise ConfigError("cells: without a pattern it has no meaning; add --pattern")
    patterns: list[Pattern | None] = [None]
    if pattern is not None:
        fixed = load_pattern(pattern, cells=cells).first(budget)
        warn_unsupported(fixed)
        patterns.append(fixed)
    model = load_surrogate(surrogate)
    searches = [search_predicted(model, count=count, pattern=one, seed=seed) for one in patterns]
    facts = {
        "Surrogate": str(surrogate or "the one that ships"),
        "Architectures": f"{count:,} random ones a search, the same before the pattern's edges are fixed",
        "Seed": str(seed),
    }
    _write_search(output, searches, facts, best=best)
    return 0


def _write_search(output: Path, searches: Sequence[PredictedSearch], facts: Mapping[str, str], *, best: int) -> None:
    from nni_privacy.files import new_folder
    from nni_privacy.report.predicted_page import group_of_search, render_predicted_search
    from nni_privacy.surrogate.search import predicted_csv

    groups = [group_of_search(search, best=best) for search in searches]
    facts = {**facts, "Time": ", ".join(f"{group.name}: {group.seconds:.1f} s" for group in groups)}
    page = render_predicted_search(groups, title="Search on predicted AUC", facts=facts)
    with new_folder(output) as draft:
        (draft / "architectures.csv").write_text(predicted_csv(searches), encoding="utf-8")
        (draft / "report.html").write_text(page, encoding="utf-8")
    for group in groups:
        first, auc = group.best[0], group.predicted_mia_auc
        print(
            f"PREDICTED, {group.name}: {len(auc)} architectures in {group.seconds:.1f} s, "
            f"lowest AUC {first.predicted_mia_auc:.4f} ± {first.predicted_sd:.4f}, mean {auc.mean():.4f}"
        )
    print(f"report: {output / 'report.html'}")
