"""The command ``nni-privacy audit``: membership inference against a user's own model and records."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.audit_target import read_records
from nni_privacy.commands.gates import Gate, add_gate, audit_metrics
from nni_privacy.commands.options import ExitCode, add_command, add_plugins, parse_assignments, parse_names
from nni_privacy.plugins import import_plugins

if TYPE_CHECKING:
    from nni_privacy.auditing.audit import AuditReport
    from nni_privacy.data import Dataset

__all__ = ["add_audit", "run_audit"]

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
    audit.add_argument(
        "--max-auc", type=float, metavar="X", help="exit with 1 if any attack has an AUC above X, 0.5 to 1"
    )
    add_gate(audit)
    audit.add_argument("--allow-shared", action="store_true", help="accept images that are on both sides")
    audit.set_defaults(run=run_audit)


def _add_target(audit: argparse.ArgumentParser) -> None:
    """Adds what says which model is attacked on which records."""
    needed = audit.add_argument_group("what to audit")
    needed.add_argument(
        "--model",
        required=True,
        metavar="PACKAGE.MODULE:FACTORY|DIR",
        help="makes the untrained network; or an exported folder, which needs nothing else but --output",
    )
    needed.add_argument("--weights", type=Path, metavar="FILE", help="a state dict: .pt, .safetensors")
    needed.add_argument("--members", type=Path, metavar="A.npz", help="records it was trained on")
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
    from nni_privacy.auditing.audit import audit
    from nni_privacy.auditing.options import Effort
    from nni_privacy.auditing.shadows import ShadowOptions
    from nni_privacy.commands.audit_target import Asked, exported_target, factory_target, is_folder
    from nni_privacy.report.audit_page import write_audit
    from nni_privacy.training.recipe import Recipe

    trained = parse_assignments(recipe, option="--recipe")
    budget = parse_assignments(effort, option="--effort")
    _check(output, plugins, attacks, trained, budget)
    asked = Asked(model=model, weights=weights, members=members, nonmembers=nonmembers, normalize=normalize,
                  attacks=attacks, recipe=trained, effort=budget, shadows=shadows, seed=seed,
                  reference=reference)  # fmt: skip
    target = (exported_target if is_folder(model) else factory_target)(asked)
    gate = Gate.of(fail_if, junit, known=audit_metrics(target.attacks))
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
    page = write_audit(
        report,
        output,
        title=f"Audit of {model}",
        facts={key: str(value) for key, value in facts.items()},
        images=target.members[0],
    )
    _print(report)
    print(f"report: {page}")
    each = {f"{name}_{key}": value for name, one in report.attacks.items() for key, value in one.metrics.items()}
    if closed := gate.judge({model: {**each, **report.metrics()}}, command="audit"):
        return closed
    threshold = report.verdict.threshold
    return ExitCode.DONE if threshold is None or threshold.passed else ExitCode.EXCEEDED


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


def _halves(population: Dataset, *, seed: int) -> dict[str, Any]:
    """The attacker's own records in two random halves, ``train`` and ``test`` of the shadow models."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(len(population))
    half = len(order) // 2
    rows = {"train": order[:half], "test": order[half : 2 * half]}
    return {name: (population.images[chosen], population.labels[chosen]) for name, chosen in rows.items()}


def _print(report: AuditReport) -> None:
    for name, result in report.attacks.items():
        low, auc, high = (result.metrics[key] for key in ("mia_auc_low", "mia_auc", "mia_auc_high"))
        rate = result.metrics["mia_tpr_at_1pct_fpr"]
        shown = "not resolvable" if rate is None else f"{rate:.4f}"
        print(f"{name:<24} AUC {auc:.4f} [{low:.4f}, {high:.4f}]  TPR at 1% FPR {shown}")
    for notice in report.notices:
        print(f"notice: {notice}")
    print(f"verdict: {report.verdict}")
