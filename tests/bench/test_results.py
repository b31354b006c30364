"""All analyses of a planted table, and the verdicts that follow from what was planted."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
from bench.planted_bench import Rule, bench_table

from nni_privacy.analysis.rules import FAILS, HOLDS, UNDECIDED
from nni_privacy.bench.results import (
    AGREE,
    MATTERS,
    BenchResults,
    bench_results,
    plain_results,
    with_surrogate,
    without_seeds,
)
from nni_privacy.bench.table import merge_tables
from nni_privacy.cells.spaces import SPACES
from nni_privacy.errors import DataError

CELLS = {"darts": 12, "nasbench201": 5}
RULE = Rule()


@cache
def results(rule: Rule = RULE) -> BenchResults:
    return bench_results(bench_table(cells=CELLS, rule=rule), rounds=200)


def verdicts(found: BenchResults, question: str) -> dict[str, str]:
    return {line.outcome: line.verdict for line in found.verdicts if line.question == question}


def test_what_is_planted_is_found() -> None:
    found = results(Rule(cell=0.05, network=0.02))
    assert verdicts(found, "architecture")["AUC"] == HOLDS
    assert verdicts(found, "AUC against TPR") == {"AUC and TPR": HOLDS}
    (one,) = found.datasets
    assert (one.cells, one.attack, one.missing) == (17, "rmia", {})
    shares = [share.value for share in one.splits["AUC"].parts.values()]
    assert sum(shares) == pytest.approx(1.0) and min(shares) >= 0
    assert one.splits["AUC"].parts["remaining"].value > 0.2 and one.needed["AUC"] > 17


def test_a_pattern_that_does_nothing_is_not_said_to_protect() -> None:
    nothing, much = results(Rule(demotion=0.0, network=0.005)), results(Rule(demotion=-0.05, network=0.005))
    assert verdicts(nothing, "pattern beyond size")["rmia_auc"] == UNDECIDED
    assert verdicts(much, "pattern beyond size")["rmia_auc"] == HOLDS
    harmful = results(Rule(demotion=0.05, network=0.005))
    assert verdicts(harmful, "pattern beyond size")["rmia_auc"] == FAILS


def test_an_architecture_that_adds_nothing_is_not_said_to_matter() -> None:
    found = results(Rule(cell=0.0, network=0.0))
    assert verdicts(found, "architecture")["AUC"] == FAILS
    (line,) = [line for line in found.verdicts if (line.question, line.outcome) == ("architecture", "AUC")]
    assert line.low <= line.value <= line.high < MATTERS < AGREE


def test_no_verdict_without_the_adjusted_p_value() -> None:
    for line in results().verdicts:
        if line.p_holm is not None and line.p_holm > 0.05:
            assert line.verdict == UNDECIDED
        assert line.low <= line.value <= line.high and line.cells >= 5


def test_data_sets_are_analysed_by_themselves() -> None:
    both = merge_tables(
        [(name, bench_table(cells=CELLS, rule=Rule(), dataset=name, seed=seed)) for seed, name in enumerate("ab")]
    )
    found = bench_results(both, rounds=200)
    assert [one.dataset for one in found.datasets] == ["a", "b"]
    alone = bench_results(both[both["dataset"] == "b"].reset_index(drop=True), rounds=200)
    assert plain_results(found.datasets[1]) == plain_results(alone.datasets[0])


def test_two_protocols_of_a_data_set_are_told_apart() -> None:
    parts = [(name, bench_table(cells={"darts": 6}, rule=Rule(), protocol=name)) for name in ("one", "two")]
    found = bench_results(merge_tables(parts), rounds=200)
    assert [one.protocol for one in found.datasets] == ["one", "two"]
    assert all(line.dataset.endswith(("(one)", "(two)")) for line in found.verdicts) and found.verdicts


def test_the_same_table_gives_the_same_numbers_and_they_are_json() -> None:
    table = bench_table(cells=CELLS, rule=Rule())
    texts = {json.dumps(plain_results(bench_results(table, rounds=200)), allow_nan=False) for _ in range(2)}
    assert len(texts) == 1 and "NaN" not in texts.pop()


def test_few_cells_leave_analyses_out_and_say_why() -> None:
    found = bench_results(bench_table(cells={"darts": 4}, rule=Rule()), rounds=200)
    (one,) = found.datasets
    assert {"variance of AUC", "predictors of AUC"} <= one.missing.keys() and not one.splits
    assert all(one.missing.values()) and one.frontiers


@pytest.mark.parametrize(("outcome", "log"), [("rmia_auc", False), ("rmia_tpr", True)])
def test_what_a_whole_seed_has_in_common_is_nobodys_share(outcome: str, log: bool) -> None:
    table = bench_table(cells=CELLS, rule=Rule())
    last = table[(table["epoch"] == table["epochs"]) & (table["variant"] == "original")]
    lucky = last["seed"] == 1
    shifted = last.assign(accuracy=last["accuracy"] - 0.05 * lucky, gap=last["gap"] + 0.03 * lucky)
    factor = np.where(lucky, 1.5, 1.0)
    change = {outcome: last[outcome] * factor if log else last[outcome] + 0.04 * lucky}
    change[f"{outcome}_se"] = last[f"{outcome}_se"] * (factor if log else 1.0)
    plain, other = (without_seeds(one, outcome, log=log) for one in (last, shifted.assign(**change)))
    columns = ["accuracy", "gap"]
    assert np.allclose(plain[columns] - plain[columns].mean(), other[columns] - other[columns].mean())
    ratio = other[outcome] / plain[outcome] if log else other[outcome] - plain[outcome]
    assert np.ptp(ratio) < 1e-12
    assert np.allclose(other[f"{outcome}_se"] / other[outcome], last[f"{outcome}_se"] / last[outcome]) or not log
    for one in (plain, other):
        values = np.log(one[outcome]) if log else one[outcome]
        assert np.ptp(values.groupby(one["seed"]).mean()) < 1e-12


def test_only_cells_that_the_surrogate_has_learned_are_predicted() -> None:
    cells = {nodes: str(SPACES["darts"].sample(1, 0, {"nodes": nodes})[0]) for nodes in (4, 5)}
    other = str(SPACES["nasbench201"].sample(1, 0, {})[0])
    found = with_surrogate(pd.DataFrame({"genotype": [cells[4], other, cells[5], "no cell", cells[4]]}))["surrogate"]
    assert found.notna().tolist() == [True, False, False, False, True]
    assert 0.5 < found[0] < 1 and found[0] == found[4]


def test_an_attack_that_is_not_there_is_refused() -> None:
    table = bench_table(cells={"darts": 4}, rule=Rule())
    with pytest.raises(DataError, match=r"lira.*rmia"):
        bench_results(table, attack="lira")
    assert bench_results(table, attack="loss_threshold", rounds=200).datasets[0].attack == "loss_threshold"
    assert np.isfinite(table["rmia_auc"]).all()
