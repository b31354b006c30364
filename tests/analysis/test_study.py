from __future__ import annotations

import pytest
from report.samples import make_run
from report.study_samples import ATTACKS, DATASETS, HUMANS, ORIGINAL, SEARCHED, study_row, study_run, write_study
from scipy import stats

from nni_privacy.analysis.study import ACCURACY, bars_info, overfitting_info, study_info, table1_rows
from nni_privacy.runs.records import read_run

DEMOTION = {
    "variant": "demotion-reduction-4",
    "pattern": "demotion",
    "cells": "reduction",
    "budget": 4,
    "control": None,
}


def test_a_study_is_told_from_a_search(tmp_path):
    assert read_run(write_study(tmp_path / "study", datasets=["digits"], seeds=[0])).study
    assert study_run(tmp_path / "waiting", [], architectures=["resnet"]).study
    assert not read_run(make_run(tmp_path / "search")).study


def test_factors_are_read_and_others_than_plain_values_left_out(tmp_path):
    row = study_row("resnet", seed=3, factors={**ORIGINAL, "odd": ["list"]})
    (trial,) = study_run(tmp_path, [row]).trials
    assert (trial.factors["architecture"], trial.factors["seed"], trial.factors["pattern"]) == ("resnet", 3, None)
    assert "odd" not in trial.factors


def test_architectures_stand_by_kind_and_attacks_by_configuration(tmp_path):
    study = study_info(read_run(write_study(tmp_path, seeds=[0, 1])))
    assert [one.label for one in study.architectures] == [*HUMANS, *SEARCHED]
    assert study.kinds == ("human-designed", "NAS")
    assert list(study.attacks) == list(ATTACKS)
    assert study.attacks["white_box_partial"] == "mia_auc"
    assert study.attacks["label_only"] == "label_only_mia_auc"
    assert (study.datasets, study.seeds) == (DATASETS, ("0", "1"))
    assert len(study.succeeded) == 20 * 4 * 2 and not study.failed and not study.missing and not study.further


def test_what_failed_and_what_is_missing(tmp_path):
    path = write_study(tmp_path, failed=["vgg"], missing=["enas"], datasets=["cifar10", "stl10"], seeds=[0, 1])
    study = study_info(read_run(path))
    assert len(study.failed) == 4 and {one.architecture.label for one in study.failed} == {"vgg"}
    assert study.missing == (("enas", "stl10", "0"), ("enas", "stl10", "1"))
    bars = {bar.architecture.label: bar for bar in bars_info(study, "stl10", ACCURACY).bars}
    assert (bars["vgg"].spread, bars["vgg"].failed) == (None, 2)
    assert (bars["enas"].spread, bars["enas"].failed) == (None, 0)
    assert bars["resnet"].spread is not None and bars["resnet"].failed == 0


def test_measurements_of_variants_and_defences_are_counted_with_the_others(tmp_path):
    """Six ran: two originals, and two variants of each, one of which failed."""
    rows = [
        study_row("gdas", seed=seed, status=status, sequence=number, factors={**ORIGINAL, "variant": variant})
        for number, (seed, variant, status) in enumerate(
            [
                *((seed, variant, "succeeded") for seed in range(2) for variant in ("original", "demotion")),
                *((seed, "promotion", "failed" if seed else "succeeded") for seed in range(2)),
            ]
        )
    ]
    study = study_info(study_run(tmp_path, rows))
    assert len(study.succeeded) == 2 and study.ended == (5, 1)


def test_a_later_attempt_that_succeeds_replaces_one_that_failed(tmp_path):
    rows = [
        study_row("resnet", status="failed", error="out of memory", sequence=0),
        study_row("resnet", 0.7, 0.6, sequence=1),
        study_row("resnet", status="failed", error="again", sequence=2),
    ]
    study = study_info(study_run(tmp_path, rows))
    assert len(study.measurements) == 1 and study.measurements[0].metric("mia_auc") == 0.6


