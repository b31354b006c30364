import numpy as np
import pytest

from nni_privacy.attacks import per_class_metrics, roc_auc, score_histogram
from nni_privacy.errors import AuditError


def test_each_class_has_its_own_auc_and_a_small_one_has_none():
    generator = np.random.default_rng(0)
    labels = np.r_[np.zeros(200, int), np.full(200, 2), np.full(12, 5)]
    member = np.tile([True, False], 206)
    scores = generator.normal(size=412) + 3.0 * member * (labels == 2)
    first, second, third = per_class_metrics(scores, member, labels)
    assert (first.label, first.members, first.nonmembers) == (0, 100, 100)
    assert first.auc == roc_auc(scores[labels == 0], member[labels == 0]) and first.auc_low <= 0.5 <= first.auc_high
    assert second.auc_low > 0.9 and second.reason == ""
    assert (third.label, third.auc, third.auc_low) == (5, None, None) and "6 members and 6" in third.reason
    assert per_class_metrics(scores, member, labels, minimum=6)[2].auc is not None


def test_a_class_of_members_only_has_no_auc():
    assert per_class_metrics([1.0, 2.0], [True, True], [0, 0], minimum=0)[0].auc is None


def test_histograms_count_every_record_once_over_the_same_bins():
    scores, member = np.r_[np.arange(10.0), 1000.0], np.arange(11) < 5
    plain = score_histogram(scores, member, bins=10)
    assert plain.edges[0] == 0 and plain.edges[-1] == 1000 and plain.outside == 0
    assert plain.members.sum() == 5 and plain.nonmembers.sum() == 6
    trimmed = score_histogram(scores, member, bins=3, trim=0.1)
    assert trimmed.edges[-1] == 9 and trimmed.outside == 2
    assert trimmed.members.sum() == 5 and trimmed.nonmembers.sum() == 6
    same = score_histogram(np.ones(4), np.arange(4) < 2, bins=5)
    assert same.members.sum() == same.nonmembers.sum() == 2


def test_bad_scores_are_refused():
    for scores, member in (([], []), ([1.0, np.nan], [True, False]), ([1.0], [True, False])):
        with pytest.raises(AuditError):
            score_histogram(scores, member)
    with pytest.raises(AuditError, match="bins"):
        score_histogram([1.0], [True], bins=0)
    with pytest.raises(AuditError, match="expected integers"):
        per_class_metrics([1.0, 2.0], [True, False], [0.0, 1.0])
    with pytest.raises(AuditError, match="NaN"):
        per_class_metrics([1.0, np.nan], [True, False], [0, 1])
    with pytest.raises(AuditError, match="expected"):
        per_class_metrics([1.0, 2.0], [True, False], [0])
