"""The command ``nni-privacy confirm``: the best architectures of a search are trained anew, and reported by that alone.

The trainings are a study of their own, in the folder ``confirm`` of the search's run directory: engine, web UI, journal
and resumption are those of every other run. So the search's own files stay what they are, and nothing that picks or
counts its trials has to tell them from what confirms them. A search that is configured to be confirmed goes on with it
in the same command, at the same address of the web UI.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.gates import Gate, add_gate, audit_metrics
from nni_privacy.commands.options import ExitCode, add_access, add_command, add_web_ui, parse_names
from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime.surroundings import put_outer_trial_aside

if TYPE_CHECKING:
    from nni_privacy.config import ConfirmConfig, SearchConfig
    from nni_privacy.runs.confirmed import Confirmed, ConfirmedArchitecture
    from nni_privacy.studies.config import StudyConfig

__all__ = ["add_confirm", "confirm_search", "confirmed_lines", "run_confirm"]


def add_confirm(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    confirm = add_command(
        commands,
        "confirm",
        "train the best architectures of a search anew, with fresh seeds and stronger attacks",
        "confirm runs/mine",
        "confirm runs/mine --top 3 --seeds 3 --attacks rmia --exit-when-done",
        "confirm runs/mine --seeds 10",
        'confirm runs/mine --fail-if "mia_auc_high > 0.65" --junit confirmed.xml',
    )
    confirm.add_argument("directory", metavar="RUN", type=Path, help="the run directory of a search that has ended")
    confirm.add_argument("--top", metavar="N", type=int, help="how many architectures (default: as configured, or 5)")
    confirm.add_argument("--seeds", metavar="N", type=int, help="trainings of each (default: as configured, or 5)")
    confirm.add_argument(
        "--attacks", type=parse_names, metavar="NAMES", help="besides the search's, by commas (default: rmia,lira)"
    )
    confirm.add_argument("--concurrency", metavar="N", type=int, help="trials at a time (default: the search's)")
    confirm.add_argument("--resume", action="store_true", help="go on; also without it where there is something to")
    confirm.add_argument("--dry-run", action="store_true", help="check everything, say what would run, write nothing")
    add_gate(confirm)
    add_web_ui(confirm, end="at the end")
    add_access(confirm)
    confirm.set_defaults(run=run_confirm)


def run_confirm(
    directory: str | Path,
    *,
    top: int | None = None,
    seeds: int | None = None,
    attacks: Sequence[str] | None = None,
    concurrency: int | None = None,
    resume: bool = False,
    dry_run: bool = False,
    fail_if: Sequence[str] = (),
    junit: Path | None = None,
    **web_ui: Any,
) -> ExitCode:
    """Confirms a search that has ended, or goes on with that: what was trained is not trained again.

    Args:
        directory: the run directory of the search.
        top: how many architectures; by default as the search was configured, or 5.
        seeds: trainings of each; likewise.
        attacks: names of attacks besides the search's own; by default as configured, or ``rmia`` and ``lira``.
        concurrency: trials at a time; by default the search's.
        resume: refuse to start anew.
        dry_run: check everything, say what would run, and write nothing.
        fail_if: conditions on the confirmed means of the best architecture, such as ``mia_auc_high > 0.6``.
        junit: a file for their verdict.
        **web_ui: ``port``, ``exit_when_done``, ``host``, ``token``; see :class:`~nni_privacy.commands.session.Session`.

    Returns:
        0, 1 if no training succeeded, 4 if a condition of ``fail_if`` holds, 130 if interrupted.

    Raises:
        PrivacyError: if ``directory`` holds no search that could be confirmed, or an option is not valid.
        RunStoppedError: if a fault of the machine ends the run.
    """
    put_outer_trial_aside()
    from nni_privacy.config import ConfirmConfig
    from nni_privacy.runs.confirmed import read_confirmed
    from nni_privacy.schema import validated

    given = {"top": top, "seeds": seeds, "attacks": attacks}
    changed = {name: value for name, value in given.items() if value is not None}
    settings = _settings_of(Path(directory).absolute(), concurrency)
    configured = {} if settings.confirm is None else settings.confirm.model_dump()
    options = validated(ConfirmConfig, {**configured, **changed})
    gate = Gate.of(fail_if, junit, known=_confirmed_metrics(options.evaluator(settings.evaluator).attacks))
    words = [word for name, value in changed.items() for word in (f"--{name}", _word(value))]
    words += [] if concurrency is None else ["--concurrency", str(concurrency)]
    code = confirm_search(
        settings,
        Path(directory).absolute(),
        options,
        command=["confirm", str(directory), *words],
        place=[],
        resume=resume,
        dry_run=dry_run,
        **web_ui,
    )
    found = None if dry_run or code != ExitCode.DONE else read_confirmed(Path(directory))
    best = None if found is None else found.of(found.nearest)
    return code if best is None else gate.judge({f"trial {best.sequence}": best.means}, command="confirm")


def _confirmed_metrics(attacks: Sequence[str]) -> list[str]:
    """Names of the means that a gate can look at, with the ends of their intervals over seeds."""
    names = ["accuracy", "train_accuracy", "overfitting", *audit_metrics(attacks)]
    ends = [f"{name}_{end}" for name in names for end in ("low", "high") if not name.endswith(("_low", "_high"))]
    return list(dict.fromkeys([*names, *ends]))


def _word(value: Any) -> str:
    return str(value) if isinstance(value, int) else ",".join(value)


def _settings_of(directory: Path, concurrency: int | None) -> SearchConfig:
    """The configuration of a search that has ended."""
    from nni_privacy.config import parse_config
    from nni_privacy.nni_runtime.training_services import NOT_WRITTEN
    from nni_privacy.runs.directory import RunDirectory
    from nni_privacy.runs.records import CONFIG, name_of, read_run
    from nni_privacy.search_spaces.config import is_own

    run = read_run(directory)
    if run.study:
        raise ConfigError(f"{directory}: a study, whose seeds are its own; a search is confirmed")
    if run.predicted:
        raise ConfigError(f"{directory}: its AUCs are predicted; there is no measurement to confirm")
    if not isinstance(run.config.get("dataset"), dict):
        raise ConfigError(
            f"{directory}: was started from Python, and its configuration is not that of a search; measure its "
            "genotypes with several seeds by a study (docs/studies.md)"
        )
    if is_own(name_of(run.config.get("search_space"))):
        raise ConfigError(
            f"{directory}: architectures of {name_of(run.config['search_space'])} are no genotypes that a study could "
            "train anew: run the search with another seed"
        )
    RunDirectory(directory, resumable=True).lock.check()
    if NOT_WRITTEN in str(run.config.get("training_service")):
        raise ConfigError(
            f"{directory}: its training_service has a secret that no file holds; add confirm: to the search's own "
            f"configuration and go on with: nni-privacy search CONFIG --output {directory} --resume"
        )
    changed = {} if concurrency is None else {"concurrency": concurrency}
    try:
        return parse_config({**run.config, **changed})
    except ConfigError as error:
        raise ConfigError(f"{directory / CONFIG}: {error}") from None


def confirm_search(
    settings: SearchConfig,
    directory: Path,
    options: ConfirmConfig,
    *,
    command: Sequence[str],
    place: Sequence[str],
    resume: bool = False,
    dry_run: bool = False,
    **web_ui: Any,
) -> ExitCode:
    """Trains and reports what ``options`` ask for of the search in ``directory``; arguments as :func:`run_confirm`.

    Args:
        settings: the search's configuration.
        directory: its run directory.
        options: how much is to be confirmed.
        command: words that would do this again, without ``nni-privacy``.
        place: words behind them that name the run directory.
        resume: refuse to start anew.
        dry_run: write nothing.
        **web_ui: see :class:`~nni_privacy.commands.session.Session`.
    """
    import yaml

    from nni_privacy.commands.measure import carry_out
    from nni_privacy.commands.session import Session
    from nni_privacy.files import atomic_write, writing_run
    from nni_privacy.runs.confirmed import CONFIRM
    from nni_privacy.runs.records import CONFIG

    folder = directory / CONFIRM
    study, before = _going_on(_study_of(settings, directory, options), folder)
    session = Session(
        settings=study, directory=folder, command=command, place=place, resume=before is not None, **web_ui
    )
    if resume and not session.resume:
        raise ConfigError(f"--resume: nothing of {directory} was confirmed so far")
    session.check()
    if before not in (None, study.resolved()) and not dry_run:
        with writing_run():
            atomic_write(folder / CONFIG, yaml.safe_dump(study.resolved(), sort_keys=False))
    return carry_out(
        study,
        session,
        what="trainings that confirm it",
        dry_run=dry_run,
        summary=lambda: _summarise(directory, study),
    )


def _study_of(settings: SearchConfig, directory: Path, options: ConfirmConfig) -> StudyConfig:
    """The study of the trials that are to be confirmed."""
    from nni_privacy.analysis.selection import choose_trials
    from nni_privacy.runs.records import read_run
    from nni_privacy.studies.confirm import confirm_study

    run = read_run(directory)
    chosen = choose_trials(run, options.top)
    if not chosen:
        raise ConfigError(f"{directory}: no trial has an accuracy and an AUC; there is nothing to confirm")
    return confirm_study(settings, options, run, chosen)


def _going_on(study: StudyConfig, folder: Path) -> tuple[StudyConfig, dict[str, Any] | None]:
    """The study with all that an earlier one in ``folder`` has, and that one's configuration, if there is one.

    Raises:
        ConfigError: if it was measured in another way.
    """
    from nni_privacy.commands.session import differences
    from nni_privacy.runs.directory import RunDirectory
    from nni_privacy.studies.confirm import grown

    if not RunDirectory.holds_run(folder):
        RunDirectory.check_free(folder)
        return study, None
    run = RunDirectory(folder, resumable=True)
    run.check_resumable()
    recorded = run.config()
    if not recorded:
        return study, {}
    whole = grown(recorded, study)
    same = {**whole.resolved(), **{key: recorded.get(key) for key in ("architectures", "seeds")}}
    for path, before, now in differences(recorded, same):
        raise ConfigError(f"{path}: {now!r:.80}; {folder} was measured with {before!r:.80}: move it away to start anew")
    return whole, recorded


def _summarise(directory: Path, study: StudyConfig) -> None:
    """Writes ``confirmed.json`` and the search's report, and says what is best by confirmed numbers alone."""
    from nni_privacy.analysis.confirmation import confirm_architectures
    from nni_privacy.analysis.rows import measured_row
    from nni_privacy.files import writing_run
    from nni_privacy.report import write_report
    from nni_privacy.runs.confirmed import CONFIRM, write_confirmed
    from nni_privacy.runs.records import read_run
    from nni_privacy.studies.confirm import confirmed_trials
    from nni_privacy.training.dp_selection import privacy_text

    run = read_run(directory)
    found = {trial.sequence: trial for trial in run.trials}
    confirmed = confirm_architectures(
        run,
        [found[number] for number in confirmed_trials(study) if number in found],
        [(trial, measured_row(trial)) for trial in read_run(directory / CONFIRM).trials],
        seeds=study.seeds,
        attacks=study.evaluator.attacks,
    )
    if confirmed is None:
        print("no training succeeded: nothing is confirmed", flush=True)
        return
    with writing_run():
        path = write_confirmed(directory, confirmed)
    print(f"confirmed: {path}; report: {write_report(directory)}")
    if privacy := privacy_text((*run.trials, *read_run(directory / CONFIRM).trials)):
        print(f"differential privacy, of the search and what confirms it: {privacy}")
    print("\n".join(confirmed_lines(confirmed)), flush=True)