def test_bars_are_means_over_seeds_with_the_right_interval(tmp_path):
    rows = [study_row("three", 0.7 + seed / 50, 0.6, seed=seed) for seed in range(3)]
    rows += [study_row("two", 0.7 + seed / 50, 0.6, seed=seed) for seed in range(2)]
    rows += [study_row("one", 0.7, 0.6, mia_auc_low=0.55, mia_auc_high=0.66)]
    study = study_info(study_run(tmp_path, rows))
    bars = {bar.architecture.label: bar.spread for bar in bars_info(study, "digits", ACCURACY).bars}
    three, two, one = (bars[name] for name in ("three", "two", "one"))
    assert three and two and one
    expected = stats.t.interval(0.95, 2, loc=0.72, scale=stats.sem([0.7, 0.72, 0.74]))
    assert (three.mean, three.low, three.high, three.basis) == (pytest.approx(0.72), *map(pytest.approx, expected), "t")
    assert (two.low, two.high, two.basis) == (0.7, 0.72, "range")
    assert one.basis == "none"
    audited = {bar.architecture.label: bar.spread for bar in bars_info(study, "digits", "white_box_partial").bars}
    lonely = audited["one"]
    assert lonely and (lonely.low, lonely.high, lonely.basis) == (0.55, 0.66, "records")


def test_figures_show_the_original_without_defence_where_there_is_one(tmp_path):
    path = write_study(
        tmp_path, variants=[ORIGINAL, DEMOTION], defences=["none", "dp-sgd"], datasets=["digits"], seeds=[0]
    )
    study = study_info(read_run(path))
    assert (study.variants, study.defences) == (("original",), ("none",))
    assert len(study.measurements) == 20
    assert len(study.further) == 20 + 2 * 10


def test_without_an_original_all_are_shown_and_told_apart(tmp_path):
    path = write_study(tmp_path, variants=[DEMOTION], defences=["a", "b"], humans=[], searched=["gdas"], seeds=[0])
    study = study_info(read_run(path))
    assert [one.label for one in study.architectures] == ["gdas · a", "gdas · b"]


def test_sizes_of_one_architecture_are_told_apart(tmp_path):
    rows = [
        study_row("cell", 0.6, 0.6, kind="NAS", factors={**ORIGINAL, "size": "8 channels"}, sequence=0),
        study_row("cell", 0.8, 0.7, kind="NAS", factors={**ORIGINAL, "size": "16 channels"}, sequence=1),
    ]
    study = study_info(study_run(tmp_path, rows))
    assert [one.label for one in study.architectures] == ["cell · 8 channels", "cell · 16 channels"]


def test_table1_by_hand(tmp_path):
    rows = [study_row("a", 0.7, auc, seed=seed) for seed, auc in enumerate([0.60, 0.62])]
    rows += [study_row("b", 0.7, 0.64), study_row("c", 0.7, 0.55)]
    rows += [study_row("n", 0.7, 0.70, kind="NAS", mia_auc_low=0.68, mia_auc_high=0.72)]
    human, nas = table1_rows(study_info(study_run(tmp_path, rows)))
    low, high = stats.t.interval(0.95, 2, loc=0.6, scale=stats.sem([0.61, 0.64, 0.55]))
    assert (human.spread.mean, human.spread.low, human.spread.high) == pytest.approx((0.6, low, high))
    assert (human.architectures, human.measurements, human.highest, human.whose) == (3, 4, 0.64, "b")
    assert (nas.kind, nas.whose, nas.spread.basis, nas.spread.low) == ("NAS", "n", "records", 0.68)


def test_overfitting_is_correlated_over_architectures(tmp_path):
    rng_values = [(0.1, 0.55), (0.2, 0.61), (0.15, 0.6), (0.3, 0.7), (0.25, 0.59), (0.4, 0.66)]
    rows = [
        study_row(f"a{place}", 0.7, auc + jitter, seed=seed, overfitting=over - jitter)
        for place, (over, auc) in enumerate(rng_values)
        for seed, jitter in enumerate((-0.01, 0.01))
    ]
    info = overfitting_info(study_info(study_run(tmp_path, rows)), "digits", "white_box_partial")
    assert len(info.points) == 12 and info.correlation is not None
    assert info.correlation.count == 6
    assert info.correlation.rho == pytest.approx(stats.spearmanr(*zip(*rng_values, strict=True)).statistic)
