from __future__ import annotations

import numpy as np
import pytest

from nni_privacy.runs.records import read_run
from nni_privacy.runs.scores import read_scores


def test_the_primary_attack_comes_first(run_directory):
    trial = read_run(run_directory).trials[0].trial
    assert [scores.attack for scores in read_scores(run_directory, trial)] == ["black_box_partial", "loss_threshold"]
    order = [scores.attack for scores in read_scores(run_directory, trial, ["loss_threshold"])]
    assert order == ["loss_threshold", "black_box_partial"]


def test_counts_are_those_of_the_file(run_directory):
    trial = read_run(run_directory).trials[0].trial
    first = read_scores(run_directory, trial)[0]
    assert (first.members, first.non_members) == (150, 150)


@pytest.mark.parametrize("name", ["missing", "../scores/aaaaa", "x" * 5000, "a\0b", "", "/etc/passwd"])
def test_no_file_no_scores_and_no_way_out_of_the_folder(run_directory, name):
    np.savez(run_directory / "scores" / "aaaaa.npz", **{"a/scores": np.arange(2.0), "a/is_member": [True, False]})
    assert read_scores(run_directory, name) == ()
    assert len(read_scores(run_directory, "aaaaa")) == 1


def test_broken_and_unusable_scores_are_passed_over(run_directory):
    folder = run_directory / "scores"
    (folder / "text.npz").write_text("no archive")
    (folder / "empty.npz").write_bytes(b"")
    np.savez(folder / "object.npz", **{"a/scores": np.array([None, {}], dtype=object), "a/is_member": [True, False]})
    members = np.array([True, False, True])
    np.savez(
        folder / "mixed.npz",
        **{
            "alone/scores": np.arange(3.0),
            "members/scores": np.arange(3.0),
            "members/is_member": np.ones(3, dtype=bool),
            "nan/scores": np.array([0, np.nan, 1]),
            "nan/is_member": members,
            "short/scores": np.arange(2.0),
            "short/is_member": members,
            "words/scores": np.array(["a", "b", "c"]),
            "words/is_member": members,
            "good/scores": np.arange(3),
            "good/is_member": members,
        },
    )
    assert [read_scores(run_directory, name) for name in ("text", "empty", "object")] == [(), (), ()]
    assert [scores.attack for scores in read_scores(run_directory, "mixed")] == ["good"]
