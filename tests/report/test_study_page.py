from __future__ import annotations

import json
import re

import pytest
from matplotlib.text import Text
from report.pages import HOSTILE, Page, own_scripts, running
from report.study_samples import ATTACKS, HUMANS, ORIGINAL, SEARCHED, save_study, study_row, study_run, write_study

from nni_privacy.analysis.matched import matched_infos
from nni_privacy.analysis.study import ACCURACY, bars_info, overfitting_info, study_info
from nni_privacy.report import read_run, write_report
from nni_privacy.report.study_page import (
    BASES,
    COLUMNS,
    ROWS,
    bar_limits,
    draw_bars,
    draw_matched,
    draw_overfitting,
    whiskers,
)
from nni_privacy.report.style import drawing_style, plain_label

SECTIONS = ("table1", "accuracy", "attacks-0", "overfitting", "matched")


def page_of(path) -> str:
    text = write_report(path).read_text(encoding="utf-8")
    page = Page(text)  # balanced tags
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert not re.search(r"@import|url\((?!#)|@font-face", text)
    assert "nan" not in re.findall(r"[a-z]+", re.sub(r"<svg.*?</svg>|<pre>.*?</pre>", "", text, flags=re.DOTALL))
    return text


def sections_of(text: str) -> set[str]:
    return set(re.findall(r'<section id="([^"]+)"', text))


def text_of(svg_or_page: str) -> str:
    return " ".join(Page(svg_or_page).text)


def bars_of(study, *quantities: str):
    infos = [bars_info(study, "digits", name) for name in quantities]
    return draw_bars(infos, quantities, bar_limits(infos))


def figure_of(text: str, section: str) -> str:
    found = re.search(rf'<section id="{section}">.*?</section>', text, flags=re.DOTALL)
    assert found
    return found.group()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> str:
    path = write_study(tmp_path_factory.mktemp("study"), failed=["vgg"], missing=["enas"], seeds=[0, 1])
    return page_of(path)


@pytest.mark.slow
def test_the_page_has_table_1_and_figures_2_to_4_and_17_to_19(whole):
    assert sections_of(whole) >= {*SECTIONS, "attacks-1", "attacks-2", "attacks-3"}
    for title in ("Table 1", "Figure 2", "Figure 3", "Figure 17", "Figure 18", "Figure 19", "Figure 4"):
        assert f"({title})" in whole


def test_every_architecture_has_a_place_in_every_figure_of_bars(whole):
    for section in ("accuracy", "attacks-0", "attacks-3"):
        text = text_of(figure_of(whole, section))
        assert all(name in text for name in (*HUMANS, *SEARCHED))
        assert "✕ failed" in text


def test_a_failed_architecture_is_named_and_its_error_in_the_table(whole):
    assert "Failed, and marked so in the figures: 8 measurements: vgg (cifar10, cifar100, stl10, celeba)." in whole
    assert "Not measured, as the study goes on or was stopped: 2 measurements: enas (celeba)." in whole
    assert whole.count("OutOfMemoryError") == 8
    assert "not measured" in text_of(figure_of(whole, "attacks-3"))


def test_whiskers_are_what_the_seeds_allow(tmp_path):
    def words(seeds, quantity):
        study = study_info(read_run(write_study(tmp_path / str(len(seeds)), seeds=seeds, datasets=["digits"])))
        return whiskers([bars_info(study, "digits", quantity)])

    assert words([0, 1], ATTACKS[0]) == words([0, 1], ACCURACY) == BASES["range"]
    assert words([0], ATTACKS[0]) == BASES["records"] and words([0], ACCURACY) == BASES["none"]
    assert words([0, 1, 2], ACCURACY) == BASES["t"]


def test_the_same_run_gives_the_same_page(tmp_path):
    path = write_study(tmp_path, datasets=["digits"], seeds=[0], attacks=ATTACKS[:2])
    assert page_of(path) == page_of(path)


