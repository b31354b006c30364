"""Exposed records: planted ones come first, and every count is that of a plain loop over attacks and trials."""

from __future__ import annotations

import numpy as np

from nni_privacy.analysis.exposed import exposures
from nni_privacy.attacks.exposure import found_members, score_percentiles
from nni_privacy.runs.scores import AttackScores

EXPOSED = (7, 31, 77)


def attack(name: str, rng: np.random.Generator, *, members: int = 120, others: int = 200, part: float = 1.0):
    """Scores of a part of ``members`` and of ``others``, in any order; three members stick out, the rest is noise."""
    index = np.concatenate([np.arange(members), 1000 + np.arange(others)])
    is_member = index < 1000
    scores = rng.normal(size=len(index))
    scores[list(EXPOSED)] += 8
    chosen = rng.permutation(len(index))[: int(part * len(index))]
    return AttackScores(name, scores[chosen], is_member[chosen], index[chosen], (index % 10)[chosen])


def test_planted_records_come_first_and_all_counts_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    trials = [("t", [attack("a", rng), attack("b", rng, part=0.6)]) for _ in range(5)]
    trials.append(("few", [attack("c", rng, others=50)]))  # no rate of 1%
    found = exposures({"": trials})
    assert found.attacks == ("a", "b", "c") and found.trials == 6
    assert {one.index for one in found.records[:3]} == set(EXPOSED)
    assert len(found.records) == 120 and all(one.label == one.index % 10 for one in found.records)
    for one in found.records:
        percentiles, hits, by_attack, by_trial = [], [], {}, {}
        for number, (_, scores) in enumerate(trials):
            for each in scores:
                where = np.flatnonzero(each.index[each.is_member] == one.index)
                if not len(where):
                    continue
                percentiles.append(score_percentiles(each.scores, each.is_member)[where[0]])
                mask = found_members(each.scores, each.is_member)
                if mask is not None:
                    hits.append(bool(mask[where[0]]))
                    by_attack.setdefault(each.attack, []).append(hits[-1])
                    by_trial.setdefault(number, []).append(hits[-1])
        np.testing.assert_allclose(one.percentile, np.mean(percentiles), atol=1e-12)
        assert (one.found, one.attacked) == (sum(hits), len(hits))
        assert (one.attacks, one.attacks_of) == (sum(map(any, by_attack.values())), len(by_attack))
        assert (one.trials, one.trials_of) == (sum(map(any, by_trial.values())), len(by_trial))
    order = [(-one.found, -one.percentile, one.index) for one in found.records]
    assert order == sorted(order)


def test_on_null_scores_one_in_a_hundred_is_found() -> None:
    rng = np.random.default_rng(1)
    size = 4000
    index, member = np.arange(size), np.arange(size) < size // 2
    null = [AttackScores("a", rng.normal(size=size), member, index) for _ in range(20)]
    found = exposures({"": [(str(number), [one]) for number, one in enumerate(null)]})
    rate = sum(one.found for one in found.records) / sum(one.attacked for one in found.records)
    assert 0.008 < rate < 0.012
    assert abs(np.mean([one.percentile for one in found.records]) - 0.5) < 0.01


def test_records_of_several_data_sets_are_not_mixed_and_unknown_places_are_left_out() -> None:
    rng = np.random.default_rng(2)
    unknown = AttackScores("a", rng.normal(size=40), np.arange(40) < 20)
    found = exposures({"one": [("1", [attack("a", rng)])], "two": [("2", [attack("a", rng)]), ("3", [unknown])]})
    assert found.trials == 2 and len(found.records) == 240
    assert {(one.dataset, one.index) for one in found.records[:6]} == {(d, i) for d in ("one", "two") for i in EXPOSED}
    assert all(one.trials_of == 1 for one in found.records)
    assert exposures({"": [("3", [unknown])]}).records == () == exposures({}).records
