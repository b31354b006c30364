from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysis.planted import DEMOTION, PLACEBO, SIZE_MATCHED, planted_rows

from nni_privacy.analysis.contrasts import auc_metrics, effect_metrics, paired_effects
from nni_privacy.analysis.rows import MeasuredRow

TREATED = [
    (DEMOTION, {"mia_auc": -0.03}),
    (PLACEBO, {"mia_auc": -0.01}),
    (SIZE_MATCHED, {"mia_auc": -0.02}),
]


def test_every_comparison_is_there_with_the_planted_size() -> None:
    effects = paired_effects(planted_rows(TREATED, noise=1e-6), ["mia_auc"])
    found = {(effect.variant, effect.against): effect.mean for effect in effects}
    assert found == {
        ("demotion-reduction-4", "original"): pytest.approx(-0.03, abs=1e-5),
        ("demotion-reduction-4", "placebo"): pytest.approx(-0.02, abs=1e-5),
        ("demotion-reduction-4", "size-matched"): pytest.approx(-0.01, abs=1e-5),
        ("demotion-reduction-4-placebo", "original"): pytest.approx(-0.01, abs=1e-5),
        ("demotion-reduction-4-size-matched", "original"): pytest.approx(-0.02, abs=1e-5),
    }


def test_against_a_control_is_the_difference_of_two_paired_differences() -> None:
    effects = {(e.variant, e.against): e for e in paired_effects(planted_rows(TREATED), ["mia_auc"])}
    name = "demotion-reduction-4"
    pattern, control = effects[name, "original"], effects[f"{name}-placebo", "original"]
    wanted = {
        label: pattern.by_architecture[label] - control.by_architecture[label] for label in pattern.by_architecture
    }
    assert effects[name, "placebo"].by_architecture == pytest.approx(wanted)
    estimate = effects[name, "placebo"].estimate
    assert estimate is not None and (estimate.pairs, estimate.architectures) == (20, 10)


def test_means_by_hand() -> None:
    def row(architecture: str, variant: str, seed: int, auc: float) -> MeasuredRow:
        return MeasuredRow(architecture, variant, "digits", "none", seed, {"mia_auc": auc})

    rows = [row("a", "original", 0, 0.7), row("a", "x", 0, 0.6), row("a", "original", 1, 0.7), row("a", "x", 1, 0.68)]
    rows += [row("b", "original", 0, 0.5), row("b", "x", 0, 0.56), row("b", "original", 1, 0.5)]
    (effect,) = paired_effects(rows, ["mia_auc"])
    assert effect.by_architecture == pytest.approx({"a": -0.06, "b": 0.06})
    assert effect.mean == pytest.approx(0)
    assert effect.estimate is not None and effect.estimate.pairs == 3
    assert [str(alone) for alone in effect.pairing.unpaired] == ["b, original, digits, seed 1"]


def test_two_pairs_have_a_mean_and_a_reason() -> None:
    (effect,) = paired_effects(planted_rows(TREATED[:1], architectures=2, seeds=1), ["mia_auc"])
    assert effect.estimate is None
    assert effect.reason == "2 pairs; an interval needs at least 3"
    assert np.isfinite(effect.mean)


def test_architectures_that_were_never_varied_miss_nothing() -> None:
    rows = planted_rows(TREATED[:1], architectures=3)
    networks = [
        replace(row, architecture="resnet", kind="human-designed", size=None, genotype=None)
        for row in rows
        if row.original
    ]
    assert all(not effect.pairing.unpaired for effect in paired_effects([*rows, *networks], ["mia_auc"]))


def test_defences_are_compared_with_none_and_patterns_within_a_defence() -> None:
    plain = planted_rows(TREATED[:1], noise=1e-6)
    private = [
        replace(row, defence="dp-sgd", metrics={"mia_auc": row.metrics["mia_auc"] - 0.1 - 0.02 * (not row.original)})
        for row in plain
    ]
    effects = paired_effects([*plain, *private], ["mia_auc"])
    found = {(effect.variant, effect.against, effect.defence): round(effect.mean, 4) for effect in effects}
    assert found == {
        ("demotion-reduction-4", "original", "none"): -0.03,
        ("demotion-reduction-4", "original", "dp-sgd"): -0.05,
        ("original", "no defence", "dp-sgd"): -0.1,
        ("demotion-reduction-4", "no defence", "dp-sgd"): -0.12,
    }


def test_data_sets_and_sizes_are_kept_apart() -> None:
    rows = planted_rows(TREATED[:1])
    other = [replace(row, dataset="digits", size="8 channels") for row in planted_rows(TREATED[:1], seed=1)]
    effects = paired_effects([*rows, *other], ["mia_auc"])
    assert [effect.dataset for effect in effects] == ["cifar10", "digits"]
    assert [len(effect.pairing.pairs) for effect in effects] == [20, 20]


def test_metrics_of_further_attacks_are_found() -> None:
    rows = [
        replace(row, metrics={**row.metrics, "label_only_mia_auc": 0.6, "seconds": 1.0}) for row in planted_rows([])
    ]
    assert auc_metrics(rows) == ("mia_auc", "label_only_mia_auc")
    assert effect_metrics(rows) == ("mia_auc", "accuracy", "overfitting", "label_only_mia_auc")
