"""A search on predictions: what it finds, what the command writes, and what the page says."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from surrogate.samples import planted_auc, random_codes

from nni_privacy.cells.darts import Genotype
from nni_privacy.commands.main import main
from nni_privacy.errors import ConfigError, GenotypeError
from nni_privacy.patterns import load_pattern
from nni_privacy.report.predicted_page import group_of_search, histogram
from nni_privacy.surrogate import build_surrogate, load_surrogate
from nni_privacy.surrogate import search as predicted_search
from nni_privacy.surrogate.search import random_architectures, search_predicted


def test_it_finds_what_asking_for_every_architecture_finds() -> None:
    surrogate = load_surrogate()
    found = search_predicted(surrogate, count=300, seed=5)
    drawn = random_architectures(300, seed=5).to_genotypes()
    alone = {genotype: surrogate.predict_with_uncertainty([genotype]) for genotype in drawn}
    ranked = sorted(drawn, key=lambda genotype: alone[genotype][0][0])
    assert len(found) == 300 and found.pattern is None and found.seconds > 0
    assert [row.genotype for row in found.best(300)] == ranked
    for row in found.best(300):
        mean, sd = alone[row.genotype]
        assert row.predicted_mia_auc == pytest.approx(mean[0], abs=1e-12)
        assert row.predicted_sd == pytest.approx(sd[0], abs=1e-12)


@pytest.mark.parametrize(
    ("name", "cells"), [("demotion-reduction", None), ("promotion", "normal"), ("demotion", "dual")]
)
def test_a_pattern_is_fixed_in_the_same_architectures(name: str, cells: str | None) -> None:
    pattern = load_pattern(name, cells=cells).first(4)
    found = search_predicted(load_surrogate(), count=200, pattern=pattern, seed=1)
    drawn = random_architectures(200, seed=1).to_genotypes()
    assert {row.genotype for row in found.best(200)} == {pattern.apply(genotype) for genotype in drawn}


def test_the_size_of_the_chunks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = search_predicted(load_surrogate(), count=50, seed=2)
    monkeypatch.setattr(predicted_search, "CHUNK", 7)
    parts = search_predicted(load_surrogate(), count=50, seed=2)
    assert [row.genotype for row in parts.best(50)] == [row.genotype for row in whole.best(50)]
    np.testing.assert_allclose(parts.predicted_mia_auc, whole.predicted_mia_auc, atol=1e-12)


def test_what_cannot_be_searched_is_refused() -> None:
    for options in ({"count": 0}, {"count": 1.5}, {"count": 3, "seed": -1}):
        with pytest.raises(ConfigError, match=next(reversed(options))):
            search_predicted(load_surrogate(), **options)
    codes = random_codes(30, nodes=3)
    three = build_surrogate("ridge").fit(codes, planted_auc(codes), seed=0)
    with pytest.raises(GenotypeError, match="4 intermediate nodes; those it learned from had 3"):
        search_predicted(three, count=5)


def test_histograms_have_common_axes() -> None:
    surrogate, pattern = load_surrogate(), load_pattern("demotion-reduction").first(4)
    searches = [search_predicted(surrogate, count=400, pattern=given, seed=3) for given in (None, pattern)]
    edges, shares = histogram([group_of_search(search, best=1) for search in searches])
    for row, search in enumerate(searches):
        auc = search.predicted_mia_auc
        upper = np.append(edges[1:-1], np.inf)  # the last interval is closed
        counts = [((auc >= low) & (auc < high)).sum() for low, high in zip(edges[:-1], upper, strict=True)]
        np.testing.assert_allclose(shares[row], np.array(counts) / len(auc))
    assert edges[0] == min(search.predicted_mia_auc.min() for search in searches)


class _Page(HTMLParser):
    """The texts in code tags, and every attribute that could load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.codes: list[str] = []
        self.loaded: list[str] = []
        self._code = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code = tag == "code"
        self.loaded += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        if self._code:
            self.codes.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._code = False


def test_the_command_writes_every_prediction_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "out"
    command = ["surrogate", "search", "--output", str(output), "--count", "120", "--best", "5", "--seed", "4"]
    assert main([*command, "--pattern", "demotion", "--cells", "reduction"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "PREDICTED, without pattern",
        "PREDICTED, with demotion-reduction, 4 edges fixed",
        "report",
    ]
    assert sorted(path.name for path in output.iterdir()) == ["architectures.csv", "report.html"]
    assert [path.name for path in output.parent.iterdir()] == ["out"]

    with (output / "architectures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["genotype", "predicted_mia_auc", "predicted_sd", "pattern"]
    genotypes = [Genotype.parse(row["genotype"]) for row in rows]
    mean, sd = load_surrogate().predict_with_uncertainty(genotypes)
    np.testing.assert_allclose([float(row["predicted_mia_auc"]) for row in rows], mean, atol=1e-6)
    np.testing.assert_allclose([float(row["predicted_sd"]) for row in rows], sd, atol=1e-6)
    edges = set(load_pattern("demotion-reduction").edges[:4])
    assert [row["pattern"] for row in rows] == ["no"] * 120 + ["yes"] * 120
    assert all(edges <= set(genotype.reduction.edges) for genotype in genotypes[120:])
    assert not all(edges <= set(genotype.reduction.edges) for genotype in genotypes[:120])

    text = (output / "report.html").read_text()
    page = _Page(text)
    shown = [code for code in page.codes if code.startswith("Genotype(")]
    assert shown == [row["genotype"] for row in (*rows[:5], *rows[120:125])]
    for row in (*rows[:5], *rows[120:125]):
        assert f"{float(row['predicted_mia_auc']):.4f} ± {float(row['predicted_sd']):.3f}" in text
    assert "PREDICTED, NOT MEASURED" in text and text.count("<script>") == 1  # boxes that scroll
    assert all(target.startswith("#") for target in page.loaded)
    assert not re.search(r"url\((?!#)", text)


def test_without_a_pattern_there_is_one_search(tmp_path: Path) -> None:
    assert main(["surrogate", "search", "--output", str(tmp_path / "out"), "--count", "30"]) == 0
    text = (tmp_path / "out" / "architectures.csv").read_text()
    assert text.count("Genotype(") == text.count(",no\n") == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "count: 0"),
        (["--seed", "-1"], "seed: -1"),
        (["--best", "0"], "best: 0"),
        (["--pattern", "demotoin"], "unknown pattern 'demotoin'"),
        (["--pattern", "demotion"], "demotion"),
        (["--pattern", "demotion-reduction", "--budget", "99"], "99"),
        (["--cells", "normal"], "cells: "),
        (["--surrogate", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["surrogate", "search", "--output", str(tmp_path / "out"), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert not list(tmp_path.iterdir())


def test_a_folder_with_files_and_a_full_disk_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    command = ["surrogate", "search", "--count", "20", "--output"]
    assert main([*command, str(tmp_path)]) == 2
    write = Path.write_text

    def fail(path: Path, text: str, **options: str) -> int:
        if path.name == "report.html":
            raise OSError(28, "No space left on device")
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", fail)
    assert main([*command, str(tmp_path / "out")]) == 3
    assert "No space left on device" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
