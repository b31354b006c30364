"""Extraction: a planted truth is found, noise supports nothing, and what is written can be used."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from report.overlaps import overlapping_ticks
from report.pages import Page

from nni_privacy import load_pattern
from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import CELL_TYPES, DARTS_OPERATIONS, Edge
from nni_privacy.commands.main import main
from nni_privacy.patterns import list_patterns
from nni_privacy.patterns.extraction import extract_patterns
from nni_privacy.patterns.findings import Extraction, ExtractionOptions
from nni_privacy.patterns.importance import edge_count, edge_ids
from nni_privacy.report.extraction_page import draw_heat_map, extracted_name, given_name, render_extraction
from nni_privacy.report.style import drawing_style

MEAN, NOISE, EFFECT = 0.808, 0.0215, 0.012
"""As in measured data: standard deviation .024, four fifths of the variance noise."""
PLANTED = {
    ("reduction", "demotion"): ((0, 2, "avg_pool_3x3"), (1, 2, "avg_pool_3x3"), (1, 3, "avg_pool_3x3")),
    ("normal", "promotion"): ((0, 2, "sep_conv_3x3"), (0, 3, "sep_conv_5x5"), (1, 3, "sep_conv_3x3")),
}
EDGES = {(*family, Edge(*edge)) for family, edges in PLANTED.items() for edge in edges}


def random_codes(count: int, seed: int) -> GenotypeCodes:
    generator = np.random.default_rng(seed)
    sources = np.zeros((count, 2, 4, 2), np.int8)
    for kind in range(2):
        for node in range(4):
            sources[:, kind, node] = np.sort(generator.random((count, node + 2)).argsort(axis=1)[:, :2], axis=1)
    return GenotypeCodes(sources, generator.integers(0, 7, sources.shape).astype(np.int8))


def one_hot(codes: GenotypeCodes) -> np.ndarray:
    table = np.zeros((len(codes), 2, edge_count(4)))
    for kind, cell in enumerate(CELL_TYPES):
        np.put_along_axis(table[:, kind], edge_ids(codes, cell).reshape(len(codes), -1), 1.0, axis=1)
    return table.reshape(len(codes), -1)


def ridge(codes: GenotypeCodes, auc: np.ndarray, seed: int):
    table = one_hot(codes)
    weights = np.linalg.solve(table.T @ table + 30 * np.eye(table.shape[1]), table.T @ (auc - auc.mean()))
    return lambda others: one_hot(others) @ weights + auc.mean()


def planted_auc(codes: GenotypeCodes, seed: int, effect: float = EFFECT) -> np.ndarray:
    auc = np.full(len(codes), MEAN)
    for cell, objective, edge in EDGES:
        kind, node = CELL_TYPES.index(cell), edge.target - 2
        is_op = codes.operations[:, kind, node] == DARTS_OPERATIONS.index(edge.op)
        has = ((codes.sources[:, kind, node] == edge.source) & is_op).any(axis=1)
        auc -= (effect if objective == "demotion" else -effect) * (has - has.mean())
    return auc + np.random.default_rng(seed).normal(0, NOISE, len(codes))


def extract(codes: GenotypeCodes, auc: np.ndarray, seed: int, **options: object) -> Extraction:
    return extract_patterns(codes, auc, ridge, options=ExtractionOptions(seed=seed, resamples=40, **options))


@pytest.fixture(scope="module")
def planted() -> list[Extraction]:
    return [extract(random_codes(2400, seed), planted_auc(random_codes(2400, seed), seed), seed) for seed in range(5)]


@pytest.mark.slow
def test_a_planted_truth_is_found(planted: list[Extraction]) -> None:
    found = [
        (one.cell, one.objective, edge)
        for extraction in planted
        for one in extraction.found
        if one.supported
        for edge in one.edges
    ]
    hits = [edge for edge in found if edge in EDGES]
    assert len(hits) >= 0.8 * len(found), "precision"
    assert len(hits) >= 0.6 * 5 * len(EDGES), "recall"
    for extraction in planted:
        assert extraction.predictiveness.holds


@pytest.mark.slow
def test_effects_have_the_sign_of_the_objective_and_replicate(planted: list[Extraction]) -> None:
    for extraction in planted:
        for one in extraction.found:
            if one.supported:
                sign = -1 if one.objective == "demotion" else 1
                assert all(sign * effect.change > 0 for effect in one.effects)
                assert all(effect.low <= effect.change <= effect.high for effect in one.effects)
            for entry in one.findings.values():
                assert 0 <= entry.stability <= 1 and entry.low <= entry.importance <= entry.high


@pytest.mark.parametrize("seed", range(3))
def test_pure_noise_supports_nothing(seed: int) -> None:
    codes, noise = random_codes(2400, seed), np.random.default_rng(seed).normal(MEAN, 0.024, 2400)
    extraction = extract(codes, noise, seed)
    assert not extraction.predictiveness.holds
    assert not any(one.supported or one.edges for one in extraction.found)


@pytest.mark.slow
def test_what_noise_gives_is_written_as_unsupported_and_warned_of(tmp_path: Path, capsys) -> None:
    codes, noise = random_codes(800, 3), np.random.default_rng(3).normal(MEAN, 0.024, 800)
    path, output, genotypes = tmp_path / "noise.csv", tmp_path / "out", tmp_path / "some.txt"
    lines = [f'"{genotype}",{value:.6f}' for genotype, value in zip(codes.to_genotypes(), noise, strict=True)]
    path.write_text("genotype,mia_auc\n" + "\n".join(lines))
    assert (
        main(["patterns", "extract", str(path), "--output", str(output), "--surrogate", "ridge", "--resamples", "20"])
        == 0
    )
    said = capsys.readouterr().out
    assert said.count("not supported, written with supported: false") == 4
    patterns = [load_pattern(file) for file in output.glob("*.yaml")]
    assert len(patterns) == 4 and all(pattern.supported is False for pattern in patterns)
    assert not any(entry.supported for pattern in patterns for entry in pattern.evidence)
    genotypes.write_text("\n".join(map(str, codes[:2].to_genotypes())))
    assert main(["patterns", "apply", str(output / "demotion-normal.yaml"), "--budget", "1", str(genotypes)]) == 0
    assert "pattern demotion-normal is not supported by its own evidence" in capsys.readouterr().err


def test_one_seed_drives_everything() -> None:
    codes, auc = random_codes(600, 0), planted_auc(random_codes(600, 0), 0)
    first, second = (extract(codes, auc, 7, cuts=2) for _ in range(2))
    assert first.found == second.found
    assert first.found != extract(codes, auc, 8, cuts=2).found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "mine.csv"
    codes = random_codes(1600, 1)
    auc = np.clip(planted_auc(codes, 1, effect=0.025), 0, 1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["genotype", "mia_auc"])
        writer.writerows(
            [str(genotype), f"{value:.6f}"] for genotype, value in zip(codes.to_genotypes(), auc, strict=True)
        )
    return path


@pytest.mark.slow
def test_the_command_writes_patterns_that_work_and_a_report(data: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "new" / "out"
    command = ["patterns", "extract", str(data), "--output", str(output), "--surrogate", "ridge", "--resamples", "20"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert [entry.name for entry in output.parent.iterdir()] == ["out"]
    written = {path.stem: load_pattern(path) for path in output.glob("*.yaml")}
    assert set(written) == {f"{objective}-{cell}" for objective in ("demotion", "promotion") for cell in CELL_TYPES}
    assert {name for name, pattern in written.items() if pattern.supported} >= {"demotion-reduction"}
    for name, pattern in written.items():
        assert pattern.name == name and len(pattern.evidence) == len(pattern.edges) == len(pattern.effect) >= 2
        assert "mine.csv" in pattern.source
        assert re.search(rf"^{name} +{'' if pattern.supported else 'not '}supported", said, re.MULTILINE)
        assert all(entry.support >= 15 for entry in pattern.evidence)
        assert not pattern.supported or all(entry.supported for entry in pattern.evidence)
    genotypes = tmp_path / "some.txt"
    genotypes.write_text("\n".join(map(str, random_codes(3, 5).to_genotypes())))
    name = str(output / "demotion-reduction.yaml")
    assert main(["patterns", "apply", name, "--budget", "2", str(genotypes)]) == 0
    assert "warning" not in capsys.readouterr().err

    page = (output / "report.html").read_text()
    for part in ("ops-normal", "top-reduction", "heat-demotion-normal", "eff-promotion-reduction", "stab-demotion"):
        assert part in page
    assert page.count("<svg") >= 14 and "http://" not in re.sub(
        r'(xmlns(:\w+)?|DOCTYPE svg)[^>]*?"http://[^"]+"', "", page
    )
    rows = list(csv.DictReader((output / "importance.csv").open()))
    assert {row["pattern"] for row in rows} == {f"{o}-{c}" for o in ("demotion", "promotion") for c in CELL_TYPES}
    assert main(command) == 2  # never into a folder that holds something


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--low", "0.1"], "demotion: no architecture has an AUC below 0.1"),
        (["--high", "0.99"], "promotion: no architecture has an AUC above 0.99"),
        (["--low", "0.9", "--high", "0.8"], "0 <= low <= high <= 1"),
        (["--surrogate", "gim"], "unknown surrogate 'gim'"),
        (["--resamples", "0"], "resamples: 0"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(data, tmp_path, capsys, arguments, message) -> None:
    output = tmp_path / "out"
    assert main(["patterns", "extract", str(data), "--output", str(output), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_papers_patterns_can_be_judged() -> None:
    codes, auc = random_codes(1200, 2), planted_auc(random_codes(1200, 2), 2)
    published = [pattern for pattern in list_patterns() if "Figure 7" in pattern.source]
    extraction = extract_patterns(codes, auc, ridge, options=ExtractionOptions(resamples=20, cuts=4), assess=published)
    assert [one.pattern.name for one in extraction.assessed] == [pattern.name for pattern in published]
    judged = {one.pattern.name: one for one in extraction.assessed}
    assert not judged["demotion-normal"].supported and judged["demotion-normal"].reason
    assert all(len(one.effects) == len(one.pattern) for one in extraction.assessed)
    # On their page, patterns of the paper and of the extraction, which have the same names, are told apart.
    root = Page(render_extraction(extraction, title="planted")).root
    with drawing_style():
        assert [overlapping_ticks(draw_heat_map(found, 4)) for found in extraction.found] == [[]] * 4
    extracted, given = ([extracted_name(one) for one in extraction.found], [given_name(one) for one in published])
    assert len({*extracted, *given}) == len(extracted) + len(given) == 8
    heads = [head.words.partition(":")[0] for head in root.all("h3")]
    assert heads == [*extracted, *given]
    assert [next(card.all("div", "what")).words for card in root.all("div", "card")] == extracted
