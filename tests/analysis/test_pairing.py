from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysis.planted import DEMOTION, planted_rows

from nni_privacy.analysis.contrasts import ACROSS_DEFENCES, pair_rows
from nni_privacy.analysis.rows import MeasuredRow, measured_row
from nni_privacy.errors import DataError
from nni_privacy.runs.records import TrialRecord


def some_rows(seed: int, share: float = 0.6) -> list[MeasuredRow]:
    """A random part of a full grid of factors."""
    rng = np.random.default_rng(seed)
    return [
        MeasuredRow(architecture, variant, dataset, defence, run, {"mia_auc": float(rng.random())}, size=size)
        for architecture in ("a", "b", "c")
        for variant in ("original", "demotion-reduction-4", "promotion-normal-3")
        for dataset in ("digits", "cifar10")
        for defence in ("none", "dp-sgd")
        for run in (0, 1)
        for size in (None, "8 channels")
        if rng.random() < share
    ]


@pytest.mark.parametrize("seed", range(8))
def test_pairs_are_those_of_a_search_through_all_of_them(seed: int) -> None:
    rows = some_rows(seed)
    before = [row for row in rows if row.original]
    after = [row for row in rows if row.variant == "demotion-reduction-4"]
    wanted = [
        (one, two)
        for two in after
        for one in before
        if (one.architecture, one.dataset, one.defence, one.seed, one.size)
        == (two.architecture, two.dataset, two.defence, two.seed, two.size)
    ]
    pairing = pair_rows(before, after)
    assert [(pair.before, pair.after) for pair in pairing.pairs] == wanted
    alone = [row for row in (*after, *before) if not any(row in pair for pair in wanted)]
    assert list(pairing.unpaired) == alone
    values, architectures = pairing.differences("mia_auc")
    assert values == [two.metrics["mia_auc"] - one.metrics["mia_auc"] for one, two in wanted]
    assert architectures == [two.architecture for _, two in wanted]


@pytest.mark.parametrize("seed", range(4))
def test_a_defence_is_paired_with_none_of_the_same_seed(seed: int) -> None:
    originals = [row for row in some_rows(seed, 0.8) if row.original]
    split = {name: [row for row in originals if row.defence == name] for name in ("none", "dp-sgd")}
    pairing = pair_rows(split["none"], split["dp-sgd"], by=ACROSS_DEFENCES)
    assert pairing.pairs
    for pair in pairing.pairs:
        assert replace(pair.after, defence="none", metrics={}) == replace(pair.before, metrics={})
    assert 2 * len(pairing.pairs) + len(pairing.unpaired) == len(originals)


def test_a_pair_without_the_metric_leaves_its_other_half_alone() -> None:
    rows = planted_rows([(DEMOTION, {})], architectures=2, seeds=2)
    rows = [replace(row, metrics={}) if row.seed == 1 and not row.original else row for row in rows]
    pairing = pair_rows([row for row in rows if row.original], [row for row in rows if not row.original])
    assert len(pairing.pairs) == 4
    measured = pairing.measuring("mia_auc")
    assert [pair.after.seed for pair in measured.pairs] == [0, 0]
    assert [(row.variant, row.seed) for row in measured.unpaired] == [("original", 1), ("original", 1)]


def test_a_measurement_that_was_run_again_counts_once() -> None:
    one, two = planted_rows([(DEMOTION, {})], architectures=1, seeds=1)
    again = replace(two, metrics={"mia_auc": 0.25})
    pairing = pair_rows([one], [two, again])
    assert [pair.after for pair in pairing.pairs] == [again] and not pairing.unpaired


def test_a_row_names_itself() -> None:
    row = planted_rows([(DEMOTION, {})], architectures=1, seeds=1, defence="dp-sgd")[1]
    assert str(row) == "sampled-00, demotion-reduction-4, cifar10, dp-sgd, 16 channels, 5 cells, 4 nodes, seed 0"


def test_rows_are_read_from_factors() -> None:
    wanted = planted_rows([(DEMOTION, {})], architectures=1, seeds=1)[1]
    factors = {
        name: getattr(wanted, name) for name in MeasuredRow.__dataclass_fields__ if name not in ("metrics", "genotype")
    }
    trial = TrialRecord("a", 0, "succeeded", str(wanted.genotype), wanted.metrics, factors=factors)
    assert measured_row(trial) == wanted
    assert measured_row(replace(trial, architecture="resnet")).space is None
    other = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    assert measured_row(replace(trial, architecture=other)).space == "nasbench201"


@pytest.mark.parametrize(("name", "value"), [("architecture", None), ("seed", None), ("seed", "0"), ("budget", 4.0)])
def test_factors_that_are_missing_or_wrong_are_named(name: str, value: object) -> None:
    factors = {"architecture": "a", "variant": "original", "dataset": "digits", "defence": "none", "seed": 0}
    with pytest.raises(DataError, match=f"^factors: {name}: "):
        measured_row(TrialRecord("a", 0, "succeeded", "", factors={**factors, name: value}))