def test_every_drawn_panel_shows_something(tmp_path):
    path = write_study(tmp_path, failed=["vgg"], seeds=[0], datasets=["digits"])
    study = study_info(read_run(path))
    with drawing_style():
        bars = bars_of(study, *study.attacks)
        points = draw_overfitting([overfitting_info(study, "digits", name) for name in study.attacks])
        matched = draw_matched(matched_infos(study))
    assert [len(axes.patches) for axes in bars.axes] == [19] * 5
    assert all(any(len(line.get_xdata()) > 2 for line in axes.lines) for axes in points.axes)
    assert len(points.axes) == 5
    assert [label.get_text() for label in matched.axes[0].get_yticklabels()] == [f"digits, {name}" for name in ATTACKS]


def test_labels_do_not_overlap_with_twenty_architectures_and_five_attacks(tmp_path):
    study = study_info(read_run(write_study(tmp_path, seeds=[0], datasets=["digits"])))
    assert len(study.attacks) == COLUMNS
    with drawing_style():
        figure = bars_of(study, *study.attacks)
        figure.draw_without_rendering()
    names = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert not any(a.overlaps(b) for place, a in enumerate(names) for b in names[place + 1 :])
    texts = [text for axes in figure.axes for text in axes.findobj(Text) if text.get_text() in study.attacks]
    titles = [text.get_window_extent() for text in texts]
    assert len(titles) == 5
    assert not any(a.overlaps(b) for place, a in enumerate(titles) for b in titles[place + 1 :])
    low, high = figure.axes[0].get_xlim()
    ticks = [
        label.get_window_extent()
        for axes in figure.axes
        for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        if low <= place <= high
    ]
    assert len(ticks) >= 10
    assert not any(a.overlaps(b) for place, a in enumerate(ticks) for b in ticks[place + 1 :])


def test_bars_of_auc_begin_at_guessing_and_those_of_accuracy_at_nothing(tmp_path):
    study = study_info(study_run(tmp_path, [study_row("a", 0.7, 0.6), study_row("b", 0.8, 0.48)]))
    with drawing_style():
        aucs = bars_of(study, "white_box_partial").axes[0]
        accuracies = bars_of(study, ACCURACY).axes[0]
    assert [(bar.get_x(), bar.get_width()) for bar in aucs.patches] == [
        (0.5, pytest.approx(0.1)),
        (0.5, pytest.approx(-0.02)),
    ]
    assert aucs.get_xlim()[0] < 0.48
    assert [bar.get_x() for bar in accuracies.patches] == [0, 0]


def test_long_and_odd_names_are_cut_and_cleaned():
    assert plain_label("x" * 60) == "x" * 43 + "…"
    assert plain_label("a\0b") == "a\ufffdb"


