"""ConstrainedSearch around every strategy: what breaks a bound on size is never trained; others rank behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nni
import pytest
import torch
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.execution.event import ModelEventType
from nni.nas.space import RawFormatModelSpace, SimplifiedModelSpace

from nni_privacy.analysis.constraints import Constraints
from nni_privacy.cells.nasbench201 import NasBench201Genotype
from nni_privacy.commands.build import build_search_strategy
from nni_privacy.config import parse_config
from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces import NasBench201
from nni_privacy.strategies import ConstrainedSearch, FixedPattern, ParetoEvolution, PredictedFilter, build_strategy
from nni_privacy.strategies.constrained_search import BEHIND, KnownCosts

STRATEGIES: dict[str, dict[str, Any]] = {
    "random": {},
    "regularized_evolution": {"population_size": 4, "sample_size": 2, "mutation_prob": 0.3},
    "tpe": {"startup_trials": 4},
    "grid_search": {},
    "pareto": {"population_size": 4},
}
BOUND = 700
AT_MOST = {"parameters": f"<= {BOUND}"}


def space() -> NasBench201:
    return NasBench201(channels=[1, 2, 3], cells=[1, 2], in_channels=1)


def score(model: NasBench201) -> None:
    """Metrics that depend on the architecture and its size only; nothing is trained."""
    number = sum(map(ord, str(model.genotype) + str(model.factors)))
    accuracy, auc = number % 101 / 101, 0.5 + number % 53 / 106
    nni.report_final_result({"default": accuracy, "accuracy": accuracy, "mia_auc": auc})


def search(strategy: Any, *, trials: int, model_format: Any = SimplifiedModelSpace) -> list[Any]:
    nni.silence_stdout()
    engine = SequentialExecutionEngine(max_model_count=trials)
    strategy(model_format.from_model(space(), FunctionalEvaluator(score)), engine)
    assert not any(engine._callbacks.values())  # nothing of ours stays behind
    return list(engine.list_models())


def weights(genotype: NasBench201Genotype, channels: int, cells: int) -> int:
    """Of the network, built anew without any choice."""
    plain = NasBench201(channels=channels, cells=cells, in_channels=1).freeze(genotype.to_sample())
    return sum(weight.numel() for weight in plain.parameters())


def size_of(model: Any) -> tuple[int, int]:
    factors = model.executable_model().factors
    return factors["channels"], factors["network_cells"]


@pytest.mark.parametrize(
    ("pattern", "model_format"),
    [
        (None, SimplifiedModelSpace),
        ("demotion-reduction", RawFormatModelSpace),
        pytest.param(None, RawFormatModelSpace, marks=pytest.mark.slow),
        pytest.param("demotion-reduction", SimplifiedModelSpace, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", STRATEGIES)
def test_no_architecture_above_the_bound_is_ever_trained(name: str, pattern: str | None, model_format: Any) -> None:
    if name == "grid_search" and model_format is RawFormatModelSpace and pattern is None:
        pytest.skip("NNI's grid search goes on changing the sample of a raw model; FixedPattern copies it")
    for seed in range(2):
        inner = ConstrainedSearch(build_strategy(name, STRATEGIES[name], seed=seed), AT_MOST)
        strategy = inner if pattern is None else FixedPattern(inner, pattern, budget=1)
        trained = search(strategy, trials=8, model_format=model_format)
        assert len(trained) == 8 == inner.accepted and inner.skipped > 0 and inner.ended is None
        assert max(weights(model.executable_model().genotype, *size_of(model)) for model in trained) <= BOUND
        assert len({size_of(model) for model in trained}) > 1 or name == "grid_search"


@pytest.mark.parametrize("name", STRATEGIES)
def test_where_nothing_is_feasible_the_search_ends_and_says_what_came_nearest(name: str, tmp_path: Path) -> None:
    log = tmp_path / "search" / "constraints.json"
    strategy = ConstrainedSearch(build_strategy(name, STRATEGIES[name], seed=0), {"parameters": "<= 9"}, log=log)
    assert search(strategy, trials=5) == [] and strategy.accepted == 0
    assert strategy.ended == "no architecture of the space was found that keeps parameters <= 9: none is trained"
    told = json.loads(log.read_text())
    # One channel in the first stage, one cell a stage, and none of its edges has weights.
    smallest = NasBench201Genotype.parse(told["nearest"]["architecture"])
    assert not {"nor_conv_1x1", "nor_conv_3x3"} & {edge.op for edge in smallest}
    assert told["nearest"]["metrics"]["parameters"] == weights(smallest, 1, 1) and told["ended"] == strategy.ended
    assert told["nearest"]["factors"] == {"size": "1 channels, 1 cells", "channels": 1, "network_cells": 1}


def test_it_ends_after_too_many_rejections_in_a_row() -> None:
    least = weights(NasBench201Genotype.from_sample(dict.fromkeys(NasBench201.choices(), "none")), 1, 1)
    bounds = {"parameters": f"<= {least}"}
    strategy = ConstrainedSearch(build_strategy("random", seed=0), bounds, max_rejections=25)
    trained = search(strategy, trials=500)
    assert strategy.ended == f"25 proposals in a row break parameters <= {least}: the search ends early"
    assert strategy.skipped >= 25 and all(size_of(model) == (1, 1) for model in trained)


def test_strategies_hear_of_infeasible_trials_behind_all_feasible_ones_and_the_record_stays() -> None:
    nni.silence_stdout()
    inner: Any = build_strategy("regularized_evolution", {"population_size": 12, "sample_size": 3}, seed=0)
    engine, recorded = SequentialExecutionEngine(max_model_count=12), []
    engine.register_model_event_callback(ModelEventType.FinalMetric, lambda event: recorded.append(dict(event.metric)))
    bounds = Constraints.of({"mia_auc": "<= 0.7", "accuracy": ">= 0.3"})
    ConstrainedSearch(inner, bounds)(SimplifiedModelSpace.from_model(space(), FunctionalEvaluator(score)), engine)
    assert all(row["default"] == row["accuracy"] for row in recorded)
    heard = [one.y for one in inner._population]
    violations = [bounds.violation(row) for row in recorded]
    assert 0 < sum(map(bool, violations)) < 12
    for value, row, violation in zip(heard, recorded, violations, strict=True):
        assert value == row["default"] if not violation else value <= BEHIND
    order = sorted(range(12), key=lambda index: -heard[index])
    assert [violations[index] for index in order] == sorted(violations)


def test_pareto_evolution_keeps_debs_rule() -> None:
    inner = ParetoEvolution(population_size=4, seed=0)
    search(ConstrainedSearch(inner, {"mia_auc": "<= 0.6", "parameters": f"<= {BOUND}"}), trials=40)
    assert inner.constraints.to_dict() == {"mia_auc": ["<= 0.6"]}
    assert all(one.violation == 0 and one.costs[1] <= 0.6 for one in inner._population)
    assert inner.front() and all(values["mia_auc"] <= 0.6 for _, values in inner.front())
    state = json.loads(json.dumps(inner.state_dict()))
    other = ParetoEvolution(population_size=4, seed=0)
    other.initialize(SimplifiedModelSpace.from_model(space(), FunctionalEvaluator(score)), SequentialExecutionEngine())
    with pytest.raises(ConfigError, match="other constraints"):
        other.load_state_dict(state)


def test_costs_are_computed_once_and_draw_no_random_numbers() -> None:
    model = SimplifiedModelSpace.from_model(space(), FunctionalEvaluator(score))
    sample = {label: choice.default() for label, choice in model.simplify().items()} | {"channels": 3, "cells": 2}
    costs, before = KnownCosts(("parameters", "multiply_adds"), (1, 8, 8)), torch.get_rng_state()
    found = costs.of(model.freeze(sample))
    assert torch.equal(torch.get_rng_state(), before)
    assert (
        found["parameters"] == weights(NasBench201Genotype.from_sample(sample), 3, 2)
        and found["multiply_adds"] > found["parameters"]
    )
    assert costs.of(model.freeze(dict(sample))) is found


def test_multiply_adds_need_the_size_of_the_images() -> None:
    strategy = ConstrainedSearch(build_strategy("random", seed=0), {"multiply_adds": "<= 1e5"})
    with pytest.raises(ConfigError, match="constraints: multiply_adds: a FunctionalEvaluator does not say how large"):
        strategy.check(SimplifiedModelSpace.from_model(space(), FunctionalEvaluator(score)))


CONFIG: dict[str, Any] = {
    "name": "bounded",
    "dataset": {"name": "digits"},
    "search_space": {"name": "darts", "channels": [4, 8], "cells": [3, 5]},
    "pattern": {"name": "demotion-reduction"},
    "filter": {"below": 0.77},
    "strategy": {"name": "random"},
    "constraints": {"mia_auc": "<= 60%", "parameters": [">= 1e3", "<= 1e6"], "accuracy": "> 0.9"},
    "trials": 3,
}


def test_a_configuration_puts_constraints_between_pattern_and_filter(tmp_path: Path) -> None:
    settings = parse_config(CONFIG)
    strategy: Any = build_search_strategy(settings, folder=tmp_path, image_shape=(1, 8, 8))
    assert isinstance(strategy, FixedPattern) and isinstance(strategy.strategy, ConstrainedSearch)
    assert isinstance(strategy.strategy.strategy, PredictedFilter) and strategy.strategy.image_shape == (1, 8, 8)
    assert strategy.strategy.log == tmp_path / "constraints.json"
    assert str(settings.constraints) == "mia_auc <= 0.6, parameters >= 1000, parameters <= 1000000, accuracy > 0.9"
    resolved = settings.resolved()
    assert resolved["search_space"] == {"name": "darts", "channels": [4, 8], "cells": [3, 5], "nodes": 4}
    assert resolved["constraints"]["parameters"] == [">= 1000.0", "<= 1000000.0"]
    assert parse_config(resolved).resolved() == resolved


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"constraints": {"mia_acu": "<= 0.6"}}, "constraints: no trial would report 'mia_acu'; .*'mia_auc'"),
        ({"constraints": {"paramters": "<= 5"}}, "constraints: no trial would report 'paramters'; .*'parameters'"),
        ({"constraints": {"latency_ms": "<= 5"}}, "constraints: .*latency_ms.*evaluator: {latency: true}"),
        ({"constraints": {"mia_auc": 0.6}}, "constraints.mia_auc: 0.6; expected one of <=, <, >=, > and a number"),
        ({"constraints": {"mia_auc": "0.6"}}, "constraints.mia_auc: '0.6'; expected one of"),
        ({"constraints": ["mia_auc"]}, r"constraints: \['mia_auc'\]; allowed is a mapping"),
        ({"search_space": {"name": "darts", "channels": [8, 0]}}, "search_space.channels: 0; "),
        ({"search_space": {"name": "darts", "channels": []}}, r"search_space.channels: \[\]; .*list of different ones"),
        ({"search_space": {"name": "darts", "cells": [5, 5]}}, r"search_space.cells: \[5, 5\]; "),
        ({"search_space": {"name": "nasbench201", "cells": "5"}}, "search_space.cells: '5'; "),
    ],
)
def test_bad_constraints_and_sizes_are_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}") as error:
        parse_config({**CONFIG, **change})
    assert "\n" not in str(error.value)
