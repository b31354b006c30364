"""The study that confirms a search: its seeds, its architectures, and how it grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report.samples import make_run
from support_config import BASE, changed

from nni_privacy.analysis.selection import choose_trials
from nni_privacy.config import ConfirmConfig, SearchConfig, parse_config
from nni_privacy.data import load_dataset
from nni_privacy.errors import ConfigError
from nni_privacy.runs.records import RunInfo, read_run
from nni_privacy.schema import validated
from nni_privacy.studies.config import StudyConfig
from nni_privacy.studies.confirm import confirm_study, confirmed_trials, fresh_seeds, grown
from nni_privacy.studies.plan import plan_study


@pytest.fixture
def searched(tmp_path: Path) -> tuple[SearchConfig, RunInfo]:
    return parse_config(BASE), read_run(make_run(tmp_path / "run"))


def study(searched: tuple[SearchConfig, RunInfo], **options: Any) -> StudyConfig:
    settings, run = searched
    chosen = ConfirmConfig(**options)
    return confirm_study(settings, chosen, run, choose_trials(run, chosen.top))


def test_seeds_are_fresh_all_different_and_the_first_stay_what_they_are() -> None:
    found = fresh_seeds(3, 50)
    assert len(set(found)) == 50 and 3 not in found and fresh_seeds(3, 7) == found[:7]
    assert set(found).isdisjoint(fresh_seeds(4, 50))
    assert all(0 <= seed < 2**32 for seed in found)


def test_every_architecture_is_measured_with_the_same_seeds_as_the_search_measured_it(
    searched: tuple[SearchConfig, RunInfo],
) -> None:
    found = study(searched, top=3, seeds=2, attacks=["rmia", "lira"])
    settings, run = searched
    planned = plan_study(found, {"digits": load_dataset("digits")})
    by_seed = {one.seed: [] for one in planned}
    for one in planned:
        by_seed[one.seed].append(one.source)
    assert list(by_seed) == fresh_seeds(settings.seed, 2)
    first, second = by_seed.values()
    assert first == second and len(first) == 3
    texts = {trial.sequence: trial.architecture for trial in run.trials}
    assert [source.text for source in first] == [texts[number] for number in confirmed_trials(found)]
    assert {source.space["channels"] for source in first} == {8}
    assert found.evaluator.attacks == (*settings.evaluator.attacks, "rmia", "lira")
    assert found.evaluator.recipe == settings.evaluator.recipe


def test_the_study_reads_as_it_is_written(searched: tuple[SearchConfig, RunInfo]) -> None:
    resolved = study(searched, top=3).resolved()
    assert validated(StudyConfig, resolved).resolved() == resolved


def test_it_grows_and_never_shrinks(searched: tuple[SearchConfig, RunInfo]) -> None:
    small, large = study(searched, top=2, seeds=3), study(searched, top=4, seeds=2)
    both = grown(small.resolved(), large)
    assert confirmed_trials(both)[:2] == confirmed_trials(small)
    assert set(confirmed_trials(both)) == {*confirmed_trials(small), *confirmed_trials(large)}
    assert both.seeds == small.seeds
    assert grown(both.resolved(), small).resolved() == both.resolved()


@pytest.mark.parametrize(
    ("confirm", "message"),
    [
        ({"tops": 3}, "confirm.tops: unknown key; did you mean 'top'"),
        ({"top": 0}, "confirm.top: 0"),
        ({"seeds": 1}, "confirm.seeds: 1"),
        ({"attacks": ["rmai"]}, "confirm.attacks: unknown attack 'rmai': did you mean 'rmia'"),
        (3, "confirm: 3"),
    ],
)
def test_what_is_wrong_with_the_section_is_said_in_one_line(confirm: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(changed("confirm", confirm))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_too_few_reference_models_are_found_before_the_search() -> None:
    content = changed("evaluator.shadow", {"count": 1})
    assert parse_config({**content, "confirm": {"attacks": []}}).confirm is not None
    with pytest.raises(ConfigError, match=r"shadow.count: 1; attack '(rmia|lira)' needs at least"):
        parse_config({**content, "confirm": {}})


def test_predictions_are_not_confirmed() -> None:
    content = {key: value for key, value in BASE.items() if key != "dataset"}
    with pytest.raises(ConfigError, match=r"confirm: with evaluator.kind: predicted"):
        parse_config({**content, "evaluator": {"kind": "predicted"}, "confirm": {}})
