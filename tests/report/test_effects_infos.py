"""Numbers of the part of a study's page on variants, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report.effects_samples import CONTROLS, study_rows, variants, write_study

from nni_privacy.report.effects_infos import (
    EffectsInfo,
    attack_forests,
    budget_effects,
    control_forests,
    dataset_forests,
    defence_forests,
    effects_info,
    level_rows,
    size_forests,
    space_forests,
    variant_forests,
)
from nni_privacy.runs.records import read_run


def info_of(directory: Path, rows: list[dict[str, Any]]) -> EffectsInfo:
    info = effects_info(read_run(write_study(directory / "study", rows)))
    assert info is not None
    return info


def by_hand() -> list[dict[str, Any]]:
    """Three architectures, two seeds; the AUC falls by .01, .02 and .06, and in the second seed by .02 more."""
    found = study_rows(treated=variants(), architectures=3, noise=0)
    drops = (0.01, 0.02, 0.06)
    for row in found:
        number, seed = int(row["factors"]["architecture"][-2:]), row["factors"]["seed"]
        row["metrics"] = {"mia_auc": 0.7, "accuracy": 0.8}
        if row["factors"]["variant"] != "original":
            row["metrics"]["mia_auc"] -= drops[number] + 0.02 * seed
    return found


def test_paired_effects_by_hand(tmp_path: Path) -> None:
    info = info_of(tmp_path, by_hand())
    (forest,) = variant_forests(info)
    assert (forest.title, forest.metrics) == ("cifar10, DARTS space", ("mia_auc", "accuracy"))
    (row,) = forest.rows
    assert (row.label, row.group, row.kind) == ("demotion-reduction-4", "demotion-reduction-4", "pattern")
    auc, accuracy = row.effects
    assert auc is not None and accuracy is not None
    assert auc.by_architecture == pytest.approx({"sampled-00": -0.02, "sampled-01": -0.03, "sampled-02": -0.07})
    # Means -.02, -.03, -.07: mean -.04, standard error .0264575 / sqrt(3) = .0152753, Student's t(2) 4.302653.
    assert auc.mean == pytest.approx(-0.04)
    assert auc.estimate is not None
    assert (auc.estimate.low, auc.estimate.high) == pytest.approx((-0.1057241, 0.0257241))
    assert auc.estimate.pairs == 6
    assert accuracy.mean == 0
    assert [(row.claim.id, row.verdict) for row in info.verdicts.rows] == [
        ("demotion-reduction-4-auc", "undecided at this size"),
        ("demotion-reduction-4-accuracy", "holds"),
    ]


def test_a_failed_trial_leaves_its_partner_alone_and_named(tmp_path: Path) -> None:
    rows = by_hand()
    lost = next(row for row in rows if row["factors"]["variant"] != "original")
    lost.update(status="failed", metrics={}, error="out of memory")
    info = info_of(tmp_path, rows)
    assert info.unpaired == (
        "sampled-00, original, cifar10, 8 channels, 5 cells, 4 nodes, seed 0: no demotion-reduction-4",
    )
    effect = variant_forests(info)[0].rows[0].effects[0]
    assert effect is not None and len(effect.pairing.pairs) == 5


def test_controls_stand_beside_their_pattern_and_against_it(tmp_path: Path) -> None:
    info = info_of(tmp_path, study_rows(treated=variants(budgets=(3, 4), controls=CONTROLS), noise=0))
    (forest,) = variant_forests(info)
    assert [row.label for row in forest.rows] == [
        f"demotion-reduction-{m}{control}" for m in (3, 4) for control in ("", "-placebo", "-size-matched")
    ]
    assert [row.kind for row in forest.rows] == ["pattern", "placebo", "size-matched"] * 2
    (against,) = control_forests(info)
    means = {row.label: row.effects[0].mean for row in against.rows if row.effects[0] is not None}
    assert means == pytest.approx(
        {
            "demotion-reduction-3 less placebo": 0.75 * (-0.03 + 0.008),
            "demotion-reduction-3 less size-matched": 0.75 * (-0.03 + 0.012),
            "demotion-reduction-4 less placebo": -0.03 + 0.008,
            "demotion-reduction-4 less size-matched": -0.03 + 0.012,
        }
    )


def test_budgets_rise_and_one_alone_has_no_panel(tmp_path: Path) -> None:
    info = info_of(tmp_path / "three", study_rows(treated=variants(budgets=(5, 3, 4), controls=CONTROLS), noise=0))
    ((title, found),) = budget_effects(info).items()
    assert title == "demotion, reduction, cifar10, DARTS space"
    assert list(found) == [3, 4, 5]
    assert [effect.mean for effect in found.values()] == pytest.approx([-0.0225, -0.03, -0.0375])
    assert budget_effects(info_of(tmp_path / "one", study_rows(treated=variants()))) == {}


def test_attacks_side_by_side(tmp_path: Path) -> None:
    info = info_of(tmp_path / "three", study_rows(treated=variants(), attacks=("label_only", "lira")))
    (forest,) = attack_forests(info)
    assert [row.label for row in forest.rows] == [
        f"demotion-reduction-4, {attack}" for attack in ("white box partial", "label only", "lira")
    ]
    assert attack_forests(info_of(tmp_path / "one", study_rows(treated=variants()))) == ()


def test_data_sets_and_spaces_side_by_side(tmp_path: Path) -> None:
    rows = study_rows(treated=variants(), datasets=("digits", "cifar10"))
    rows += study_rows(treated=variants(), space="nasbench201")
    info = info_of(tmp_path, rows)
    (data,) = dataset_forests(info)
    assert data.title == "DARTS space"
    assert [row.label for row in data.rows] == ["demotion-reduction-4, digits", "demotion-reduction-4, cifar10"]
    (space,) = space_forests(info)
    assert space.title == "cifar10"
    assert [row.label for row in space.rows] == [
        "demotion-reduction-4, DARTS space",
        "demotion-reduction-4, NAS-Bench-201",
    ]


def test_sizes_are_pooled_and_side_by_side(tmp_path: Path) -> None:
    rows = study_rows(treated=variants(), cells=(3, 5), noise=0)
    for row in rows:
        if row["factors"]["network_cells"] == 3 and row["factors"]["pattern"]:
            row["metrics"]["mia_auc"] -= 0.02
    info = info_of(tmp_path, rows)
    (forest,) = size_forests(info)
    means = {row.label: row.effects[0].mean for row in forest.rows if row.effects[0] is not None}
    assert means == pytest.approx(
        {
            "demotion-reduction-4, 8 channels, 3 cells, 4 nodes": -0.05,
            "demotion-reduction-4, 8 channels, 5 cells, 4 nodes": -0.03,
        }
    )
    pooled = variant_forests(info)[0].rows[0].effects[0]
    assert pooled is not None and pooled.mean == pytest.approx(-0.04)
    assert len(pooled.pairing.pairs) == 24
    assert size_forests(info_of(tmp_path / "one", study_rows(treated=variants()))) == ()


def test_epsilon_stands_beside_every_number_of_differential_privacy(tmp_path: Path) -> None:
    rows = study_rows(treated=variants(), defences=("none", "dp-sgd", "augmentation"), noise=0)
    info = info_of(tmp_path, rows)
    (forest,) = defence_forests(info)
    assert [row.label for row in forest.rows] == [
        "dp-sgd (ε = 3.25) alone",
        "dp-sgd (ε = 3.25) + demotion-reduction-4",
        "augmentation alone",
        "augmentation + demotion-reduction-4",
    ]
    alone, added = (row.effects[0] for row in forest.rows[:2])
    assert alone is not None and added is not None
    assert (alone.mean, added.mean) == pytest.approx((-0.1, -0.03))
    assert {row.defence for row in level_rows(info)} == {"none", "dp-sgd (ε = 3.25)", "augmentation"}


def test_different_epsilons_are_a_range(tmp_path: Path) -> None:
    rows = study_rows(treated=variants(), defences=("none", "dp-sgd"))
    protected = [row for row in rows if "epsilon" in row["metrics"]]
    protected[0]["metrics"]["epsilon"] = 2.5
    assert info_of(tmp_path, rows).defence("cifar10", "dp-sgd") == "dp-sgd (ε = 2.5 to 3.25)"


def test_levels_are_means_of_architectures_means(tmp_path: Path) -> None:
    rows = study_rows(treated=variants(), architectures=2, defences=("none", "dp-sgd"), noise=0)
    kept = [row for row in rows if row["factors"]["architecture"] != "sampled-01" or row["factors"]["seed"] == 0]
    for row in kept:
        row["metrics"]["mia_auc"] = {"sampled-00": 0.6, "sampled-01": 0.9}[row["factors"]["architecture"]]
    found = level_rows(info_of(tmp_path, kept))
    assert [(row.defence, row.variant) for row in found] == [
        ("none", "original"),
        ("dp-sgd (ε = 3.25)", "original"),
        ("none", "demotion-reduction-4"),
        ("dp-sgd (ε = 3.25)", "demotion-reduction-4"),
    ]
    assert [row.mia_auc for row in found] == pytest.approx([0.75] * 4)
    assert [row.architectures for row in found] == [2] * 4


def test_a_study_without_anything_to_compare_has_no_info(tmp_path: Path) -> None:
    rows = study_rows(treated=variants()[:1], architectures=4)
    assert effects_info(read_run(write_study(tmp_path / "few", rows))) is None
    for row in rows:
        row.update(status="failed", metrics={})
    assert effects_info(read_run(write_study(tmp_path / "failed", rows))) is None


def test_trials_without_factors_are_left_out_and_of_attempts_the_last_counts(tmp_path: Path) -> None:
    rows = by_hand()
    again = {**rows[0], "metrics": {"mia_auc": 0.25}}
    bare = {key: value for key, value in rows[0].items() if key != "factors"}
    run = read_run(write_study(tmp_path / "study", [*rows, again]))
    lines = (run.directory / "trials.jsonl").read_text(encoding="utf-8")
    strange = [{**bare, "trial": "x"}, {**bare, "trial": "y", "factors": {**rows[0]["factors"], "seed": "first"}}]
    lines += "".join(json.dumps({"sequence": 99, **row}) + "\n" for row in strange)
    (run.directory / "trials.jsonl").write_text(lines, encoding="utf-8")
    info = effects_info(read_run(run.directory))
    assert info is not None and len(info.rows) == len(rows)
    assert info.rows[0].metrics == {"mia_auc": 0.25}