def test_nothing_that_a_file_says_becomes_markup(tmp_path):
    rows = [
        study_row(f"{HOSTILE}{place}", 0.7 + place / 100, 0.6 + place / 100, kind=kind, dataset=HOSTILE)
        for kind in ("human-designed", "NAS", HOSTILE)
        for place in range(3)
    ]
    for place, row in enumerate(rows):
        row["factors"]["architecture"] += str(place)
        row["metrics"][f"{HOSTILE}_mia_auc"] = 0.6 + place / 100
        row["trial"] = f"t{place}{HOSTILE}"
    rows.append(study_row(f"{HOSTILE}x", status="failed", error=HOSTILE, dataset=HOSTILE))
    path = save_study(tmp_path, rows, datasets=[HOSTILE], attacks=[f"{HOSTILE}$x^{{"], architectures=[HOSTILE])
    text = page_of(path)
    page = Page(text)
    assert set(running(page)) == own_scripts()
    assert not any(tag == "img" for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "\0" not in text


def test_the_only_scripts_are_those_that_the_policy_names(whole):
    assert set(running(Page(whole))) == own_scripts()


DEGENERATE = {
    "one architecture": ([study_row("resnet")], {"table1", "accuracy", "attacks-0", "overfitting"}),
    "one kind": (
        [study_row(f"n{place}", 0.7, 0.6 + place / 100, kind="NAS") for place in range(4)],
        {"table1", "accuracy", "attacks-0", "overfitting"},
    ),
    "all failed": ([study_row("resnet", status="failed", error="NaN"), study_row("vgg", status="failed")], set()),
    "no trial yet": ([], set()),
    "no attack": ([study_row("resnet", 0.7, None)], {"accuracy"}),
    "no accuracy": ([study_row("resnet", None, 0.6)], {"table1", "attacks-0"}),
    "too far apart": ([study_row("a", 0.3, 0.9), study_row("b", 0.9, 0.6, kind="NAS")], set(SECTIONS)),
    "no factors": ([{**study_row("resnet"), "factors": None}], set()),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_studies_have_a_page_without_empty_sections(tmp_path, name):
    rows, expected = DEGENERATE[name]
    text = page_of(save_study(tmp_path, rows, architectures=["resnet"]))
    assert sections_of(text) == expected | {"notes", "measurements", "configuration"}
    for section in expected:
        assert re.search("<svg|<table", figure_of(text, section))


def test_accuracies_that_do_not_overlap_give_a_reason_and_no_number(tmp_path):
    rows, _ = DEGENERATE["too far apart"]
    text = figure_of(page_of(save_study(tmp_path, rows)), "matched")
    assert "not comparable: no two of different kind are within 0.03 in accuracy" in text
    assert "<svg" not in text


def test_notices_of_a_study_without_results(tmp_path):
    assert "No measurement has finished yet" in page_of(save_study(tmp_path / "none", [], architectures=["resnet"]))
    failed = [study_row("resnet", status="failed", error="NaN")]
    assert "No measurement has succeeded" in page_of(save_study(tmp_path / "failed", failed))


def test_more_attacks_than_columns_make_a_second_figure(tmp_path):
    attacks = [f"attack_{number}" for number in range(COLUMNS + 2)]
    text = page_of(write_study(tmp_path, attacks=attacks, datasets=["digits"], seeds=[0], humans=HUMANS[:3]))
    assert figure_of(text, "attacks-0").count("<svg") == 2


def test_more_architectures_than_rows_make_a_second_figure_on_the_same_axis(tmp_path):
    searched = [f"sampled-{number:02d}" for number in range(ROWS)]
    path = write_study(tmp_path, searched=searched, datasets=["digits"], seeds=[0], attacks=ATTACKS[:1])
    figure = figure_of(page_of(path), "attacks-0")
    first, second = re.findall(r"<svg.*?</svg>", figure, flags=re.DOTALL)
    assert [sum(name in svg for name in (*HUMANS, *searched)) for svg in (first, second)] == [20, 20]
    ticks = [re.findall(r"<text[^>]*>(0\.\d+)</text>", svg) for svg in (first, second)]
    assert ticks[0] and ticks[0] == ticks[1]


def test_effects_of_variants_stand_on_the_page_where_there_are_some(tmp_path, whole):
    demotion = {"variant": "demotion-reduction-4", "pattern": "demotion", "cells": "reduction", "budget": 4}
    path = write_study(
        tmp_path, variants=[ORIGINAL, {**ORIGINAL, **demotion}], datasets=["digits"], humans=HUMANS[:4], seeds=[0, 1]
    )
    text = page_of(path)
    assert '<section id="effects">' in text and '<section id="effects">' not in whole
    assert "are apart, below" in text
    assert (path / "effects.csv").read_text(encoding="utf-8").count("\n") > 1


def test_a_network_is_not_called_a_broken_genotype(whole):
    assert "not a genotype" not in whole


def test_a_line_that_was_cut_off_is_said(tmp_path):
    path = save_study(tmp_path, [study_row("resnet")])
    with (path / "trials.jsonl").open("a") as file:
        file.write(json.dumps(study_row("vgg"))[:50])
    assert "Skipped in trials.jsonl" in page_of(path)
