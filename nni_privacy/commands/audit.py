"""The command ``nni-privacy audit``: membership inference against a user's own model and records."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.audit_target import Records, read_records
from nni_privacy.commands.gates import Gate, add_gate, audit_metrics
from nni_privacy.commands.options import ExitCode, add_command, add_plugins, parse_assignments, parse_names
from nni_privacy.errors import ConfigError
from nni_privacy.plugins import import_plugins

if TYPE_CHECKING:
    from nni_privacy.auditing.audit import AuditReport
    from nni_privacy.auditing.epsilon import PrivacyClaim
    from nni_privacy.training.recipe import Recipe

__all__ = ["add_audit", "run_audit", "run_predictions"]

LOWER_BOUNDS = ("epsilon_low", "epsilon_low_gaussian")
OWN_HALVES = "shadow-train and shadow-test of the same split"
PAPERS = "the paper's"


def add_audit(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    audit = add_command(
        commands,
        "audit",
        "attack your own trained model with membership inference",
        "audit --model mymodel:make --weights model.pt \\\n    --members in.npz --nonmembers out.npz --output audit/",
        "audit --model mymodel:make --weights model.pt --members in.npz --nonmembers out.npz \\\n"
        "    --population more.npz --attacks lira,rmia --recipe epochs=30 --output audit/",
        "audit --model released/ --output audit/",
        "audit --predictions answers.csv --output audit/",
    )
    _add_target(audit)
    audit.add_argument("--population", type=Path, metavar="C.npz", help="further records: shadow models, RMIA")
    audit.add_argument(
        "--attacks",
        type=parse_names,
        metavar="NAMES",
        help="by commas (default: black_box_partial,loss_threshold; of an exported folder those of its trial)",
    )
    audit.add_argument("--normalize", choices=("none", "members"), help="members: their statistics (default: none)")
    audit.add_argument(
        "--outputs", choices=("logits", "probabilities"), default="logits", help="what the network returns (logits)"
    )
    audit.add_argument("--recipe", nargs="*", default=[], metavar="KEY=VALUE", help="how the target was trained")
    audit.add_argument("--shadows", type=int, metavar="N", help="reference models (lira, rmia, bavaria; default: 4)")
    audit.add_argument(
        "--reference",
        metavar="NAME",
        help="what they are in place of the target's architecture: small_cnn, resnet, ...",
    )
    audit.add_argument("--workers", type=int, default=0, metavar="N", help="processes that train shadow models")
    audit.add_argument("--effort", nargs="*", default=[], metavar="KEY=VALUE", help="views, boundary_records, ...")
    add_plugins(audit)
    audit.add_argument("--seed", type=int, metavar="S", help="(default: 0, of an exported folder its trial's)")
    audit.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    audit.add_argument("--allow-shared", action="store_true", help="accept records that are on both sides")
    _add_limits(audit)
    add_gate(audit)
    audit.set_defaults(run=_run)


def _add_limits(audit: argparse.ArgumentParser) -> None:
    audit.add_argument(
        "--max-auc", type=float, metavar="X", help="exit with 1 if any attack has an AUC above X, 0.5 to 1"
    )
    audit.add_argument(
        "--epsilon", type=float, metavar="E", help="claimed of the training: a notice if attacks refute it"
    )
    audit.add_argument(
        "--delta", type=float, metavar="D", help="at which epsilon is meant (default: the recipe's, or 1e-5)"
    )


def _add_target(audit: argparse.ArgumentParser) -> None:
    """Adds what says which model is attacked on which records."""
    needed = audit.add_argument_group("what to audit")
    what = needed.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--model",
        metavar="PACKAGE.MODULE:FACTORY|DIR",
        help="makes the untrained network; or an exported folder, which needs nothing else but --output",
    )
    what.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="what a model has answered: .csv, .npz or .parquet; needs nothing else but --output",
    )
    needed.add_argument("--weights", type=Path, metavar="FILE", help="a state dict: .pt, .safetensors")
    needed.add_argument("--members", type=Path, metavar="A.npz", help="records it was trained on; or .csv, ...")
    needed.add_argument("--nonmembers", type=Path, metavar="B.npz", help="records it never saw")
    needed.add_argument("--output", required=True, type=Path, metavar="DIR", help="a new folder for the results")


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Shows what is odd about the records in one line, without a place in the code."""
    from nni_privacy.auditing.records import RecordsWarning

    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
            if issubclass(category, RecordsWarning):
                print(f"nni-privacy: {message}", file=sys.stderr)
            else:
                usual(message, category, *rest, **named)

        warnings.simplefilter("always", RecordsWarning)
        warnings.showwarning = show
        yield


