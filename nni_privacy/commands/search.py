"""The command ``nni-privacy search``: a search from a configuration file to its report.

Where the evaluator only predicts, the search runs in this process, without NNI's manager and its web UI: a prediction
takes milliseconds and a trial of NNI's manager seconds, so thousands of them would take hours there.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.options import ExitCode, add_access, add_command, add_configuration, add_web_ui
from nni_privacy.errors import ConfigError, PrivacyError
from nni_privacy.nni_runtime.surroundings import put_outer_trial_aside
from nni_privacy.plugins import plugin_faults

if TYPE_CHECKING:
    from nni.nas.execution.event import FinalMetricEvent, TrainingEndEvent
    from nni.nas.space import SimplifiedModelSpace
    from nni.nas.strategy import Strategy

    from nni_privacy.commands.session import Session
    from nni_privacy.config import ConfirmConfig, SearchConfig
    from nni_privacy.evaluator import PrivacyEvaluator
    from nni_privacy.runs.directory import RunDirectory
    from nni_privacy.runs.epochs import EpochRecord
    from nni_privacy.search_spaces.space import CellSpace

__all__ = ["add_search", "run_search"]


def add_search(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    search = add_command(
        commands,
        "search",
        "run a (constrained) search with audited trials and NNI's web UI",
        "search experiments/quickstart.yaml",
        "search search.yaml --dry-run",
        "search search.yaml --output runs/mine --trials 40 --exit-when-done",
        "search search.yaml --output runs/mine --resume",
    )
    add_configuration(search)
    search.add_argument("--trials", metavar="N", type=int, help="instead of the configuration's number of trials")
    add_web_ui(search, end="after the search")
    search.add_argument("--resume", action="store_true", help="go on with the interrupted run in DIR")
    add_access(search)
    search.set_defaults(run=run_search)


def run_search(
    config: str | Path,
    *,
    output: str | Path | None = None,
    trials: int | None = None,
    resume: bool = False,
    dry_run: bool = False,
    **web_ui: Any,
) -> ExitCode:
    """Runs the search that the configuration file describes, writes its report, and keeps the web UI up until Ctrl-C.

    Everything that can be wrong with the input is found before anything is written or started.

    Args:
        config: path of the YAML file.
        output: the run directory; by default ``runs/<name>-<time>``.
        trials: instead of the configuration's; of a run that is resumed, as many as before or more.
        resume: go on with the interrupted run in ``output``.
        dry_run: check everything, say what would run, and write nothing.
        **web_ui: ``port``, ``exit_when_done``, ``host``, ``token``; see :class:`~nni_privacy.commands.session.Session`.

    Returns:
        0, 1 if no trial succeeded, 130 if interrupted.

    Raises:
        PrivacyError: if the input is not valid, or ``output`` does not hold the run to resume.
        RunStoppedError: if a fault of the machine ends the run.
    """
    put_outer_trial_aside()
    from nni_privacy.commands.session import Session, run_folder
    from nni_privacy.config import load_config

    settings = load_config(config, trials=trials)
    directory = run_folder(output, settings.name)
    command = ["search", str(config), *([] if trials is None else ["--trials", str(trials)])]
    session = Session(
        settings=settings, directory=directory, trials=settings.trials, resume=resume, command=command, **web_ui
    )
    _check(settings, session, output)
    if dry_run:
        return _plan_predicted(settings, session) if settings.predicted else _plan_measured(settings, session)
    return _search_predicted(settings, directory) if settings.predicted else _search_measured(settings, session)


def _check(settings: SearchConfig, session: Session, output: str | Path | None) -> None:
    """Raises ConfigError unless the search can be started, or gone on with, where it is to be."""
    from nni_privacy.commands.session import check_resumable
    from nni_privacy.runs.directory import RunDirectory

    chosen = settings.strategy.checked
    with plugin_faults(f"strategy {settings.strategy.name!r}", type(chosen)):
        read = chosen.metrics_read()
    for option, metrics in read.items():
        settings.check_metrics(metrics, option=f"strategy.{option}")
    if session.resume:
        check_resumable(settings, output)
    elif RunDirectory.holds_run(session.directory):
        raise ConfigError(f"output: {session.directory} holds a run; go on with it by --resume, or name a new folder")
    else:
        RunDirectory.check_free(session.directory)
    if settings.predicted and session.host is not None:
        raise ConfigError(f"host: {session.host!r}; with evaluator.kind: predicted there is no web UI to open")
    session.check()


# --- a search whose trials are trained and attacked ---


def _search_measured(settings: SearchConfig, session: Session) -> ExitCode:
    options = settings.confirm
    if session.conclude_complete():
        return ExitCode.DONE if options is None else _confirm(settings, options, session)
    with session.opened():
        experiment = session.experiment(*_build_parts(settings, session, on_epoch=session.progress.on_epoch))
        finished = session.run_to_end(experiment)
    code = session.conclude(experiment, finished=finished, keep_up=options is None)
    return code if options is None or code != ExitCode.DONE else _confirm(settings, options, session)


def _confirm(settings: SearchConfig, options: ConfirmConfig, session: Session) -> ExitCode:
    """Goes on with what confirms a search that is finished, at the same address."""
    from nni_privacy.commands.confirm import confirm_search

    access = getattr(session, "access", None)  # of a search that had been finished before there is none
    return confirm_search(
        settings,
        session.directory,
        options,
        command=session.command,
        place=["--output", str(session.directory), "--resume"],
        port=session.port,
        host=session.host,
        token=session.token,
        exit_when_done=session.exit_when_done,
        page=None if access is None else access.token,
    )


def _build_parts(
    settings: SearchConfig, session: Session, *, on_epoch: Callable[[EpochRecord], None] | None = None
) -> tuple[CellSpace[Any], PrivacyEvaluator, Strategy]:
    """Space, evaluator and strategy; the data has been loaded, and attacks of plugins have been called."""
    from nni_privacy.attacks.dry_call import call_dry
    from nni_privacy.commands.build import build_evaluator, build_search_strategy, build_space, check_split

    evaluator = build_evaluator(settings)
    data, split = evaluator.load_data()
    check_split(split, name=data.name)
    further = () if settings.confirm is None else settings.confirm.attacks
    attacks = list(dict.fromkeys((*settings.evaluator.attacks, *further)))
    call_dry(attacks, classes=data.num_classes, seed=settings.seed)
    space = build_space(settings, data)
    folder, shape = session.directory / "search", data.image_shape
    strategy = build_search_strategy(settings, folder=folder, on_epoch=on_epoch, image_shape=shape)
    return space, evaluator, strategy


def _plan_measured(settings: SearchConfig, session: Session) -> ExitCode:
    """Prints what would be run, after all checks; writes nothing."""
    from nni_privacy.commands.dry_run import search_plan, without_downloads

    with without_downloads([settings.dataset] if settings.dataset is not None else []):
        space, evaluator, strategy = _build_parts(settings, session)
    session.check_parts(space, evaluator, strategy)
    print(search_plan(settings, evaluator), session.plan_of_run(), sep="\n")
    return ExitCode.DONE


def _plan_predicted(settings: SearchConfig, session: Session) -> ExitCode:
    from nni_privacy.commands.dry_run import search_plan

    _build_predicted(settings, session.directory)
    print(search_plan(settings), f"  {'results':<14} {session.directory}", sep="\n")
    return ExitCode.DONE


# --- a search whose trials are predicted ---


def _search_predicted(settings: SearchConfig, directory: Path) -> ExitCode:
    """Runs the search and writes its run directory, in which every AUC is called predicted.

    Raises:
        PrivacyError: if the surrogate cannot be read or cannot predict the space; nothing has been written then.
    """
    from nni_privacy.report import read_run, write_report
    from nni_privacy.report.feasibility import feasibility_info
    from nni_privacy.runs.directory import RunDirectory, describe_environment

    space, strategy, fixed = _build_predicted(settings, directory)
    recorder = _PredictionRecorder(RunDirectory(directory), settings.trials)
    recorder.run.create(settings.resolved(), describe_environment(seed=settings.seed, fixed_edges=fixed))
    print(
        f"{settings.name}: {settings.trials} trials are PREDICTED, none is trained; results in {directory}", flush=True
    )
    finished = _run_predicted(settings, strategy, space, recorder)
    lowest = "-" if recorder.lowest is None else f"{recorder.lowest:.4f}"
    report, word = write_report(directory), "done" if finished else "interrupted"
    feasible = feasibility_info(read_run(directory))
    print(
        f"{word}: {recorder.count} trials, lowest PREDICTED AUC {lowest} (not measured); report: {report}", flush=True
    )
    if feasible is not None:
        print(feasible.sentence, flush=True)
    return ExitCode.DONE if finished else ExitCode.INTERRUPTED


def _build_predicted(settings: SearchConfig, directory: Path) -> tuple[SimplifiedModelSpace, Any, dict[str, Any]]:
    """The space with its evaluator, the strategy, and the edges that a pattern fixes."""
    from nni.nas.space import SimplifiedModelSpace

    from nni_privacy.commands.build import build_search_strategy, build_space
    from nni_privacy.nni_runtime.experiment import fit_parts
    from nni_privacy.surrogate.evaluator import PredictedEvaluator

    evaluator, space = PredictedEvaluator(settings.evaluator.surrogate), build_space(settings)
    strategy = build_search_strategy(settings, folder=directory / "search")
    fixed = fit_parts(space, evaluator, strategy)
    return SimplifiedModelSpace.from_model(space, evaluator), strategy, fixed


def _run_predicted(
    settings: SearchConfig, strategy: Any, space: SimplifiedModelSpace, recorder: _PredictionRecorder
) -> bool:
    """Whether the search ran to its end."""
    import nni
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.execution.event import ModelEventType

    from nni_privacy.commands.interrupts import interruptible
    from nni_privacy.commands.session import strategy_faults
    from nni_privacy.report import write_report

    nni.silence_stdout()
    logging.getLogger("nni").addHandler(logging.NullHandler())  # else its warnings, a page long, end on the screen
    engine = SequentialExecutionEngine(max_model_count=recorder.trials)
    engine.register_model_event_callback(ModelEventType.FinalMetric, recorder.on_metric)
    engine.register_model_event_callback(ModelEventType.TrainingEnd, recorder.on_end)
    try:
        with interruptible(), strategy_faults(settings):
            strategy(space, engine)
    except KeyboardInterrupt:
        return False
    except PrivacyError:
        write_report(recorder.run.path)  # what there is before a filter lets nothing through
        raise
    return True


class _PredictionRecorder:
    """Writes every prediction to the run directory, and shows how far the search is where there is a screen."""

    def __init__(self, run: RunDirectory, trials: int) -> None:
        self.count = 0
        self.lowest: float | None = None
        self.run = run
        self.trials = trials
        self._reported: dict[str, Any] = {}

    def on_metric(self, event: FinalMetricEvent) -> None:
        """Keeps what a trial reports until it ends; the engine itself keeps only one number of it."""
        self._reported = dict(event.metric)

    def on_end(self, event: TrainingEndEvent) -> None:
        """Appends the trial, unless it was interrupted before it could report."""
        from nni_privacy.runs.records import TrialRecord

        reported, self._reported = self._reported, {}
        if not reported:
            return
        metrics = {key: reported[key] for key in ("predicted_mia_auc", "predicted_mia_auc_sd")}
        name, architecture = f"predicted-{self.count:05}", reported["architecture"]
        factors = json.loads(reported.get("factors", "{}"))
        record = TrialRecord(name, self.count, "succeeded", architecture, metrics, reported["seconds"], factors=factors)
        self.run.append(record)
        self.count += 1
        auc = metrics["predicted_mia_auc"]
        self.lowest = auc if self.lowest is None else min(self.lowest, auc)
        if sys.stderr.isatty():
            line = f"{self.count}/{self.trials} trials  lowest PREDICTED AUC {self.lowest:.4f}"
            print(f"\r\x1b[K{line}", end="" if self.count < self.trials else "\n", file=sys.stderr, flush=True)
