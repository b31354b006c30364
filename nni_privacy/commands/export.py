"""The command ``nni-privacy export``: a trial's model as files that can be used, and released, without this package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.gates import Gate, add_gate
from nni_privacy.commands.options import ExitCode, add_command, add_plugins

if TYPE_CHECKING:
    from nni_privacy.runs.records import RunInfo, TrialRecord

__all__ = ["add_export", "run_export"]


def add_export(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    export = add_command(
        commands,
        "export",
        "write a trial's model: weights, code of plain torch, model card",
        "export runs/mine --output released/",
        "export runs/mine --trial aBcDe --output released/ --onnx",
        "export runs/mine --trial front --output front/",
        'export runs/mine --output released/ --fail-if "mia_auc_high > 0.65"',
    )
    export.add_argument("directory", metavar="RUN", type=Path, help="the run directory of a search or study")
    export.add_argument(
        "--trial",
        metavar="ID",
        default="best",
        help="of which trial, by id or number; best (the default: by confirmed numbers where there are some, else the "
        "most accurate that keeps the constraints), or front: of all on the Pareto front",
    )
    export.add_argument("--output", required=True, metavar="DIR", type=Path, help="a new folder")
    export.add_argument("--onnx", action="store_true", help="write model.onnx, too")
    export.add_argument("--torchscript", action="store_true", help="write model.torchscript.pt, too")
    export.add_argument("--torch-export", action="store_true", help="write model.pt2 (torch.export), too")
    add_gate(export)
    add_plugins(export)
    export.set_defaults(run=run_export)


def run_export(
    directory: Path,
    *,
    trial: str,
    output: Path,
    plugins: list[str],
    fail_if: Sequence[str] = (),
    junit: Path | None = None,
    **formats: bool,
) -> ExitCode:
    """Exports the model of a trial, or of several each into its own folder, and prints where it is.

    Of several, those that an interrupted export has finished are left as they are. Where a condition of ``fail_if``
    holds for one of them, by confirmed numbers where there are some, nothing is exported, and the exit code is 4.

    Raises:
        PrivacyError: if there is no such run or trial, its weights were not kept, or the folder is not empty.
    """
    from nni_privacy.plugins import import_plugins
    from nni_privacy.release.export import FRONT, choose_trials, export_trial, known_metrics, released_metrics
    from nni_privacy.runs.confirmed import CONFIRM, CONFIRMED
    from nni_privacy.runs.models import RECORD_FILE
    from nni_privacy.runs.records import read_run

    import_plugins(plugins)
    run = read_run(directory)
    chosen = choose_trials(run, trial)
    gate = Gate.of(fail_if, junit, known=known_metrics(run, chosen))
    closed = gate.judge({_named(run, one): released_metrics(run, one) for one in chosen}, command="export")
    if closed:
        return closed
    if not (run.directory / CONFIRMED).is_file() and (run.directory / CONFIRM).is_dir():
        print(f"note: its confirmation is not finished; nni-privacy confirm {run.directory} goes on", flush=True)
    wanted = [name for name, asked in formats.items() if asked]
    for one in chosen:
        folder = output / one.trial if trial == FRONT else output
        if trial != FRONT or not (folder / RECORD_FILE).is_file():
            export_trial(run, one, folder, formats=wanted)
        measured = {"accuracy": one.accuracy, "AUC": one.mia_auc}
        told = ", ".join(f"{name} {value:.4f}" for name, value in measured.items() if value is not None)
        print(f"trial {one.trial}{f' ({told})' if told else ''}: {folder}", flush=True)
    return ExitCode.DONE


def _named(run: RunInfo, trial: TrialRecord) -> str:
    """A trial, and whose numbers it is judged by."""
    from nni_privacy.runs.confirmed import read_confirmed

    confirmed = read_confirmed(run.directory)
    found = confirmed is not None and confirmed.of(trial.trial) is not None
    return f"trial {trial.trial}, {'confirmed means' if found else 'as measured once by the search'}"