@_plain_warnings()
def run_audit(
    *,
    model: str,
    weights: Path | None,
    members: Path | None,
    nonmembers: Path | None,
    output: Path,
    population: Path | None,
    attacks: Sequence[str] | None,
    normalize: str | None,
    recipe: Sequence[str],
    shadows: int | None,
    workers: int,
    effort: Sequence[str],
    plugins: Sequence[str],
    seed: int | None,
    epsilon: float | None = None,
    delta: float | None = None,
    reference: str | None = None,
    fail_if: Sequence[str] = (),
    junit: Path | None = None,
    **options: Any,
) -> int:
    """Audits the model, writes the results, and prints a line for each attack and the verdict.

    The keywords are the command's options. Returns 4 if a condition of ``fail_if`` holds, else 1 if an AUC is above the
    threshold that was given, and else 0.

    Raises:
        PrivacyError: if the input is not valid; nothing has been written then.
    """
    from nni_privacy.attacks.registry import COMBINED
    from nni_privacy.auditing.audit import audit
    from nni_privacy.auditing.options import Effort
    from nni_privacy.auditing.shadows import ShadowOptions
    from nni_privacy.commands.audit_target import Asked, exported_target, factory_target, is_folder
    from nni_privacy.data.inputs import Inputs
    from nni_privacy.training.recipe import Recipe

    trained = parse_assignments(recipe, option="--recipe")
    budget = parse_assignments(effort, option="--effort")
    _check(output, plugins, attacks, trained, budget)
    asked = Asked(model=model, weights=weights, members=members, nonmembers=nonmembers, normalize=normalize,
                  attacks=attacks, recipe=trained, effort=budget, shadows=shadows, seed=seed,
                  reference=reference, plugins=plugins)  # fmt: skip
    target = (exported_target if is_folder(model) else factory_target)(asked)
    named = [*target.attacks, *([COMBINED] if len(target.attacks) > 1 else [])]
    gate = Gate.of(fail_if, junit, known=audit_metrics(named, LOWER_BOUNDS))
    halves = target.halves if population is None else _halves(read_records(population), seed=target.seed)
    how = Recipe.from_mapping(target.recipe)
    report = audit(
        target.network,
        target.members,
        target.nonmembers,
        attacks=target.attacks,
        shadow=ShadowOptions(
            recipe=how, model=target.source, count=target.shadows, workers=workers, reference=target.reference, **halves
        ),
        effort=Effort.from_mapping(target.effort),
        seed=target.seed,
        normalize=target.normalize,
        claim=_claim(how, len(target.members[1]), epsilon, delta),
        **{**options, "allow_shared": options["allow_shared"] or target.own_records},
    )
    facts = {
        "Model": model,
        **target.facts,
        "Population": population or (OWN_HALVES if halves else "none"),
        "Reference models": target.reference or "of its architecture",
        "Recipe of shadow models": ", ".join(f"{key}: {value}" for key, value in target.recipe.items()) or PAPERS,
        "Seed": target.seed,
    }
    images = Inputs.of(target.members[0]).images
    return _conclude(report, output, subject=model, facts=facts, gate=gate, images=images)


def _check(
    output: Path,
    plugins: Sequence[str],
    attacks: Sequence[str] | None,
    recipe: Mapping[str, Any],
    effort: Mapping[str, Any],
) -> None:
    """Checks what can be checked before a file is read."""
    from nni_privacy.attacks.dry_call import call_dry
    from nni_privacy.auditing.options import Effort
    from nni_privacy.runs.directory import RunDirectory
    from nni_privacy.training.recipe import Recipe

    RunDirectory.check_free(output.absolute())
    import_plugins(plugins)
    call_dry(attacks or ())
    Recipe.from_mapping(recipe)
    Effort.from_mapping(effort)


def _claim(recipe: Recipe, members: int, epsilon: float | None, delta: float | None) -> PrivacyClaim:
    """What is claimed of the training: as the user says, or as the accountant does of DP-SGD on so many records."""
    from nni_privacy.attacks.epsilon import DELTA
    from nni_privacy.auditing.epsilon import PrivacyClaim

    if recipe.dp is None:
        return PrivacyClaim(epsilon, DELTA if delta is None else delta)
    from nni_privacy.training.dp_selection import Spent, composed_epsilon
    from nni_privacy.training.dp_sgd import budget_of

    budget, at = budget_of(recipe, members), recipe.dp.delta if delta is None else delta
    spent = Spent(budget.noise_multiplier, budget.sample_rate, budget.steps, at)
    return PrivacyClaim(composed_epsilon([spent], delta=at) if epsilon is None else epsilon, at)


def _halves(population: Records, *, seed: int) -> dict[str, Any]:
    """The attacker's own records in two random halves, ``train`` and ``test`` of the shadow models."""
    import numpy as np

    from nni_privacy.data.inputs import Inputs

    inputs, labels = Inputs.of(population[0]), population[1]
    order = np.random.default_rng(seed).permutation(len(labels))
    half = len(order) // 2
    rows = {"train": order[:half], "test": order[half : 2 * half]}
    return {name: (inputs[chosen].value, labels[chosen]) for name, chosen in rows.items()}


