"""Loss contours in a study's report: paired by what they have in common, with common lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report.study_samples import ORIGINAL, write_study

from nni_privacy.report import write_report
from nni_privacy.report.contour_page import STEEPEST, contour_rows, contours_html, read_contour
from nni_privacy.runs.contours import ContourInfo
from nni_privacy.runs.records import read_run

DEMOTION = {
    "variant": "demotion-reduction-4",
    "pattern": "demotion",
    "cells": "reduction",
    "budget": 4,
    "control": None,
}


def bowl(steepness: float) -> ContourInfo:
    axis = np.linspace(-1, 1, 5)
    losses = 0.1 + steepness * (axis[:, None] ** 2 + axis[None, :] ** 2)
    return ContourInfo(axis, losses, 0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of two searched architectures; the second one's contour of the variant is spoiled."""
    path = tmp_path / "run"
    options = {"humans": [], "searched": ["a", "b"], "datasets": ["cifar10"], "seeds": [0]}
    write_study(path, variants=(ORIGINAL, DEMOTION), attacks=["white_box_partial"], **options)  # type: ignore[arg-type]
    scores = path / "scores"
    scores.mkdir(exist_ok=True)
    for trial in read_run(path).trials:
        variant = trial.factors["variant"]
        if trial.factors["architecture"] == "b" and variant != "original":
            (scores / f"{trial.trial}.npz").write_bytes(b"PK not an archive")
        else:
            np.savez(scores / f"{trial.trial}.npz", **bowl(1.0 if variant == "original" else 50.0).to_arrays())
    return path


def test_variants_stand_beside_their_original_with_the_same_lines(folder: Path) -> None:
    first, second = contour_rows(read_run(folder))
    assert list(first.contours) == ["original", "demotion-reduction-4"] and list(second.contours) == ["original"]
    assert first.title.startswith("a, ") and "seed 0" in first.title
    assert first.levels[0] == pytest.approx(0.1) and first.levels[-1] == pytest.approx(STEEPEST)
    assert second.levels[-1] == pytest.approx(2.1)
    assert np.allclose(np.diff(np.log(first.levels)), np.log(100) / 11)


def test_the_rise_is_the_mean_over_a_disc(folder: Path) -> None:
    info = next(iter(contour_rows(read_run(folder))[0].contours.values()))
    # Within .5: the weights, and four neighbours that are .5 away.
    assert info.rise(0.5) == pytest.approx(4 * 0.25 / 5)


@pytest.mark.parametrize(("steps", "points"), [(11, 2), (21, 5), (41, 5), (41, 10)])
def test_points_at_just_the_distance_are_in_the_disc_in_every_direction(steps: int, points: int) -> None:
    axis = np.linspace(-1, 1, steps)
    column, row = np.meshgrid(np.arange(steps) - steps // 2, np.arange(steps) - steps // 2)
    distance = row**2 + column**2  # in whole numbers: without rounding
    info = ContourInfo(axis, np.where(distance <= points**2, distance, 1e6), 0.0)
    assert info.rise(points * 2 / (steps - 1)) == pytest.approx(distance[distance <= points**2].mean())


def test_axes_end_where_all_losses_are_too_high(folder: Path) -> None:
    first, second = contour_rows(read_run(folder))
    assert (first.reach, second.reach) == (1.0, 1.0)  # the original is low everywhere
    for trial in read_run(folder).trials:
        np.savez(folder / "scores" / f"{trial.trial}.npz", **bowl(50.0).to_arrays())
    assert {row.reach for row in contour_rows(read_run(folder))} == {0.5}  # .1 + 50 * .25 is above 10 already
    for trial in read_run(folder).trials:
        high = ContourInfo(bowl(1.0).axis, np.full((5, 5), np.nan), 50.0)
        np.savez(folder / "scores" / f"{trial.trial}.npz", **high.to_arrays())
    assert {row.reach for row in contour_rows(read_run(folder))} == {1.0}
    assert "not finite" in contours_html(read_run(folder))


def test_the_page_draws_them_and_says_nothing_where_there_are_none(folder: Path) -> None:
    page = write_report(folder).read_text()
    assert page.count('aria-label="Loss contours') == 2
    drawn = contours_html(read_run(folder))
    assert "stroke-dasharray" not in drawn  # below a loss of 1, too, whose logarithm is negative
    assert "+0.200" in page  # the rise, in the table
    for path in (folder / "scores").iterdir():
        path.unlink()
    assert contours_html(read_run(folder)) == ""


def test_losses_that_are_not_finite_are_drawn_as_high(folder: Path) -> None:
    trial = read_run(folder).trials[0].trial
    losses = bowl(1.0).losses.copy()
    losses[0] = np.nan
    losses[-1] = np.inf
    path = folder / "scores" / f"{trial}.npz"
    np.savez(path, **ContourInfo(bowl(1.0).axis, losses, 0.1).to_arrays())
    assert "Loss contours" in contours_html(read_run(folder))


def test_a_trials_name_is_no_way_out_of_the_folder(folder: Path) -> None:
    np.savez(folder / "x.npz", **bowl(1.0).to_arrays())
    assert read_contour(folder, "../x") is None
