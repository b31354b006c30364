"""Audits of answers: what each kind of them allows, and that kinds that say the same give the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from nni_privacy import audit_predictions
from nni_privacy.attacks import attack_names, get_attack
from nni_privacy.auditing.options import Effort
from nni_privacy.auditing.predictions import OUTPUTS, prediction_signals
from nni_privacy.errors import AuditError, ConfigError, PrivacyError

N, CLASSES, MODELS = 400, 5, 8
FULL = {"black_box_partial", "loss_threshold", "gap"}
WITH_REFERENCES = {"lira", "rmia"}


class World:
    """Logits of a model and of reference models on records of which each model remembers its own a little."""

    def __init__(self, *, gap: float = 1.5, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.labels = generator.integers(0, CLASSES, N)
        self.member = generator.permutation(N) < N // 2
        self.keep = np.stack([generator.permutation(N) < N // 2 for _ in range(MODELS)], axis=1)
        hardness = generator.normal(size=N)
        self.logits = self._logits(generator, hardness, self.member, gap)
        self.others = np.stack([self._logits(generator, hardness, one, gap) for one in self.keep.T], axis=1)

    def _logits(self, generator: Any, hardness: Any, trained: Any, gap: float) -> Any:
        logits = generator.normal(size=(N, CLASSES))
        logits[np.arange(N), self.labels] += 1 + hardness + gap * trained
        return logits

    def own(self, values: Any) -> Any:
        """The entries of the true classes."""
        index = self.labels.reshape(-1, *[1] * (values.ndim - 1))
        return np.take_along_axis(values, index, axis=-1)[..., 0]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_what_answers_in_full_allow_is_made_and_the_rest_is_named(world: World) -> None:
    report = audit_predictions(softmax(world.logits, axis=1), world.labels, world.member)
    assert set(report.attacks) >= FULL and report.primary.name == "black_box_partial"
    assert set(report.attacks) | set(report.skipped) == set(attack_names())
    assert set(report.attacks).isdisjoint({*WITH_REFERENCES, "label_only", "white_box_partial"})
    assert report.skipped["lira"].startswith("needs shadows (")
    assert any({"lira", "rmia"} <= set(names) for names in report.not_made.values())
    truth = roc_auc_score(world.member, world.own(log_softmax(world.logits, axis=1)))
    assert report.attacks["loss_threshold"].roc.auc == pytest.approx(truth, abs=1e-12)
    correct = world.logits.argmax(axis=1) == world.labels
    gap = correct[world.member].mean() - correct[~world.member].mean()
    assert report.attacks["gap"].roc.auc == pytest.approx(0.5 + gap / 2)
    assert report.record_index.tolist() == list(range(N))
    assert {"Date", "Versions"} <= set(report.provenance)


@pytest.mark.parametrize("outputs", ["logits", "log_probabilities", "probabilities"])
def test_kinds_that_say_the_same_give_the_same(world: World, outputs: str) -> None:
    forms = {"logits": np.asarray, "log_probabilities": log_softmax, "probabilities": softmax}
    form = (lambda values: values) if outputs == "logits" else lambda values: forms[outputs](values, axis=-1)
    options = {"outputs": outputs, "references": form(world.others), "reference_members": world.keep}
    report = audit_predictions(
        form(world.logits), world.labels, world.member, attacks=["lira", "rmia", "loss_threshold"], **options
    )
    plain = audit_predictions(
        world.logits,
        world.labels,
        world.member,
        attacks=["lira", "rmia", "loss_threshold"],
        outputs="logits",
        references=world.others,
        reference_members=world.keep,
    )
    for name, attack in plain.attacks.items():
        assert attack.roc.auc > 0.7
        np.testing.assert_allclose(report.attacks[name].scores, attack.scores, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("outputs", ["confidence", "loss"])
def test_the_true_classs_probability_is_enough_for_loss_and_lira(world: World, outputs: str) -> None:
    form = {"confidence": lambda p: p, "loss": lambda p: -np.log(p)}[outputs]
    options = {"attacks": ["loss_threshold", "lira"], "reference_members": world.keep}
    full, others = softmax(world.logits, axis=-1), softmax(world.others, axis=-1)
    wanted = audit_predictions(full, world.labels, world.member, references=others, **options)
    for labels in (None, world.labels):
        report = audit_predictions(
            form(world.own(full)), labels, world.member, outputs=outputs, references=form(world.own(others)), **options
        )
        for name, attack in wanted.attacks.items():
            np.testing.assert_allclose(report.attacks[name].scores, attack.scores, rtol=1e-4, atol=1e-4)
    found = audit_predictions(form(world.own(full)), None, world.member, outputs=outputs)
    assert list(found.attacks) == ["loss_threshold"] and "logits" in found.skipped["gap"]
    assert not any(notice.startswith(("one class", "accuracy")) for notice in found.notices)


def test_of_two_classes_the_second_ones_number_is_enough() -> None:
    generator = np.random.default_rng(0)
    chance, labels, member = generator.random(200), generator.integers(0, 2, 200), np.arange(200) < 100
    both = {
        "probabilities": (chance, np.stack([1 - chance, chance], axis=1)),
        "log_probabilities": (np.log(chance), np.log(np.stack([1 - chance, chance], axis=1))),
        "logits": (np.log(chance / (1 - chance)), np.log(np.stack([1 - chance, chance], axis=1))),
    }
    for outputs, forms in both.items():
        one, two = (prediction_signals(form, labels, member, outputs=outputs) for form in forms)
        np.testing.assert_allclose(one.log_posteriors, two.log_posteriors, atol=1e-12)


def test_a_score_is_attacked_as_it_is_and_by_lira(world: World) -> None:
    score, others = 1e3 * world.own(world.logits) - 7e3, 1e3 * world.own(world.others) - 7e3
    alone = audit_predictions(score, None, world.member, outputs="score")
    assert list(alone.attacks) == ["score"] and np.array_equal(alone.primary.scores, score)
    assert alone.primary.roc.auc == pytest.approx(roc_auc_score(world.member, score), abs=1e-12)
    assert {"loss_threshold", "gap", "lira", "rmia"} <= set(alone.skipped)
    options = {"outputs": "score", "references": others}
    offline = audit_predictions(score, None, world.member, **options, reference_members=np.zeros_like(world.keep))
    spread = np.sqrt(others.var(axis=1, ddof=1).mean())  # pooled, as there are few
    wanted = norm.logcdf((score - others.mean(axis=1)) / spread)
    found = offline.attacks["lira"].scores
    assert np.array_equal(np.argsort(found, kind="stable"), np.argsort((score - others.mean(axis=1)), kind="stable"))
    assert np.corrcoef(found, wanted)[0, 1] > 0.8 and "rmia" in offline.skipped
    online = audit_predictions(score, None, world.member, **options, reference_members=world.keep)
    assert online.attacks["lira"].roc.auc > offline.attacks["lira"].roc.auc > alone.primary.roc.auc


def test_predicted_classes_alone_allow_the_gap_attack(world: World) -> None:
    named = world.logits.argmax(axis=1)
    report = audit_predictions(named, world.labels, world.member, outputs="predicted")
    assert list(report.attacks) == ["gap"]
    correct = named == world.labels
    assert report.primary.roc.auc == pytest.approx(
        0.5 + (correct[world.member].mean() - correct[~world.member].mean()) / 2
    )
    assert np.array_equal(report.signals.correct, correct)


def test_where_nothing_leaks_no_attack_says_so() -> None:
    outcomes = []
    for seed in range(20):
        null = World(gap=0.0, seed=seed)
        report = audit_predictions(
            null.logits,
            null.labels,
            null.member,
            outputs="logits",
            references=null.others,
            reference_members=null.keep,
            attacks=["loss_threshold", "gap", "lira", "rmia"],
            seed=seed,
        )
        outcomes.append(report.verdict.leak)
    assert sum(outcomes) <= 3  # of 20, one by chance; P[4 or more] = 1.6%


def test_too_few_references_for_lira_skip_it_unless_it_is_named(world: World) -> None:
    options: dict[str, Any] = {"outputs": "logits", "references": world.others[:, :1]}
    options["reference_members"] = world.keep[:, :1]
    report = audit_predictions(world.logits, world.labels, world.member, **options)
    assert "2 shadows each way" in report.skipped["lira"] and "lira" not in report.attacks
    with pytest.raises(AuditError, match="2 shadows each way"):
        audit_predictions(world.logits, world.labels, world.member, **options, attacks="lira")


def test_a_seed_drives_everything(world: World) -> None:
    first, again, other = (
        audit_predictions(world.logits, world.labels, world.member, outputs="logits", seed=seed) for seed in (3, 3, 4)
    )
    assert first.metrics() == again.metrics() != other.metrics()
    paper = audit_predictions(
        world.logits, world.labels, world.member, outputs="logits", effort=Effort(protocol="paper")
    )
    assert len(paper.primary.records) < N == len(first.primary.records)


GOOD = np.full((60, 3), 1 / 3)
LABELS, MEMBER = np.arange(60) % 3, np.arange(60) < 30


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"outputs": "logit"}, "outputs: 'logit'; did you mean 'logits'"),
        ({"answers": GOOD - 0.5}, r"answers\[0, 0\]: -0.166667; probabilities are 0 to 1"),
        ({"answers": np.where(np.arange(60)[:, None] == 7, np.nan, GOOD)}, r"answers\[7, 0\]: nan; probabilities"),
        ({"answers": GOOD * 0.5}, r"answers\[0\]: the probabilities of all classes add up to 0.5, not 1; are they log"),
        ({"answers": GOOD[:, 0] + 1}, r"answers\[0\]: 1.33333; probabilities are 0 to 1"),
        ({"answers": GOOD[None]}, r"probabilities: shape \(1, 60, 3\), expected \(n,\) or \(n, K\)"),
        ({"answers": [["a"]]}, "probabilities: expected an array of numbers"),
        ({"answers": GOOD[:0]}, r"shape \(0, 3\), expected"),
        ({"answers": -GOOD[:, 0], "outputs": "loss"}, r"answers\[0\]: -0.333333; loss are 0 or more"),
        ({"answers": GOOD[:, 0] / 0, "outputs": "score"}, r"answers\[0\]: inf; score are finite numbers"),
        ({"labels": None}, "labels: missing; probabilities say nothing without the true classes"),
        ({"labels": LABELS[:5]}, r"labels: int64 of shape \(5,\); expected an integer for each of the 60"),
        ({"labels": LABELS + 0.0}, "labels: float64"),
        ({"labels": LABELS - 1}, "labels run from -1"),
        ({"labels": LABELS + 1}, r"labels run from 1 to 3, but the model has classes 0\.\.2"),
        ({"labels": LABELS * 10**7, "answers": GOOD[:, 0], "outputs": "loss"}, "allowed are classes below 10,000"),
        ({"is_member": MEMBER * 2}, "is_member: 2; allowed are booleans, 0 and 1"),
        ({"is_member": MEMBER[:9]}, r"is_member \(9,\)"),
        ({"is_member": np.arange(60) < 5}, "5 members and 55 non-members: an audit needs 20"),
        ({"references": GOOD[:, None], "reference_members": None}, "reference_members: missing"),
        ({"references": GOOD[:, None], "reference_members": MEMBER}, "keep: shape"),
        ({"references": GOOD[:9, None], "reference_members": MEMBER[:9, None]}, "references: 9 records, but there are"),
        ({"references": 2 * GOOD[:, None], "reference_members": MEMBER[:, None]}, r"references\[0, 0\]: the prob"),
        ({"references": GOOD[:, :2, None]}, "shape|reference_members"),
        ({"reference_members": MEMBER[:, None]}, "reference_members: given without references"),
        ({"attacks": "lira"}, "attack 'lira' needs shadows"),
        ({"attacks": "score"}, "unknown attack 'score'"),
        ({"attacks": []}, r"attacks is \[\]"),
        ({"attacks": ["gap", "gap"]}, "expected one or more different names"),
        ({"seed": -1}, "seed is -1"),
        ({"max_auc": 0.4}, "max_auc is 0.4"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(changes: dict[str, Any], words: str) -> None:
    options: dict[str, Any] = {"answers": GOOD, "labels": LABELS, "is_member": MEMBER, **changes}
    with np.errstate(divide="ignore"), pytest.raises(PrivacyError, match=words) as error:
        audit_predictions(options.pop("answers"), options.pop("labels"), options.pop("is_member"), **options)
    assert "\n" not in str(error.value) and isinstance(error.value, (AuditError, ConfigError))


def test_an_attack_says_what_it_makes_do_with() -> None:
    assert get_attack("loss_threshold").answers == {"confidence"} and get_attack("gap").answers == {"prediction"}
    assert "statistic" in get_attack("lira").answers and "statistic" not in get_attack("rmia").answers
    assert {kind.answers for kind in OUTPUTS.values()} == {"logits", "confidence", "statistic", "prediction"}