def _run(predictions: Path | None, **options: Any) -> int:
    return run_audit(**options) if predictions is None else run_predictions(predictions, **options)


def run_predictions(
    path: Path,
    *,
    output: Path,
    attacks: Sequence[str] | None = None,
    effort: Sequence[str] = (),
    plugins: Sequence[str] = (),
    seed: int | None = None,
    max_auc: float | None = None,
    fail_if: Sequence[str] = (),
    junit: Path | None = None,
    **options: Any,
) -> int:
    """Audits what a model has answered, as :func:`run_audit` does a model; returns and raises as it does.

    Args:
        path: the file of answers.
        output: as the command's option, as those that follow.
        attacks: by default all that the answers allow.
        effort: what asks a model is refused.
        plugins: imported first.
        seed: of the attacks.
        max_auc: a threshold.
        fail_if: conditions.
        junit: their file.
        **options: those that need a model, and are not set.
    """
    from nni_privacy.attacks.registry import COMBINED
    from nni_privacy.auditing.options import Effort
    from nni_privacy.auditing.prediction_files import read_predictions
    from nni_privacy.auditing.predictions import SCORE, audit_answers, runnable

    if given := [name for name, value in options.items() if value not in _UNSET]:
        told = f"--{given[0].replace('_', '-')}: {options[given[0]]}"
        raise ConfigError(f"{told}; it needs the model, which --predictions goes without")
    budget = parse_assignments(effort, option="--effort")
    if asking := sorted(_ASKING & budget.keys()):
        raise ConfigError(f"--effort: {asking[0]}; it asks the model, which --predictions goes without")
    _check(output, plugins, [name for name in attacks or () if name != SCORE], {}, budget)
    file = read_predictions(path)
    names = attacks or runnable(file.signals)[0]
    named = [*names, *([COMBINED] if len(names) > 1 else [])]
    gate = Gate.of(fail_if, junit, known=audit_metrics(named, LOWER_BOUNDS))
    print(f"read: {file.told}")
    report = audit_answers(
        file.signals,
        attacks=attacks,
        effort=Effort.from_mapping(budget),
        seed=seed or 0,
        max_auc=max_auc,
    )
    return _conclude(report, output, subject=str(path), facts={**file.facts, "Seed": seed or 0}, gate=gate)


_UNSET: tuple[Any, ...] = (None, False, 0, [], "auto", "logits")
"""What options are that the user has left out."""
_ASKING = {"views", "boundary_records", "boundary_queries"}


def _conclude(
    report: AuditReport, output: Path, *, subject: str, facts: Mapping[str, object], gate: Gate, images: Any = None
) -> int:
    """Writes and prints what was found, and judges it."""
    from nni_privacy.report.audit_page import write_audit

    texts = {key: str(value) for key, value in facts.items()}
    page = write_audit(report, output, title=f"Audit of {subject}", facts=texts, images=images)
    _print(report)
    print(f"report: {page}")
    each: dict[str, float | None] = {
        f"{name}_{key}": value for name, one in report.results.items() for key, value in one.metrics.items()
    }
    each |= dict(zip(LOWER_BOUNDS, (report.epsilon.one_run.epsilon, report.epsilon.gaussian.epsilon), strict=True))
    if closed := gate.judge({subject: {**each, **report.metrics()}}, command="audit"):
        return closed
    threshold = report.verdict.threshold
    return ExitCode.DONE if threshold is None or threshold.passed else ExitCode.EXCEEDED


def _print(report: AuditReport) -> None:
    for notice in report.notices:
        print(f"notice: {notice}")
    if report.accuracies is not None:
        print("{:<24} {:.4f} on members, {:.4f} on non-members".format("accuracy", *report.accuracies))
    for name, result in report.results.items():
        low, auc, high = (result.metrics[key] for key in ("mia_auc_low", "mia_auc", "mia_auc_high"))
        print(f"{name:<24} AUC {auc:.4f} [{low:.4f}, {high:.4f}]  TPR at 1% FPR {result.rates['1pct']}")
    for note in dict.fromkeys(one.rates["1pct"].note for one in report.results.values() if one.rates["1pct"].note):
        print(f"note: {note}")
    for reason, names in report.not_made.items():
        print(f"not made: {', '.join(names)}: {reason}")
    claimed = report.claim.epsilon
    print(str(report.epsilon) + ("" if claimed is None else f"; claimed is at most {claimed:.3f}"))
    print(f"verdict: {report.verdict}")
    if report.verdict.leak and report.notices:
        print("mind the notices above: what they say may be all that the attacks have found")
