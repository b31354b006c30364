"""The part of a study's page on variants."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Any

import pytest
from report.effects_samples import CONTROLS, study_rows, variants, write_study
from report.pages import HOSTILE, Page

from nni_privacy.report import write_report
from nni_privacy.report.effects_infos import effects_info, effects_tables, variant_forests
from nni_privacy.report.effects_page import draw_forest, effects_html
from nni_privacy.report.style import drawing_style
from nni_privacy.runs.records import read_run

PLAIN = variants()
PARTS: dict[str, list[dict[str, Any]]] = {
    "effects": study_rows(treated=PLAIN, architectures=4),
    "controls": study_rows(treated=variants(controls=CONTROLS), architectures=4),
    "by-budget": study_rows(treated=variants(budgets=(3, 4)), architectures=4),
    "by-attack": study_rows(treated=PLAIN, architectures=4, attacks=("label_only",)),
    "by-data": study_rows(treated=PLAIN, architectures=4, datasets=("digits", "cifar10")),
    "by-space": [
        *study_rows(treated=PLAIN, architectures=4),
        *study_rows(treated=PLAIN, architectures=4, space="nasbench201"),
    ],
    "by-defence": study_rows(treated=PLAIN, architectures=4, defences=("none", "dp-sgd")),
    "ablations": study_rows(treated=PLAIN[:1], architectures=4, cells=(3, 5, 8)),
    "nodes": study_rows(treated=PLAIN[:1], architectures=4, nodes=(2, 4, 6)),
    "by-size": study_rows(treated=PLAIN, architectures=4, cells=(3, 5)),
    "guidelines": study_rows(treated=PLAIN[:1], architectures=8),
    "defence only": study_rows(treated=PLAIN[:1], architectures=4, defences=("none", "augmentation")),
    "two pairs": study_rows(treated=variants(controls=CONTROLS), architectures=2, seeds=(0,)),
    "no originals": study_rows(treated=variants(controls=CONTROLS)[1:], architectures=4),
    "one metric": [
        {**row, "metrics": {"accuracy": row["metrics"]["accuracy"]}}
        for row in study_rows(treated=PLAIN, architectures=4, defences=("none", "dp-sgd"))
    ],
    "another attack": [
        {**row, "metrics": {"lira_mia_auc": row["metrics"]["mia_auc"]}}
        for row in study_rows(treated=PLAIN, architectures=4)
    ],
}
EXPECTED: dict[str, set[str]] = {
    "effects": {"verdicts", "effects", "comparisons"},
    "controls": {"verdicts", "effects", "controls", "comparisons"},
    "by-budget": {"verdicts", "effects", "by-budget", "ablations", "comparisons"},
    "by-attack": {"verdicts", "effects", "by-attack", "comparisons"},
    "by-data": {"verdicts", "effects", "by-data", "comparisons"},
    "by-space": {"verdicts", "effects", "by-space", "comparisons"},
    "by-defence": {"verdicts", "effects", "by-defence", "comparisons"},
    "ablations": {"verdicts", "ablations"},
    "nodes": {"verdicts", "ablations"},
    "by-size": {"verdicts", "effects", "by-size", "ablations", "comparisons"},
    "guidelines": {"verdicts", "guidelines"},
    "defence only": {"verdicts", "by-defence", "comparisons"},
    "two pairs": {"effects", "controls", "comparisons"},
    "no originals": {"verdicts", "controls", "comparisons"},
    "one metric": {"verdicts", "effects", "by-defence", "comparisons"},
    "another attack": {"comparisons"},
}


def html_of(directory: Path, rows: list[dict[str, Any]]) -> str:
    return effects_html(read_run(write_study(directory / "study", rows)))


def check_whole(html: str) -> dict[str, str]:
    """Every section has a drawing with data or a table with rows; returns the sections."""
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    sections = dict(re.findall(r'<section id="([^"]+)"[^>]*>(.*?)</section>', html, flags=re.DOTALL))
    for content in sections.values():
        drawings = re.findall(r"<svg.*?</svg>", content, flags=re.DOTALL)
        tables = re.findall(r"<tbody>(.*?)</tbody>", content, flags=re.DOTALL)
        assert drawings or tables
        assert all("<tr>" in table for table in tables)
        for drawing in drawings:
            panels = drawing.split("-axes_")[1:]
            assert panels and all("-line2d_" in panel and "<use" in panel for panel in panels)
    assert "nan" not in html
    return sections


@pytest.mark.parametrize("part", PARTS)
def test_a_study_of_any_factors_has_its_panels_and_no_empty_one(tmp_path: Path, part: str) -> None:
    assert set(check_whole(html_of(tmp_path, PARTS[part]))) == EXPECTED[part]


@pytest.mark.slow
def test_a_study_of_all_factors_has_all_panels(tmp_path: Path) -> None:
    parts = [
        name for name in EXPECTED if EXPECTED[name] - {"verdicts", "effects", "comparisons"} and name != "two pairs"
    ]
    rows = [row for part in sorted(parts, key="by-attack".__eq__) for row in PARTS[part] if "mia_auc" in row["metrics"]]
    found = check_whole(html_of(tmp_path, rows))
    assert set(found) == set.union(*EXPECTED.values())


def test_a_study_with_nothing_to_compare_has_nothing(tmp_path: Path) -> None:
    assert html_of(tmp_path, study_rows(treated=PLAIN[:1], architectures=4)) == ""


def test_the_page_of_a_study_has_the_sections_and_the_files(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study", PARTS["by-defence"])
    page = write_report(directory).read_text(encoding="utf-8")
    assert 'id="verdicts"' in page and 'id="by-defence"' in page
    assert (directory / "effects.csv").is_file() and (directory / "verdicts.csv").is_file()


def test_too_few_pairs_are_said_instead_of_drawn(tmp_path: Path) -> None:
    html = html_of(tmp_path, PARTS["two pairs"])
    assert "2 pairs; an interval needs at least 3" in html
    assert "[" not in "".join(re.findall(r'<span class="interval">(.*?)</span>', html))


def test_every_number_of_a_private_network_has_its_epsilon(tmp_path: Path) -> None:
    sections = check_whole(html_of(tmp_path, PARTS["by-defence"]))
    for name in ("verdicts", "by-defence", "comparisons"):
        assert sections[name].count("dp-sgd") == sections[name].count("dp-sgd (ε = 3.25)") > 0


def test_verdicts_say_number_interval_rule_and_command(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study", PARTS["effects"])
    info = effects_info(read_run(directory))
    assert info is not None
    row = next(row for row in info.verdicts.rows if row.claim.id == "demotion-reduction-4-auc")
    assert row.estimate is not None and row.verdict == "holds"
    text = "".join(Page(effects_html(read_run(directory))).text)
    ends = f"[{row.estimate.low:+.4f}, {row.estimate.high:+.4f}]"
    assert f"-0.0280{row.estimate.value:+.4f} {ends}below 0✓ holds8 (4)" in text
    assert "nni-privacy measure config.yaml" in text
    assert f"Of {len(info.verdicts.rows)} claims: " in text


def test_csv_files_hold_the_numbers_of_the_page(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study", PARTS["by-defence"])
    info = effects_info(read_run(directory))
    assert info is not None
    tables = {
        name: list(csv.DictReader(io.StringIO(text))) for name, text in effects_tables(read_run(directory)).items()
    }
    assert set(tables) == {"effects.csv", "verdicts.csv"}
    for row, effect in zip(tables["effects.csv"], info.effects, strict=True):
        assert (row["variant"], row["against"], row["metric"]) == (effect.variant, effect.against, effect.metric)
        assert effect.estimate is not None
        assert (float(row["difference"]), float(row["low"])) == (effect.mean, effect.estimate.low)
        assert row["epsilon"] == ("ε = 3.25" if effect.defence == "dp-sgd" else "")
    for line, verdict in zip(tables["verdicts.csv"], info.verdicts.rows, strict=True):
        assert (line["claim"], line["verdict"]) == (verdict.claim.id, verdict.verdict)
        assert line["command"] == "nni-privacy measure config.yaml"
        assert (float(line["paper"]) if line["paper"] else None) == verdict.paper


def test_a_forest_draws_every_interval_and_every_architecture(tmp_path: Path) -> None:
    info = effects_info(read_run(write_study(tmp_path / "study", PARTS["controls"])))
    assert info is not None
    (forest,) = variant_forests(info)
    with drawing_style():
        panels = draw_forest(forest, info.metric).axes
    for column, axes in enumerate(panels):
        drawn = [tuple(line.get_xdata()) for line in axes.get_lines()]
        for row in forest.rows:
            effect = row.effects[column]
            assert effect is not None and effect.estimate is not None
            assert (effect.estimate.low, effect.estimate.high) in drawn
            assert (effect.mean,) in drawn
        thin = [xs for xs in drawn if len(xs) == len(forest.rows)]
        means = [row.effects[column].by_architecture for row in forest.rows]  # type: ignore[union-attr]
        assert sorted(thin) == sorted(tuple(mean[label] for mean in means) for label in means[0])
        assert all(math.isfinite(x) for xs in drawn for x in xs)


def test_labels_are_escaped(tmp_path: Path) -> None:
    rows = study_rows(treated=variants(controls=(None, "placebo")), architectures=4, defences=("none", "dp-sgd"))
    for row in rows:
        row["factors"]["dataset"] = HOSTILE
        row["factors"]["architecture"] += HOSTILE
        row["factors"]["defence"] = row["factors"]["defence"].replace("dp-sgd", HOSTILE)
        if row["factors"]["control"]:
            row["factors"]["control"] = HOSTILE
            row["factors"]["variant"] = HOSTILE
    html = html_of(tmp_path, rows)
    assert "<script>alert" not in html and "<img" not in html
    check_whole(html)
