"""Every registered attack on a real trained network: through audit(), the evaluator and the command line."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import audited_model
import numpy as np
import pytest
import torch

from nni_privacy import Recipe, audit
from nni_privacy.attacks import AttackReport, AttackScores, attack_names, report_attack
from nni_privacy.auditing.audit import AuditReport
from nni_privacy.auditing.options import Effort
from nni_privacy.auditing.shadows import ModelSpec, ShadowOptions
from nni_privacy.commands.main import main
from nni_privacy.data import load_dataset, split_four_ways
from nni_privacy.errors import AuditError
from nni_privacy.training.fit import fit, seed_everything
from nni_privacy.training.loss_trace import LossTrace, traced_epochs

SPEC = ModelSpec("audited_model:build")
RECIPE = Recipe(epochs=120, learning_rate=0.05, batch_size=32)
"""So long that members get surer answers, whatever their labels: attacks that read no label find them too."""
EFFORT = Effort(views=2, boundary_records=120, boundary_queries=100)
RECORDS = 250
NOISE = 0.3

pytestmark = pytest.mark.slow  # models are trained until they memorise


@pytest.fixture(scope="module")
def parts() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Digits in four parts; three in ten labels are wrong, so that a network that fits them has to memorise."""
    torch.set_num_threads(1)
    data = load_dataset("digits")
    generator = np.random.default_rng(0)
    wrong = torch.from_numpy(generator.random(len(data)) < NOISE)
    labels = torch.where(wrong, torch.from_numpy(generator.integers(0, 10, len(data))), data.labels)
    split = split_four_ways(len(data), seed=0)
    return {name: (data.images[rows[:RECORDS]], labels[rows[:RECORDS]]) for name, rows in vars(split).items()}


def trained(parts: dict[str, Any]) -> tuple[torch.nn.Module, np.ndarray]:
    """The model, and the losses of all records while it was trained, part by part."""
    records = (torch.cat([part[i] for part in parts.values()]) for i in (0, 1))
    trace = LossTrace(*records, epochs=traced_epochs(RECIPE.epochs), device="cpu")
    seed_everything(0)
    model = audited_model.build()
    fit(model, *parts["target_train"], recipe=RECIPE, seed=0, device="cpu", on_epoch=trace)
    return model, trace.losses


def shadow_options(parts: dict[str, Any], **options: Any) -> ShadowOptions:
    return ShadowOptions(
        recipe=RECIPE, model=SPEC, train=parts["shadow_train"], test=parts["shadow_test"], cache=False, **options
    )


@pytest.fixture(scope="module")
def training(parts: dict[str, Any]) -> tuple[torch.nn.Module, np.ndarray]:
    return trained(parts)


@pytest.fixture(scope="module")
def model(training: tuple[torch.nn.Module, np.ndarray]) -> torch.nn.Module:
    return training[0]


@pytest.fixture(scope="module")
def report(training: tuple[torch.nn.Module, np.ndarray], parts: dict[str, Any]) -> AuditReport:
    """One audit with everything."""
    return audit(
        training[0],
        parts["target_train"],
        parts["target_test"],
        attacks=attack_names(),
        shadow=shadow_options(parts),
        effort=EFFORT,
        device="cpu",
        loss_trace=training[1][:, : 2 * RECORDS],
    )


# It ranks members among themselves: where wrong labels are memorised, the losses of non-members rise, and range more.
NO_TEST_OF_MEMBERSHIP = {"lt_iqr"}


@pytest.mark.parametrize("attack", [name for name in attack_names() if name not in NO_TEST_OF_MEMBERSHIP])
def test_the_planted_leak_is_found(report: AuditReport, attack: str) -> None:
    check_found(report.attacks[attack])


def check_found(found: AttackReport) -> None:
    low = found.metrics["mia_auc_low"]
    assert low is not None and low > 0.5, f"{found!r}: the interval of its AUC is not above 0.5"


def test_the_planted_leak_is_seen_without_labels(report: AuditReport) -> None:
    posteriors = report.signals.posteriors
    scores = {"top": posteriors.max(axis=1), "entropy": (posteriors * np.log(posteriors + 1e-12)).sum(axis=1)}
    for name, values in scores.items():
        attacked = AttackScores(values, report.signals.is_member, np.arange(len(values)))
        check_found(report_attack(name, attacked))


