"""The choice of models: fronts and bests by their definitions, and what is kept of a growing run."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.analysis.conditions import Condition
from nni_privacy.analysis.model_choice import best_trial, front_trials, kept_trials
from nni_privacy.runs.records import TrialRecord

POINTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2)), max_size=12)


def trial(number: int, accuracy: float | None, auc: float | None, **metrics: float) -> TrialRecord:
    known = {"accuracy": accuracy, "mia_auc": auc, **metrics}
    return TrialRecord(f"t{number}", number, "succeeded", "G", {k: v for k, v in known.items() if v is not None})


def trials_of(points: list[tuple[int, int, int]]) -> list[TrialRecord]:
    return [trial(number, a / 4, 0.5 + u / 10, parameters=float(p)) for number, (a, u, p) in enumerate(points)]


def dominated(one: TrialRecord, others: list[TrialRecord]) -> bool:
    """By the definition: another is nowhere worse and somewhere better."""
    return any(
        other.accuracy >= one.accuracy
        and other.mia_auc <= one.mia_auc
        and (other.accuracy, other.mia_auc) != (one.accuracy, one.mia_auc)
        for other in others
    )


@given(POINTS)
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int, int]]) -> None:
    trials = trials_of(points)
    assert {one.trial for one in front_trials(trials)} == {
        one.trial for one in trials if not dominated(one, trials)
    }  # fmt: skip


@given(POINTS)
def test_kept_are_the_fronts_and_the_bests_of_all_and_of_the_feasible(points: list[tuple[int, int, int]]) -> None:
    trials, small = trials_of(points), Condition.parse("parameters <= 1")
    expected = set()
    for some in (trials, [one for one in trials if one.metrics["parameters"] <= 1]):
        expected |= {one.trial for one in some if not dominated(one, some)}
        best = best_trial(some)
        expected |= {best.trial} if best is not None else set()
    assert kept_trials(trials, "front", [small]) == expected
    assert kept_trials(trials, "all") == {one.trial for one in trials}
    assert kept_trials(trials, "none") == set()


@given(POINTS)
def test_what_is_kept_at_the_end_was_kept_all_along(points: list[tuple[int, int, int]]) -> None:
    """A model that is removed is never wanted again, so that none has to be trained once more."""
    trials, small, kept = trials_of(points), [Condition.parse("parameters <= 1")], set[str]()
    for count in range(1, len(trials) + 1):
        wanted = kept_trials(trials[:count], "front", small)
        assert wanted - kept <= {trials[count - 1].trial}
        kept = wanted


def test_the_best_keeps_the_conditions_and_of_equal_ones_leaks_less() -> None:
    trials = [trial(0, 0.9, 0.7), trial(1, 0.8, 0.6), trial(2, 0.8, 0.55), trial(3, None, 0.5, default=0.7)]
    assert best_trial(trials).trial == "t0"
    assert best_trial(trials, [Condition.parse("mia_auc <= 0.65")]).trial == "t2"
    assert best_trial(trials, [Condition.parse("mia_auc < 0.55")]).trial == "t3"
    assert best_trial(trials, [Condition.parse("mia_auc < 0.5")]) is None
    assert best_trial([]) is None


def test_failed_trials_have_no_model() -> None:
    failed = TrialRecord("f", 0, "failed", "G", error="x")
    assert (
        kept_trials([failed, trial(1, 0.5, 0.5)], "all") == {"t1"} == kept_trials([failed, trial(1, 0.5, 0.5)], "front")
    )


def test_measurements_on_other_data_are_not_compared() -> None:
    def measured(number: int, accuracy: float, **factors: Any) -> TrialRecord:
        metrics = {"accuracy": accuracy, "mia_auc": 0.6}
        return TrialRecord(f"t{number}", number, "succeeded", "G", metrics, factors=factors)

    trials = [measured(0, 0.9, dataset="a"), measured(1, 0.5, dataset="b"), measured(2, 0.8, dataset="a", defence="dp")]
    assert kept_trials(trials, "front") == {"t0", "t1", "t2"}
    assert kept_trials([*trials, measured(3, 0.4, dataset="b")], "front") == {"t0", "t1", "t2"}
