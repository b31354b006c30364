"""The commands ``nni-privacy surrogate fit | predict | benchmark``; ``search`` has a file of its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.errors import ConfigError, GenotypeError
from nni_privacy.predicted_command import add_predicted_search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nni_privacy.genotypes import AnyGenotype
    from nni_privacy.surrogate import MIAData
    from nni_privacy.surrogate.benchmark import BenchmarkInfo, ModelScores

__all__ = ["add_surrogate", "read_measured"]

_DATA = "CSV with the columns genotype and mia_auc, run directories, or the authors' repository"


def add_surrogate(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    surrogate = commands.add_parser("surrogate", help="predict an architecture's attack AUC without training it")
    actions = surrogate.add_subparsers(required=True, metavar="ACTION", title="actions")
    fit = actions.add_parser("fit", help="learn from measured architectures")
    fit.add_argument("data", metavar="DATA", nargs="+", type=Path, help=_DATA)
    fit.add_argument("--output", required=True, type=Path, metavar="FILE", help="a new file for the surrogate (.npz)")
    fit.add_argument("--model", default="default", metavar="NAME", help="default, ridge, gin, ... (default: default)")
    fit.add_argument("--seed", type=int, default=0, metavar="S")
    fit.set_defaults(run=_fit)
    predict = actions.add_parser("predict", help="write the predicted (not measured) AUC of genotypes, one a line")
    predict.add_argument("file", metavar="FILE", help="one Genotype(...) a line, or CSV with genotype; - is stdin")
    predict.add_argument("--surrogate", type=Path, metavar="FILE", help="of `fit` (default: the one that ships)")
    predict.set_defaults(run=_predict)
    add_predicted_search(actions)
    compare = actions.add_parser("benchmark", help="how well surrogates predict, over many random splits")
    compare.add_argument("data", metavar="DATA", nargs="+", type=Path, help=_DATA)
    compare.add_argument("--splits", type=int, default=30, metavar="N", help="10%% test each (default: 30)")
    compare.add_argument("--models", metavar="NAMES", help="by commas (default: all that need no extra)")
    compare.add_argument("--output", type=Path, metavar="DIR", help="a new folder for table, scores and figure")
    compare.add_argument("--workers", type=int, default=1, metavar="N", help="processes of one thread (default: 1)")
    compare.add_argument("--seed", type=int, default=0, metavar="S")
    compare.set_defaults(run=_benchmark)


def _fit(options: argparse.Namespace) -> int:
    from nni_privacy.surrogate import build_surrogate

    _quiet()
    _check_seed(options.seed)
    output: Path = options.output
    if output.exists():
        raise ConfigError(f"output: {output} exists; name a new file")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"output: {output.absolute().parent} is not a folder")
    surrogate = build_surrogate(options.model)
    data = read_measured(options.data)
    surrogate.fit(data.genotypes, data.mia_auc, seed=options.seed).save(output)
    print(f"{data.summary()}\n{options.model}: {output}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from nni_privacy.genotype_files import read_genotypes
    from nni_privacy.surrogate import load_surrogate

    _quiet()
    surrogate = load_surrogate(options.surrogate)
    genotypes = read_genotypes(options.file)
    _check_space(genotypes, file=options.file)
    predicted = surrogate.predict(genotypes)
    sys.stdout.write("".join(f"{value:.6f}\n" for value in predicted.tolist()))
    sys.stdout.flush()
    return 0


def _check_space(genotypes: Sequence[AnyGenotype], *, file: str) -> None:
    """Says which genotype is none that a surrogate can know; with what number of nodes, the surrogate says itself."""
    from nni_privacy.cells import Genotype

    name, first = "standard input" if file == "-" else file, genotypes[0]
    for number, genotype in enumerate(genotypes, start=1):
        if not isinstance(genotype, Genotype) or not isinstance(first, Genotype):
            raise GenotypeError(
                f"{name}: genotype {number} is of NAS-Bench-201; surrogates know architectures of the DARTS space only"
            )
        if genotype.nodes != first.nodes:
            raise GenotypeError(
                f"{name}: genotype {number} has {genotype.nodes} intermediate nodes, the first {first.nodes}; "
                "a surrogate knows cells of one size"
            )


def _benchmark(options: argparse.Namespace) -> int:
    from nni_privacy.nni_runtime.run_directory import RunDirectory
    from nni_privacy.surrogate.benchmark import benchmark
    from nni_privacy.surrogate.benchmark_table import benchmark_table
    from nni_privacy.surrogate.registry import surrogates_without_extra

    _quiet()
    _check_seed(options.seed)
    if options.output is not None:
        RunDirectory.check_free(options.output.absolute())
    names = [name for name in (options.models or "").split(",") if name] or surrogates_without_extra()
    data = read_measured(options.data)
    print(data.summary(), flush=True)
    info = benchmark(
        data, names, splits=options.splits, seed=options.seed, workers=options.workers, observe=_report_progress
    )
    table = benchmark_table(info)
    sys.stdout.write(table)
    if options.output is not None:
        _write(options.output, info, table)
    return 0


def _report_progress(model: ModelScores) -> None:
    """The table comes at the end, maybe after many minutes; standard error says how it goes."""
    scores = f"R2 {model.mean('r2'):.3f}, Spearman {model.mean('spearman'):.3f}"
    print(f"{model.name}: {scores}, {model.seconds.mean():.1f} s a split", file=sys.stderr, flush=True)


def _write(folder: Path, info: BenchmarkInfo, table: str) -> None:
    from nni_privacy.report.surrogate_figure import benchmark_svg
    from nni_privacy.surrogate.benchmark import scores_csv

    contents = {
        "surrogates.md": table,
        "surrogates.csv": scores_csv(info),
        "surrogates.svg": benchmark_svg(info) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"output: {folder}: {error.strerror or error}") from None
    print(f"written: {', '.join(str(folder / name) for name in contents)}")


def read_measured(paths: Path | Sequence[Path]) -> MIAData:
    """The data; what is odd about them is said in a line of its own."""
    import warnings

    from nni_privacy.surrogate import read_mia_data
    from nni_privacy.surrogate.mia_data import DuplicateArchitectureWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DuplicateArchitectureWarning)
        data = read_mia_data(paths)
    for warning in caught:
        print(f"nni-privacy: warning: {warning.category.__name__}: {warning.message}", file=sys.stderr)
    return data


def _quiet() -> None:
    """torch_geometric compiles something at its import in a way that torch warns of."""
    import warnings

    warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise ConfigError(f"--seed: {seed}; allowed is a whole number from 0 up")
