"""Lower bounds on epsilon in audits, canaries of a trial, and what is said where a claim is refuted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from runpy import run_path
from typing import Any

import nni
import numpy as np
import pytest
from nni.nas.space import SimplifiedModelSpace

from nni_privacy import PrivacyEvaluator
from nni_privacy.attacks import TargetSignals
from nni_privacy.attacks.epsilon import epsilon_bounds
from nni_privacy.auditing.audit import audit_signals
from nni_privacy.auditing.canaries import plant_canaries
from nni_privacy.auditing.epsilon import CanaryScores, PrivacyClaim
from nni_privacy.auditing.notices import exceeded_claim
from nni_privacy.data import load_dataset
from nni_privacy.errors import AuditError, ConfigError
from nni_privacy.report.audit_page import audit_info, audit_json, render_audit
from nni_privacy.search_spaces import DARTS
from nni_privacy.training.dp_selection import Spent, composed_epsilon


def signals(shift: float, count: int = 400, seed: int = 0) -> TargetSignals:
    """Two classes; members' true logit is larger by ``shift``."""
    generator = np.random.default_rng(seed)
    member, labels = np.arange(count) < count // 2, generator.integers(0, 2, count)
    logits = np.zeros((count, 2))
    logits[np.arange(count), labels] = generator.normal(1, 1, count) + shift * member
    return TargetSignals.from_logits(logits, labels, member)


def test_an_audit_bounds_epsilon_by_pairs_of_its_records() -> None:
    report = audit_signals(signals(3.0), attacks="loss_threshold")
    expected = epsilon_bounds({"a": (-report.signals.losses, report.signals.is_member)})
    assert report.epsilon.one_run.epsilon == expected.one_run.epsilon > 0.5
    assert report.epsilon.records == 200 and report.epsilon.drawn == "dealt" and report.notices == ()


def test_attacks_that_know_members_are_left_out_and_the_loss_is_not() -> None:
    report = audit_signals(signals(3.0), attacks=["black_box_partial", "gap"])
    assert {report.epsilon.one_run.attack, report.epsilon.gaussian.attack} <= {"loss_threshold", "gap"}
    alone = audit_signals(signals(3.0), attacks="black_box_partial")
    assert alone.epsilon == audit_signals(signals(3.0), attacks="loss_threshold").epsilon


@pytest.mark.parametrize(("claimed", "told"), [(0.1, True), (50.0, False)])
def test_a_claim_that_is_refuted_is_a_notice(claimed: float, told: bool) -> None:
    report = replace(audit_signals(signals(3.0), attacks="loss_threshold"), claim=PrivacyClaim(claimed, 1e-4))
    assert report.epsilon.delta == 1e-4
    found = [notice for notice in report.notices if notice.startswith("epsilon exceeded: ")]
    assert bool(found) == told
    if told:
        assert "claimed is at most 0.100 at delta 0.0001" in found[0] and ";" not in found[0]


def test_a_claim_that_only_gaussian_noise_would_break_says_so() -> None:
    report = audit_signals(signals(3.0), attacks="loss_threshold")
    between = (report.epsilon.one_run.epsilon + report.epsilon.gaussian.epsilon) / 2
    assert report.epsilon.one_run.epsilon < between
    (notice,) = replace(report, claim=PrivacyClaim(between)).notices
    assert "if its noise is Gaussian" in notice


def test_canaries_take_the_place_of_the_records() -> None:
    generator = np.random.default_rng(0)
    included = generator.random(300) < 0.5
    canaries = CanaryScores(included + generator.normal(0, 0.3, 300), included)
    report = replace(audit_signals(signals(0.0), attacks="loss_threshold"), canaries=canaries)
    assert report.epsilon.drawn == "coins" and report.epsilon.records == 300 and report.epsilon.one_run.epsilon > 1


@pytest.mark.parametrize(("claim", "told"), [((-1.0, 1e-5), "epsilon is -1.0"), ((1.0, 0.0), "delta is 0.0")])
def test_claims_out_of_range_are_refused(claim: tuple[float, float], told: str) -> None:
    with pytest.raises(AuditError, match=told):
        PrivacyClaim(*claim)


def test_the_page_and_its_numbers_tell_both_bounds() -> None:
    report = replace(audit_signals(signals(3.0), attacks="loss_threshold"), claim=PrivacyClaim(0.5))
    info = audit_info(report)
    told = json.loads(audit_json(report, info, title="mine", facts={}))["privacy"]
    assert told["claimed"] == 0.5 and told["one_run"]["epsilon"] == report.epsilon.one_run.epsilon
    assert told["text"] == str(report.epsilon) and told["delta"] == 1e-5 and told["records"] == 200
    page = render_audit(info)
    assert "claimed is at most 0.50" in page and "epsilon exceeded" in page and "200 random pairs" in page


