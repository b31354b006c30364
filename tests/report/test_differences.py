"""Which of a front's AUCs differ: planted differences, trials of other records, and what the page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report.pages import Page
from report.samples import make_run, write_rows

from nni_privacy.analysis.paired_auc import compare_aucs
from nni_privacy.report.differences import differences_info
from nni_privacy.report.run_page import render_run, tradeoff_info
from nni_privacy.runs.records import RunInfo, read_run

RECORDS = 200


def planted(directory: Path, leaks: tuple[float, ...], *, shifted: tuple[int, ...] = ()) -> RunInfo:
    """A run whose trials leak so much, on the same records in orders of their own, and are a front in this order.

    Those that are ``shifted`` were attacked on records of other places in the data set.
    """
    make_run(directory, trials=len(leaks))
    rows = [json.loads(line) for line in (directory / "trials.jsonl").read_text().splitlines()]
    generator = np.random.default_rng(0)
    member = np.arange(2 * RECORDS) < RECORDS
    common = generator.normal(size=2 * RECORDS)
    for place, (row, leak) in enumerate(zip(rows, leaks, strict=True)):
        scores = common + 0.5 * generator.normal(size=2 * RECORDS) + leak * member
        order = generator.permutation(2 * RECORDS)
        arrays = {"scores": scores[order], "is_member": member[order], "records": order}
        np.savez(
            directory / "scores" / f"{row['trial']}.npz",
            record_index=np.arange(2 * RECORDS) * 2 + (place in shifted),
            **{f"black_box_partial/{name}": array for name, array in arrays.items()},
        )
        row["metrics"].update(accuracy=0.9 + place / 100, mia_auc=0.5 + leak / 10 + place / 1000)
    write_rows(directory, rows)
    return read_run(directory)


def info_of(run: RunInfo) -> Any:
    return differences_info(run, tradeoff_info(run).front)


def test_planted_differences_are_found_whatever_the_order_of_records(tmp_path: Path) -> None:
    run = planted(tmp_path / "run", (0.3, 0.3, 1.2))
    info = info_of(run)
    assert [trial.sequence for trial in info.trials] == [0, 1, 2] and info.attack == "black_box_partial"
    assert {(pair.first, pair.second) for pair in info.differing} == {(0, 2), (1, 2)}
    assert [trial.sequence for trial in info.like_lowest] == [1] and info.left_out == ()
    scores, member = [], None
    for trial in info.trials:
        with np.load(run.directory / "scores" / f"{trial.trial}.npz") as file:
            order = np.argsort(file["black_box_partial/records"])
            scores.append(file["black_box_partial/scores"][order])
            member = file["black_box_partial/is_member"][order]
    assert member is not None
    assert set(info.pairs) == set(compare_aucs(scores, member))
    assert [pair.p_holm for pair in info.pairs] == sorted(pair.p_holm for pair in info.pairs)


def test_nothing_is_said_of_trials_on_other_records(tmp_path: Path) -> None:
    run = planted(tmp_path / "run", (0.2, 0.4, 0.6), shifted=(1,))
    info = info_of(run)
    assert [trial.sequence for trial in info.trials] == [0, 2] and len(info.pairs) == 1
    assert [trial.sequence for trial in info.left_out] == [1]
    assert info_of(planted(tmp_path / "two", (0.2, 0.4), shifted=(1,))) is None


@pytest.mark.parametrize("damage", ["missing", "no places", "members differ", "places twice"])
def test_a_trial_whose_records_are_not_known_is_left_out(tmp_path: Path, damage: str) -> None:
    run = planted(tmp_path / "run", (0.2, 0.4, 0.6))
    path = run.directory / "scores" / f"{run.trials[1].trial}.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    path.unlink()
    key = "black_box_partial"
    if damage == "no places":
        del arrays["record_index"]
    elif damage == "members differ":
        arrays[f"{key}/is_member"] = arrays[f"{key}/is_member"][::-1]
    else:
        arrays[f"{key}/records"] = np.zeros_like(arrays[f"{key}/records"])
    if damage != "missing":
        np.savez(path, **arrays)
    info = info_of(run)
    assert [trial.sequence for trial in info.left_out] == [1] and len(info.trials) == 2


def test_the_page_says_which_differ_or_that_none_does_or_nothing(tmp_path: Path) -> None:
    text = Page(render_run(planted(tmp_path / "some", (0.3, 0.3, 1.2)))).root.words
    assert "2 of 3 pairs of the front's trials differ in AUC beyond chance" in text and "p (Holm)" in text
    assert "is not told from that of #1" in text
    text = Page(render_run(planted(tmp_path / "none", (0.3, 0.3)))).root.words
    assert "None of 1 pair of the front's trials differ in AUC beyond chance" in text and "p (Holm)" not in text
    text = Page(render_run(planted(tmp_path / "all", (0.1, 1.5)))).root.words
    assert "1 of 1 pair of the front's trials differs" in text and "lower than that of every other trial" in text
    text = Page(render_run(read_run(make_run(tmp_path / "other", trials=4)))).root.words
    assert "beyond chance" not in text and "Where two bars overlap" in text
