"""The table of exposed records: its rows, and thumbnails that are the records' images."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from nni_privacy.analysis.exposed import exposures_of, exposures_of_run
from nni_privacy.data import load_dataset
from nni_privacy.report.exposed import LARGEST, exposed_rows, images_of_run, thumbnail
from nni_privacy.report.write import write_report
from nni_privacy.runs.records import read_run


def pixels(address: str) -> np.ndarray:
    kind, _, content = address.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_a_thumbnail_is_the_image() -> None:
    rng = np.random.default_rng(0)
    grey, colours = rng.integers(0, 256, (1, 8, 8), np.uint8), rng.integers(0, 256, (3, 8, 6), np.uint8)
    np.testing.assert_array_equal(pixels(thumbnail(grey)), grey[0])
    np.testing.assert_array_equal(pixels(thumbnail(colours)), colours.transpose(1, 2, 0))
    floats = rng.normal(size=(1, 8, 8)).astype(np.float32)
    shown = pixels(thumbnail(floats)).astype(float)
    assert shown.min() == 0 and shown.max() == 255
    assert np.corrcoef(shown.ravel(), floats.ravel())[0, 1] > 0.999
    assert pixels(thumbnail(np.zeros((2, 8, 8), np.float32))).max() == 0
    assert max(pixels(thumbnail(np.zeros((3, 200, 100), np.uint8))).shape[:2]) == LARGEST


def test_the_report_of_a_run_shows_its_records_with_their_images(run_directory: Path) -> None:
    run = read_run(run_directory)
    found = exposures_of_run(run)
    assert found == exposures_of(run_directory) and found.trials == len(run.succeeded)
    rows = exposed_rows(found, images_of_run(run))
    data = load_dataset("digits")
    for row in rows:
        np.testing.assert_array_equal(pixels(row.image), data.images[row.record.index, 0].numpy())
    page = write_report(run_directory).read_text()
    assert page.count('<img class="record"') == len(rows) == 20
    assert f"of {len(found.records)} that were attacked" in page


@pytest.mark.parametrize("section", [None, "digits", {"name": "nobody"}, {"name": "digits", "wrong": 1}, {"name": 3}])
def test_without_images_the_report_has_the_table_alone(run_directory: Path, section: object) -> None:
    path = run_directory / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "dataset": section}))
    page = write_report(run_directory).read_text()
    assert "Most exposed records" in page and 'class="record"' not in page


def test_scores_that_do_not_say_whose_they_are_have_no_table(run_directory: Path) -> None:
    for path in (run_directory / "scores").iterdir():
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files if not name.startswith("record_")}
        np.savez(path, **arrays)
    assert "Most exposed records" not in write_report(run_directory).read_text()
