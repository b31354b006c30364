"""The command line, ``nni-privacy``. Every heavy import waits until its command runs, so that ``--help`` is instant."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from nni_privacy import __version__
from nni_privacy.commands.extract import add_extract
from nni_privacy.commands.surrogate import add_surrogate
from nni_privacy.errors import ConfigError, PrivacyError, RunStoppedError

__all__ = ["main"]

EXIT_BAD_INPUT = 2
EXIT_STOPPED = 3
EXIT_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error of the command line does."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        0 on success, 1 if every trial failed or something needed is missing, 2 for bad input, 3 if a fault of
        the machine stopped a run (it can be resumed), 130 if interrupted.
    """
    options = _parser().parse_args(arguments)
    # NNI 3.0 wraps every name of torch.nn as if it were a module, and warns of today's torch at each import.
    warnings.filterwarnings("ignore", message=".*is found to be not a nn.Module", category=RuntimeWarning)
    try:
        return int(options.run(options))
    except RunStoppedError as error:
        print(f"nni-privacy: {error}", file=sys.stderr)
        return EXIT_STOPPED
    except PrivacyError as error:
        print(f"nni-privacy: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="nni-privacy", description="Membership privacy in neural architecture search, for Microsoft NNI."
    )
    parser.add_argument("--version", action="version", version=f"nni-privacy {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    _add_search(commands)
    _add_measure(commands)
    _add_audit(commands)
    _add_patterns(commands)
    add_surrogate(commands)
    report = commands.add_parser("report", help="write report.html for a run directory")
    report.add_argument("directory", metavar="DIR", type=Path, help="a run directory")
    report.set_defaults(run=_report)
    doctor = commands.add_parser(
        "doctor", help="say what is installed, which repairs of NNI are active, what is missing"
    )
    doctor.set_defaults(run=_doctor)
    nnictl = commands.add_parser("nnictl", help="NNI's own command line, with the tokens of your running managers")
    nnictl.add_argument("words", metavar="...", nargs=argparse.REMAINDER, help="as after nnictl, e.g.: experiment list")
    nnictl.set_defaults(run=_nnictl)
    return parser


def _add_search(commands: Any) -> None:
    search = commands.add_parser("search", help="run a (constrained) search with audited trials and NNI's web UI")
    search.add_argument("config", metavar="CONFIG", type=Path, help="a YAML file")
    search.add_argument("--output", metavar="DIR", type=Path, help="the run directory (default: runs/NAME-TIME)")
    search.add_argument("--trials", metavar="N", type=int, help="instead of the configuration's number of trials")
    search.add_argument(
        "--port", metavar="P", type=int, default=8080, help="of the web UI on 127.0.0.1 (default: 8080)"
    )
    search.add_argument("--exit-when-done", action="store_true", help="do not keep the web UI up after the search")
    search.add_argument("--resume", action="store_true", help="go on with the interrupted run in DIR")
    _add_access(search)
    search.set_defaults(run=_search)


def _add_access(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", metavar="ADDRESS", help="open the web UI there, too, for whoever has its token")
    command.add_argument(
        "--no-token", action="store_true", help="let every user of this machine into the web UI (default: a token)"
    )


def _add_measure(commands: Any) -> None:
    measure = commands.add_parser("measure", help="train and attack architectures x data sets x seeds: a study")
    measure.add_argument("config", metavar="CONFIG", type=Path, help="a YAML file")
    measure.add_argument("--output", metavar="DIR", type=Path, help="the run directory (default: runs/NAME-TIME)")
    measure.add_argument("--resume", action="store_true", help="go on; also without it where DIR holds this study")
    measure.add_argument(
        "--data", nargs="*", default=[], metavar="LABEL=FILE.npz", help="take the images of a data set from a file"
    )
    measure.add_argument(
        "--port", metavar="P", type=int, default=8080, help="of the web UI on 127.0.0.1 (default: 8080)"
    )
    measure.add_argument("--exit-when-done", action="store_true", help="do not keep the web UI up at the end")
    _add_access(measure)
    measure.set_defaults(run=_measure)


def _add_audit(commands: Any) -> None:
    audit = commands.add_parser("audit", help="attack your own trained model with membership inference")
    needed = audit.add_argument_group("what to audit")
    needed.add_argument("--model", required=True, metavar="PACKAGE.MODULE:FACTORY", help="makes the untrained network")
    needed.add_argument("--weights", required=True, type=Path, metavar="FILE", help="a state dict: .pt, .safetensors")
    needed.add_argument("--members", required=True, type=Path, metavar="A.npz", help="records it was trained on")
    needed.add_argument("--nonmembers", required=True, type=Path, metavar="B.npz", help="records it never saw")
    needed.add_argument("--output", required=True, type=Path, metavar="DIR", help="a new folder for the results")
    audit.add_argument("--population", type=Path, metavar="C.npz", help="further records: shadow models, RMIA")
    audit.add_argument("--attacks", metavar="NAMES", default="black_box_partial,loss_threshold", help="by commas")
    audit.add_argument("--normalize", choices=("none", "members"), default="none", help="members: their statistics")
    audit.add_argument("--recipe", nargs="*", default=[], metavar="KEY=VALUE", help="how the target was trained")
    audit.add_argument("--shadows", type=int, default=4, metavar="N", help="reference models (lira, rmia)")
    audit.add_argument("--workers", type=int, default=0, metavar="N", help="processes that train shadow models")
    audit.add_argument("--effort", nargs="*", default=[], metavar="KEY=VALUE", help="views, boundary_records, ...")
    audit.add_argument("--plugins", nargs="*", default=[], metavar="MODULE", help="import these: your own attacks")
    audit.add_argument("--seed", type=int, default=0, metavar="S")
    audit.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    audit.add_argument("--allow-shared", action="store_true", help="accept images that are on both sides")
    audit.set_defaults(run=_audit)


def _add_patterns(commands: Any) -> None:
    patterns = commands.add_parser("patterns", help="list, show, apply and extract cell patterns")
    actions = patterns.add_subparsers(required=True, metavar="ACTION", title="actions")
    add_extract(actions)
    actions.add_parser("list", help="the patterns that ship with the package").set_defaults(run=_patterns_list)
    show = actions.add_parser("show", help="one pattern, edge by edge")
    show.set_defaults(run=_patterns_show)
    _add_pattern_name(show)
    apply = actions.add_parser("apply", help="write a pattern's first edges into genotypes, one a line")
    apply.set_defaults(run=_patterns_apply)
    _add_pattern_name(apply)
    apply.add_argument("--budget", metavar="M", type=int, default=4, help="number of edges (default: 4)")
    apply.add_argument(
        "file", metavar="FILE", help="one Genotype(...) or |op~0|+... a line, or CSV with a column genotype; - is stdin"
    )


def _add_pattern_name(action: argparse.ArgumentParser) -> None:
    action.add_argument("name", metavar="NAME", help="a shipped pattern, a family such as demotion, or a YAML file")
    action.add_argument("--cells", choices=("normal", "reduction", "dual"), help="which cells, where NAME is a family")


def _search(options: argparse.Namespace) -> int:
    from nni_privacy.commands.search import run_search

    return run_search(
        options.config,
        output=options.output,
        trials=options.trials,
        port=options.port,
        exit_when_done=options.exit_when_done,
        host=options.host,
        token=not options.no_token,
        resume=options.resume,
    )


def _measure(options: argparse.Namespace) -> int:
    from nni_privacy.commands.measure import run_measure

    data = {}
    for assignment in options.data:
        label, equals, path = assignment.partition("=")
        if not (label and equals and path):
            raise ConfigError(f"--data: {assignment!r}; expected LABEL=FILE.npz")
        data[label] = path
    return run_measure(
        options.config,
        output=options.output,
        data=data,
        resume=options.resume,
        port=options.port,
        exit_when_done=options.exit_when_done,
        host=options.host,
        token=not options.no_token,
    )


def _audit(options: argparse.Namespace) -> int:
    from nni_privacy.commands.audit import AuditRequest, parse_assignments, run_audit

    given = {key: value for key, value in vars(options).items() if key != "run"}
    given["attacks"] = tuple(name for name in given["attacks"].split(",") if name)
    for key in ("recipe", "effort"):
        given[key] = parse_assignments(given[key], option=f"--{key}")
    return run_audit(AuditRequest(**given))


def _patterns_list(options: argparse.Namespace) -> int:
    from nni_privacy.patterns import list_patterns

    for pattern in list_patterns():
        print(f"{pattern.name:<26} {pattern.cell:<10} {len(pattern)} edges  {pattern.source}")
    return 0


def _patterns_show(options: argparse.Namespace) -> int:
    from nni_privacy.cells.darts import CELL_TYPES
    from nni_privacy.patterns import load_pattern
    from nni_privacy.patterns.library import warn_unsupported

    pattern = load_pattern(options.name, cells=options.cells)
    print(pattern.name)
    for cell_type in CELL_TYPES:
        for position, edge in enumerate(pattern.edges_of(cell_type), start=1):
            print(f"  {cell_type:<10} {position}. {edge.source} -> {edge.target}  {edge.op}")
    warn_unsupported(pattern)
    return 0


def _patterns_apply(options: argparse.Namespace) -> int:
    from nni_privacy.cells.genotypes import read_genotypes
    from nni_privacy.patterns import load_pattern
    from nni_privacy.patterns.library import warn_unsupported

    pattern = load_pattern(options.name, cells=options.cells).first(options.budget)
    # All lines are read before the first is written: bad input leaves no half a result.
    lines = [str(pattern.apply(genotype)) for genotype in read_genotypes(options.file)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    warn_unsupported(pattern)
    return 0


def _report(options: argparse.Namespace) -> int:
    from nni_privacy.report import write_report

    print(write_report(options.directory))
    return 0


def _nnictl(options: argparse.Namespace) -> int:
    from nni_privacy.nni_runtime.nnictl import run_nnictl

    return run_nnictl(options.words)


def _doctor(options: argparse.Namespace) -> int:
    from nni_privacy.commands.doctor import print_examination

    return print_examination()


if __name__ == "__main__":
    sys.exit(main())