@pytest.mark.parametrize("attack", attack_names())
def test_where_membership_is_shuffled_nothing_is_found(
    training: tuple[torch.nn.Module, np.ndarray], parts: dict[str, Any], attack: str
) -> None:
    held_out = [torch.cat([parts[name][i] for name in ("target_test", "shadow_test")]) for i in (0, 1)]
    order = torch.randperm(2 * RECORDS, generator=torch.Generator().manual_seed(1))
    halves = [tuple(part[rows] for part in held_out) for rows in (order[:RECORDS], order[RECORDS:])]
    others = {"shadow_train": parts["shadow_train"], "shadow_test": parts["target_train"]}
    places = [name for name in parts for _ in range(RECORDS)]
    trace = training[1][:, [place in ("target_test", "shadow_test") for place in places]][:, order]
    found = audit(training[0], *halves, attacks=attack, shadow=shadow_options(others), effort=EFFORT, device="cpu",
                  seed=2, loss_trace=trace)  # fmt: skip
    metrics = found.primary.metrics
    assert metrics["mia_auc_low"] - 0.02 <= 0.5 <= metrics["mia_auc_high"] + 0.02, metrics


def test_queries_are_counted(report: AuditReport) -> None:
    queries = report.signals.queries
    assert queries is not None and 240 <= queries <= 240 * EFFORT.boundary_queries
    assert len(report.attacks["label_only"].scores) == 2 * EFFORT.boundary_records


def test_what_an_attack_lacks_is_named(model: torch.nn.Module, parts: dict[str, Any]) -> None:
    pair = (parts["target_train"], parts["target_test"])
    with pytest.raises(AuditError, match=r"lira.* needs shadow models"):
        audit(model, *pair, attacks="lira", device="cpu")
    with pytest.raises(AuditError, match="black_box_shadow needs records"):
        audit(model, *pair, attacks="black_box_shadow", shadow=ShadowOptions(recipe=RECIPE, model=SPEC), device="cpu")


PLUGIN = """
import numpy as np
from nni_privacy.attacks import AttackScores, TargetSignals, register_attack


@register_attack("top_confidence")
def top_confidence(signals: TargetSignals, *, seed: int) -> AttackScores:
    \"\"\"Confidence of the predicted class.\"\"\"
    return AttackScores(signals.posteriors.max(axis=1), signals.is_member, np.arange(len(signals)))
"""


