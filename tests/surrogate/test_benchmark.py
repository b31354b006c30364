from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from measured_sample import SAMPLE
from scipy.stats import t
from surrogate.samples import planted_auc, random_codes

from nni_privacy.errors import ConfigError
from nni_privacy.report.surrogate_figure import benchmark_svg
from nni_privacy.surrogate import MIAData, read_mia_data
from nni_privacy.surrogate.benchmark import (
    BenchmarkInfo,
    ModelScores,
    benchmark,
    benchmark_table,
    corrected_interval,
    score,
    scores_csv,
)

CODES = random_codes(120)
DATA = MIAData(tuple(CODES.to_genotypes()), planted_auc(CODES))


@pytest.fixture(scope="module")
def info() -> BenchmarkInfo:
    return benchmark(DATA, ["ridge", "ridge_one_hot"], splits=4, seed=3, reference="ridge")


def test_scores_are_those_of_scikit_learn_and_scipy() -> None:
    from scipy.stats import kendalltau, spearmanr
    from sklearn.metrics import r2_score

    random = np.random.default_rng(0)
    measured, predicted = random.normal(size=50), random.normal(size=50)
    expected = (r2_score(measured, predicted), spearmanr(measured, predicted)[0], kendalltau(measured, predicted)[0])
    assert score(measured, predicted) == pytest.approx(expected)
    assert score(measured, np.full(50, measured.mean())) == pytest.approx((0, 0, 0))


def test_interval_allows_for_overlapping_training_sets() -> None:
    values = np.array([0.1, 0.3, 0.2, 0.6])
    found = corrected_interval(values, test=10, train=90)
    half = t.ppf(0.975, 3) * np.sqrt((1 / 4 + 1 / 9) * values.var(ddof=1))
    assert (found.mean, found.low, found.high) == pytest.approx((0.3, 0.3 - half, 0.3 + half))


def test_all_models_see_the_same_splits_and_a_seed_repeats_them(info: BenchmarkInfo) -> None:
    again = benchmark(DATA, ["ridge"], splits=4, seed=3, reference="ridge")
    np.testing.assert_array_equal(again.models[0].scores, info.models[0].scores)
    assert (info.splits, info.test, info.architectures) == (4, 12, 120)
    other = benchmark(DATA, ["ridge"], splits=4, seed=4, reference="ridge")
    assert (other.models[0].scores != info.models[0].scores).any()


@pytest.mark.slow
def test_two_workers_find_the_same_as_one(info: BenchmarkInfo) -> None:
    shared = benchmark(DATA, ["ridge", "ridge_one_hot"], splits=4, seed=3, workers=2, reference="ridge")
    for one, other in zip(info.models, shared.models, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-9)


def test_differences_are_paired_by_split(info: BenchmarkInfo) -> None:
    reference, other = info.models
    assert info.difference(other, "r2").mean == pytest.approx(np.mean(other.scores[:, 0] - reference.scores[:, 0]))
    assert info.difference(reference, "r2").high == 0


def test_the_reference_is_added(info: BenchmarkInfo) -> None:
    assert [model.name for model in benchmark(DATA, ["ridge"], splits=2, reference="ridge_one_hot").models] == [
        "ridge_one_hot",
        "ridge",
    ]


def test_nothing_is_found_where_nothing_is() -> None:
    noise = MIAData(DATA.genotypes, np.random.default_rng(0).uniform(0.7, 0.9, len(DATA)))
    model = benchmark(noise, ["ridge"], splits=10, reference="ridge").models[0]
    # Correlations on the remaining tenth of pure noise are negative: what train has too much of, test has too little.
    assert model.mean("r2") < 0.05 and model.mean("spearman") < 0.1


@pytest.mark.slow
def test_default_on_measured_architectures_is_neither_poor_nor_too_good(measured_file: Path) -> None:
    model = benchmark(read_mia_data(measured_file), ["default"], splits=4).models[0]
    # Four splits are noisy; the full benchmark of 30 is in docs/surrogate.md. The AUCs of the sample are planted.
    r2, spearman = ((0.55, 0.80), (0.70, 0.90)) if measured_file == SAMPLE else ((0.10, 0.25), (0.30, 0.50))
    assert r2[0] < model.mean("r2") < r2[1] and spearman[0] < model.mean("spearman") < spearman[1]


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2 splits"):
        benchmark(DATA, ["ridge"], splits=1)
    with pytest.raises(ConfigError, match="named twice"):
        benchmark(DATA, ["ridge", "ridge"])
    with pytest.raises(ConfigError, match="unknown surrogate 'nobody'"):
        benchmark(DATA, ["nobody"])


def test_table_csv_and_figure_show_every_model(info: BenchmarkInfo) -> None:
    table = benchmark_table(info)
    assert f"| ridge | {info.models[0].mean('r2'):.3f} ± {info.models[0].deviation('r2'):.3f} |" in table
    assert len(table.splitlines()) == 4
    rows = list(csv.DictReader(io.StringIO(scores_csv(info))))
    assert len(rows) == 8
    assert float(rows[5]["spearman"]) == pytest.approx(info.models[1].scores[1, 1], abs=1e-6)
    svg = benchmark_svg(info)
    assert svg.startswith("<svg") and all(f">{model.name}<" in svg for model in info.models)
    assert svg == benchmark_svg(info)


def test_deviation_is_between_splits() -> None:
    scores = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    assert ModelScores("a", scores, np.ones(2)).deviation("r2") == pytest.approx(np.sqrt(0.02))