# --- canaries ---


def test_canaries_are_mislabelled_records_of_the_attackers_and_half_are_included() -> None:
    data = load_dataset("digits")
    split = data.split(seed=0)
    canaries, left = plant_canaries(data, split, 401, seed=0)
    attackers = np.concatenate([split.shadow_train, split.shadow_test])
    kept = np.concatenate([left.shadow_train, left.shadow_test])
    assert len(np.unique(canaries.index)) == 401 and set(canaries.index) <= set(attackers)
    assert set(kept) == set(attackers) - set(canaries.index)
    assert abs(len(left.shadow_train) - len(left.shadow_test)) <= 1
    assert (canaries.labels != data.labels[canaries.index].numpy()).all() and set(canaries.labels) == set(range(10))
    assert 150 < canaries.included.sum() < 250
    images, labels = canaries.records(data, split.target_train)
    assert len(images) == len(labels) == len(split.target_train) + canaries.included.sum()
    assert (labels[len(split.target_train) :].numpy() == canaries.labels[canaries.included]).all()
    again, _ = plant_canaries(data, split, 401, seed=0)
    other, _ = plant_canaries(data, split, 401, seed=1)
    assert (again.included == canaries.included).all() and (other.included != canaries.included).any()


def test_too_many_canaries_are_refused() -> None:
    data = load_dataset("digits", limit=200)
    with pytest.raises(ConfigError, match=r"canaries: 51; digits has 100 records .* \(50\)"):
        plant_canaries(data, data.split(seed=0), 51, seed=0)
    with pytest.raises(ConfigError, match="canaries: 5; fewer than 20 show nothing"):
        PrivacyEvaluator("digits", canaries=5)


def run_trial(folder: Path, **options: Any) -> dict[str, Any]:
    evaluator = PrivacyEvaluator({"name": "digits", "limit": 400}, attacks=("loss_threshold",), **options)
    space = SimplifiedModelSpace.from_model(DARTS(channels=4, cells=3, in_channels=1), evaluator)
    model = space.random(random_state=np.random.RandomState(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNI_OUTPUT_DIR", str(folder))
        patch.setattr(nni, "report_intermediate_result", lambda _: None)
        with evaluator.mock_runtime(model):
            return dict(model.execute())


def test_a_private_trial_with_canaries_reports_both_bounds_and_what_it_spent(tmp_path: Path) -> None:
    recipe = {"epochs": 1, "batch_size": 32, "dp": {"noise_multiplier": 1.0}}
    metrics = run_trial(tmp_path, recipe=recipe, canaries=60)
    told = json.loads(metrics["data"])
    spent = Spent.of(told["privacy"])
    assert spent is not None and metrics["epsilon"] == pytest.approx(composed_epsilon([spent], delta=1e-5))
    assert 0 <= metrics["epsilon_low"] <= metrics["epsilon"] and metrics["notices"].count("epsilon exceeded") == 0
    with np.load(tmp_path / "scores.npz") as saved:
        included, scores = saved["canary_included"], saved["canary_score"]
        assert len(saved["canary_index"]) == len(saved["canary_label"]) == len(scores) == 60
    assert told["split"]["shadow_train"] == 70 and spent.sample_rate == pytest.approx(32 / (100 + included.sum()))
    expected = epsilon_bounds({"a": (scores, included)}, drawn="coins")
    assert metrics["epsilon_low_gaussian"] == expected.gaussian.epsilon


def test_other_trials_are_as_they_were(tmp_path: Path) -> None:
    metrics = run_trial(tmp_path, recipe={"epochs": 1})
    assert not [name for name in metrics if "epsilon" in name] and "privacy" not in json.loads(metrics["data"])
    with np.load(tmp_path / "scores.npz") as saved:
        assert not [name for name in saved.files if "canary" in name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "clip", "epochs", "refuted"),
    [("correct", 1.5, 40, False), ("no noise", 1.5, 40, True), ("no clipping", 0.1, 60, True)],
)
def test_forgotten_noise_and_clipping_are_caught_and_correct_training_is_not(
    bug: str, clip: float, epochs: int, refuted: bool
) -> None:
    training = run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "epsilon.py"))["audited_training"]
    claimed, found = training(bug, seed=0, canaries=1000, epsilon=2.0, clip=clip, epochs=epochs)
    assert 1.9 < claimed <= 2.0
    assert bool(list(exceeded_claim(found, claimed))) == refuted