def test_an_attack_of_the_users_own_shows_up_everywhere(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nni_privacy import PrivacyEvaluator
    from nni_privacy.attacks import registry
    from nni_privacy.config import EvaluatorConfig

    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_attacks.py").write_text(PLUGIN)
    try:
        further = ["--attacks", "top_confidence", "--plugins", "own_attacks", "--device", "cpu"]
        assert main(command(files, tmp_path / "out", *further)) == 0
        assert "top_confidence" in capsys.readouterr().out
        assert "top_confidence" in (tmp_path / "out" / "report.html").read_text()
        options = {"attacks": ["top_confidence"], "plugins": ["own_attacks"]}
        assert EvaluatorConfig(**options).attacks == ("top_confidence",)
        assert PrivacyEvaluator("digits", **options).attacks == ("top_confidence",)
        assert main(command(files, tmp_path / "other", "--plugins", "no_such_module")) == 2
        assert "no_such_module" in capsys.readouterr().err
    finally:
        registry._ATTACKS.pop("top_confidence", None)


def test_the_evaluator_takes_any_list_of_attacks(tmp_path: Path) -> None:
    from nni.nas.space import SimplifiedModelSpace

    from nni_privacy import PrivacyEvaluator
    from nni_privacy.search_spaces import DARTS

    evaluator = PrivacyEvaluator(
        {"name": "digits", "limit": 400},
        recipe={"epochs": 2},
        attacks=attack_names(),
        effort={"boundary_records": 20, "boundary_queries": 50},
        shadow={"count": 4, "cache": str(tmp_path)},
    )
    space = SimplifiedModelSpace.from_model(DARTS(channels=2, cells=3, in_channels=1), evaluator)
    frozen = space.random(random_state=np.random.RandomState(0))
    with evaluator.mock_runtime(frozen):
        metrics = frozen.execute()
    primary, *others = attack_names()
    assert metrics["mia_auc"] is not None
    assert {f"{name}_mia_auc" for name in others} <= set(metrics)
    assert f"{primary}_mia_auc" not in metrics
    assert len(list(tmp_path.rglob("*.npz"))) == 7  # four references, the twin, two small CNNs


@pytest.fixture(scope="module")
def files(model: torch.nn.Module, parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    torch.save(model.state_dict(), folder / "model.pt")
    made = {"weights": folder / "model.pt"}
    population = [torch.cat([parts[name][i] for name in ("shadow_train", "shadow_test")]) for i in (0, 1)]
    records = {"members": parts["target_train"], "nonmembers": parts["target_test"], "population": population}
    for name, (images, labels) in records.items():
        made[name] = folder / f"{name}.npz"
        np.savez(made[name], x=images.numpy(), y=labels.numpy())
    return made


def command(files: dict[str, Path], output: Path, *further: str, **changed: object) -> list[str]:
    chosen = {"model": "audited_model:build", **files, "output": output, **changed}
    return ["audit", *(text for key, value in chosen.items() for text in (f"--{key}", str(value))), *further]


def test_the_command_line_audits_a_users_model(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attacks = "rmia,lira,loss_threshold,white_box_partial"
    further = ["--attacks", attacks, "--recipe", "epochs=5", "learning_rate=0.05", "--shadows", "4", "--device", "cpu"]
    assert main(command(files, tmp_path / "out", *further)) == 0
    out = capsys.readouterr().out
    for name in attacks.split(","):
        assert name in out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "mia_auc" in json.dumps(metrics)
    rows = list(csv.DictReader((tmp_path / "out" / "metrics.csv").open()))
    assert [row["attack"] for row in rows] == attacks.split(",")
    assert "white_box_partial" in (tmp_path / "out" / "report.html").read_text()
    with np.load(tmp_path / "out" / "scores.npz", allow_pickle=False) as scores:
        assert scores["rmia/scores"].shape == scores["rmia/is_member"].shape


def test_the_command_line_takes_the_papers_protocol(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attack, records = ["--attacks", "black_box_partial", "--device", "cpu"], {}
    for protocol in ("cross_fit", "paper"):
        assert main(command(files, tmp_path / protocol, *attack, "--effort", f"protocol={protocol}")) == 0
        with np.load(tmp_path / protocol / "scores.npz", allow_pickle=False) as scores:
            records[protocol] = len(scores["black_box_partial/records"])
    assert records["paper"] == pytest.approx(records["cross_fit"] / 3, abs=2)
    assert main(command(files, tmp_path / "x", *attack, "--effort", "protocol=papers")) == 2
    assert "effort.protocol: 'papers'; input should be 'cross_fit' or 'paper'" in capsys.readouterr().err


def test_the_command_line_judges_over_all_attacks_and_by_a_threshold(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    further = ["--attacks", "gap,loss_threshold", "--device", "cpu", "--max-auc"]
    for name, max_auc, status in (("kept", "1", 0), ("exceeded", "0.5", 1)):
        assert main(command(files, tmp_path / name, *further, max_auc)) == status
        found = json.loads((tmp_path / name / "metrics.json").read_text())
        assert found["verdict"]["threshold"]["passed"] is (status == 0)
        lines = capsys.readouterr().out.splitlines()
        assert f"verdict: {found['verdict']['text']}" in lines
        for attack, one in found["attacks"].items():
            rate = one["rates"]["mia_tpr_at_1pct_fpr"]
            (line,) = [line for line in lines if line.startswith(attack)]
            shown = "not resolvable"
            if rate["tpr"] is not None:
                shown = f"{rate['tpr']:.4f} [{rate['low']:.4f}, {rate['high']:.4f}]"
                assert (f"note: {rate['note']}" in lines) == bool(rate["note"])
            assert line.endswith(f"  TPR at 1% FPR {shown}")
        assert f"threshold {name}" in found["verdict"]["text"]
        digest = hashlib.sha256(files["weights"].read_bytes()).hexdigest()
        assert digest in found["facts"]["Weights"] and found["provenance"]["Date"][:2] == "20"
    assert main(command(files, tmp_path / "wrong", *further, "0.3")) == 2
    assert "max_auc is 0.3: allowed are" in capsys.readouterr().err and not (tmp_path / "wrong").exists()


def test_the_command_line_fails_by_a_gate(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit = tmp_path / "closed" / "gate.xml"
    further = ["--attacks", "gap,loss_threshold", "--device", "cpu", "--max-auc", "0.5", "--fail-if"]
    closed = [*further, "gap_mia_auc > 0.5", "--fail-if", "loss_threshold_mia_auc_high > 1", "--junit", str(junit)]
    assert main(command(files, tmp_path / "closed", *closed)) == 4
    found = json.loads((tmp_path / "closed" / "metrics.json").read_text())
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "failed" in one]
    assert line.startswith(f"nni-privacy: failed: gap_mia_auc > 0.5: it is {found['mia_auc']:.6g}, ")
    (suite,) = ElementTree.parse(junit).getroot()  # noqa: S314 - our own
    assert [len(case) for case in suite] == [1, 0]
    assert main(command(files, tmp_path / "open", *further, "mia_auc > 1")) == 1  # --max-auc alone
    assert main(command(files, tmp_path / "wrong", *further, "rmia_mia_auc > 0.5")) == 2
    assert "unknown metric 'rmia_mia_auc'" in capsys.readouterr().err and not (tmp_path / "wrong").exists()


def foreign_weights(folder: Path) -> Path:
    path = folder / "foreign.pt"
    torch.save({"weight": Path("/")}, path)
    return path


def nothing(folder: Path) -> Path:
    path = folder / "empty.pt"
    path.write_bytes(b"not weights")
    return path


def few(folder: Path) -> Path:
    path = folder / "few.npz"
    np.savez(path, x=np.random.default_rng(5).integers(0, 255, (19, 8, 8), np.uint8), y=np.arange(19) % 10)
    return path


def nan_weights(folder: Path) -> Path:
    state = {name: torch.full_like(value, float("nan")) for name, value in audited_model.build().state_dict().items()}
    torch.save(state, folder / "nan.pt")
    return folder / "nan.pt"


def high_labels(folder: Path) -> Path:
    path = folder / "high.npz"
    np.savez(path, x=np.random.default_rng(5).integers(0, 255, (40, 8, 8), np.uint8), y=np.arange(40))
    return path


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"weights": foreign_weights}, ["foreign.pt", "objects other than weights"]),
        ({"weights": nothing}, ["empty.pt"]),
        ({"weights": nan_weights}, ["NaN"]),
        ({"weights": lambda folder: folder / "none.pt"}, ["none.pt", "No such file"]),
        ({"members": few}, ["19 members"]),
        ({"members": high_labels}, ["labels run from 0 to 39"]),
        ({"members": lambda folder: folder / "none.npz"}, ["none.npz", "no such file"]),
        ({"model": "audited_model"}, ["package.module:callable"]),
        ({"model": "audited_model:nothing"}, ["audited_model:nothing"]),
        ({"model": "audited_model:broken"}, ["no such layer"]),
        ({"model": "torchvision.models:alexnet"}, ["does not fit the model"]),
        ({"attacks": "loss_treshold"}, ["did you mean 'loss_threshold'"]),
    ],
)
def test_bad_input_of_the_command_line(
    changed: dict[str, Any],
    words: list[str],
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = {key: value(tmp_path) if callable(value) else value for key, value in changed.items()}
    assert main(command(files, tmp_path / "out", "--device", "cpu", **made)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") <= (3 if "not fit" in words[0] else 1)
    for word in words:
        assert word in captured.err
    assert not (tmp_path / "out").exists()


def test_members_that_are_non_members_too_are_counted(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(files, tmp_path / "out", nonmembers=files["members"])) == 2
    assert f"share {RECORDS} images" in capsys.readouterr().err


def test_a_model_that_returns_a_tuple(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(audited_model.two_heads().state_dict(), tmp_path / "two.pt")
    changed = {"model": "audited_model:two_heads", "weights": tmp_path / "two.pt"}
    assert main(command(files, tmp_path / "out", **changed)) == 2
    assert "returned a tuple" in capsys.readouterr().err