def confirmed_lines(confirmed: Confirmed) -> list[str]:
    """What is told of it in a terminal: a line an architecture, one on differences, and last the best."""
    lines = [_line(confirmed, one) for one in confirmed.architectures]
    for metric, name in (("mia_auc", "AUC"), ("accuracy", "accuracy")):
        pairs = [one for one in confirmed.differences if one.metric == metric]
        differ = [
            f"trial {one.first} {'<' if one.difference < 0 else '>'} trial {one.second}" for one in pairs if one.differ
        ]
        told = ", ".join(differ) or "none differs beyond chance"
        lines += [f"{name}, all pairs ({len(pairs)}, Holm): {told}"] if pairs else []
    return [*lines, _verdict(confirmed)]


def _line(confirmed: Confirmed, one: ConfirmedArchitecture) -> str:
    from nni_privacy.runs.confirmed import ConfirmedMean

    def told(mean: ConfirmedMean) -> str:
        ends = "" if mean.low is None else f" [{mean.low:.3f}, {mean.high:.3f}]"
        return f"{mean.mean:.3f}{ends}"

    auc, accuracy = one.metrics["mia_auc"], one.metrics["accuracy"]
    shrunken = confirmed.shrunken.get("mia_auc")
    estimate = next((t.estimate for t in shrunken.trials if t.trial == one.trial), None) if shrunken else None
    searched = f"searched {one.searched['mia_auc']:.3f}" + ("" if estimate is None else f", shrunken {estimate:.3f}")
    failed = f", {len(one.failed)} failed" if one.failed else ""
    seeds = f"{auc.count} seeds{failed}"
    return f"  trial {one.sequence}: accuracy {told(accuracy)}, AUC {told(auc)} ({searched}; {seeds})"


def _verdict(confirmed: Confirmed) -> str:
    """The last line, from confirmed numbers only."""
    one = confirmed.of(confirmed.nearest)
    if one is None:
        return "nothing is confirmed"
    asked = ", ".join(confirmed.constraints)
    means = one.means
    told = f"trial {one.sequence} (accuracy {means['accuracy']:.3f}, AUC {means['mia_auc']:.3f})"
    if not confirmed.constraints:
        return f"best by confirmed numbers: {told}, the most accurate; no constraints were set"
    if confirmed.best is None:
        return f"none keeps the constraints by confirmed numbers ({asked}); nearest: {told}"
    sure = "" if one.certain else "; its intervals reach beyond them: more seeds would tell"
    return f"best by confirmed numbers: {told}, the most accurate that keeps {asked}{sure}"
