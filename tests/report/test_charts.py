"""Interactive charts: the library is the release's own, and options and drawings say what the data say."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_browser import open_browser
from support_search import wait_for

from nni_privacy.analysis.pareto import pareto_front
from nni_privacy.report.chart_scripts import SCRIPTS, chart_script

RELEASE = "6.1.0"
SHA512 = (
    "b7e36edcb962df136ffc9d185a3c24e83d294aab6cc3ed83a002a7a2bed7d587"
    "291d883e8efd9e6b60f6f45f983753e3ea59fd92a0a9d79e669907400f53e3fc"
)
"""Of ``dist/echarts.common.min.js`` in the npm release."""

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'"
HOSTILE = "<img src=x onerror=\"document.title='broken'\"></script><!-- {b} __proto__"
ROWS: list[dict[str, Any]] = [
    {"trial": f"t{index}", "sequence": index, "status": "succeeded", "metrics": metrics}
    for index, metrics in enumerate(
        [
            {"accuracy": 0.61, "mia_auc": 0.55, "mia_auc_low": 0.52, "mia_auc_high": 0.58},
            {"accuracy": 0.70, "mia_auc": 0.60, "mia_auc_low": 0.57, "mia_auc_high": 0.63},
            {"accuracy": 0.65, "mia_auc": 0.58},
            {"accuracy": 0.60, "mia_auc": 0.56, "mia_auc_low": 0.53, "mia_auc_high": 0.59},
        ]
    )
]
POINTS: list[dict[str, Any]] = [
    {
        "trial": row["trial"],
        "sequence": row["sequence"],
        "x": row["metrics"]["accuracy"],
        "y": row["metrics"]["mia_auc"],
        "low": row["metrics"].get("mia_auc_low"),
        "high": row["metrics"].get("mia_auc_high"),
    }
    for row in ROWS
]
TRADEOFF: dict[str, Any] = {
    "points": POINTS,
    "xName": "accuracy",
    "yName": "mia_auc",
    "xTitle": "test accuracy",
    "yTitle": "attack AUC",
    "front": ["t0", "t1", "t2"],
    "better": {"x": "high", "y": "low"},
}


class _Quiet(SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser at a page with the scripts, under the strictest policy that they must work with."""
    folder = tmp_path_factory.mktemp("charts")
    for name in SCRIPTS:
        (folder / name).write_text(chart_script(name), encoding="utf-8")
    (folder / "size.css").write_text("#chart { width: 640px; height: 420px; }")
    scripts = "".join(f'<script src="{name}"></script>' for name in SCRIPTS)
    head = '<meta charset="utf-8"><link rel="icon" href="data:,"><link rel="stylesheet" href="size.css">'
    text = (
        f'<!DOCTYPE html><html lang="en"><head>{head}<title>charts</title></head><body><div id="chart"></div>{scripts}'
    )
    (folder / "index.html").write_text(f"{text}</body></html>", encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        driver.get(f"http://127.0.0.1:{server.server_port}/index.html")
        yield driver
    server.shutdown()
    server.server_close()


def option(page: Any, builder: str, given: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(
        page.execute_script(f"return JSON.stringify(privacyCharts.{builder}(arguments[0]))", given)
    )
    return made


def draw(page: Any, builder: str, given: dict[str, Any]) -> None:
    code = "privacyCharts.draw(document.getElementById('chart'), privacyCharts.%s(arguments[0]), {label: 'a chart',"
    page.execute_script(f"{code % builder} pick: data => window.picked = data.trial}})", given)


def series(made: dict[str, Any], name: str, kind: str) -> list[Any]:
    return [one["data"] for one in made["series"] if one["name"] == name and one["type"] == kind]


def complaints(page: Any) -> list[str]:
    return [one["message"] for one in page.get_log("browser")]


def test_the_library_is_the_release_byte_for_byte() -> None:
    assert hashlib.sha512(chart_script("echarts.min.js").encode()).hexdigest() == SHA512
    folder = Path(__file__).resolve().parents[2] / "nni_privacy" / "report" / "charts"
    assert f"`echarts` {RELEASE}" in (folder / "README.md").read_text(encoding="utf-8")
    assert f'version="{RELEASE}"' in chart_script("echarts.min.js")
    assert "Apache License" in (folder / "LICENSE.echarts").read_text(encoding="utf-8")
    assert "Apache ECharts" in (folder / "NOTICE.echarts").read_text(encoding="utf-8")
    assert "Mike Bostock" in (folder / "LICENSE.d3").read_text(encoding="utf-8")


def test_only_scripts_of_the_list_are_read() -> None:
    with pytest.raises(KeyError):
        chart_script("../html.py")


@pytest.mark.browser
class TestOptions:
    """Numbers of the options."""

    def test_the_trade_off_has_points_intervals_front_and_guess(self, page: Any) -> None:
        made = option(page, "tradeoffOption", TRADEOFF)
        (front,) = series(made, "Pareto front", "scatter")
        assert [(one["trial"], one["value"]) for one in front] == [
            ("t0", [0.61, 0.55]),
            ("t1", [0.70, 0.60]),
            ("t2", [0.65, 0.58]),
        ]
        assert front[0]["title"] == "#0 t0"
        assert front[0]["lines"] == ["test accuracy: 0.6100", "attack AUC: 0.5500 [0.5200, 0.5800]"]
        assert front[2]["lines"][1] == "attack AUC: 0.5800"
        bars, steps = series(made, "Pareto front", "line")
        assert bars == [[0.61, 0.52], [0.61, 0.58], [0.61, None], [0.70, 0.57], [0.70, 0.63], [0.70, None]]
        assert steps == [[0.61, 0.55], [0.65, 0.58], [0.70, 0.60]]
        (others,) = series(made, "other trials", "scatter")
        assert [one["trial"] for one in others] == ["t3"]
        ((left, right),) = series(made, "guessing (AUC 0.5)", "line")
        assert left[1] == right[1] == 0.5 and left[0] == made["xAxis"]["min"] and right[0] == made["xAxis"]["max"]

    def test_the_line_of_the_front_steps_towards_what_is_better(self, page: Any) -> None:
        for better, step in (("high", "start"), ("low", "end"), (None, False)):
            made = option(page, "tradeoffOption", {**TRADEOFF, "better": {"x": better, "y": "low"}})
            *_, steps = [one for one in made["series"] if one["name"] == "Pareto front" and one["type"] == "line"]
            assert steps["step"] == step

    def test_what_breaks_a_constraint_is_shaded_on_its_axis(self, page: Any) -> None:
        bounds = [
            {"metric": "mia_auc", "relation": "<=", "bound": 0.57, "text": "mia_auc <= 0.57"},
            {"metric": "accuracy", "relation": ">=", "bound": 0.63, "text": "accuracy >= 0.63"},
            {"metric": "parameters", "relation": "<=", "bound": 1000, "text": "parameters <= 1000"},
        ]
        made = option(page, "tradeoffOption", {**TRADEOFF, "constraints": bounds})
        (shaded,) = [one for one in made["series"] if one["name"] == "outside the constraints"]
        x, y = made["xAxis"], made["yAxis"]
        corners = [[one["coord"] for one in area] for area in shaded["markArea"]["data"]]
        assert corners == [
            [[x["min"], 0.57], [x["max"], y["max"]]],
            [[x["min"], y["min"]], [0.63, y["max"]]],
        ]

    def test_groups_have_entries_of_their_own_in_the_legend_and_what_is_selected_has_none(self, page: Any) -> None:
        points = [{**one, "group": f"phase {index % 2}"} for index, one in enumerate(POINTS)]
        made = option(page, "tradeoffOption", {**TRADEOFF, "points": points, "front": [], "selected": ["t1"]})
        assert [one["name"] for one in made["legend"]["data"]] == ["phase 0", "phase 1", "guessing (AUC 0.5)"]
        (ring,) = series(made, "selected", "scatter")
        assert ring == [[0.70, 0.60]]

    def test_a_front_is_that_of_the_analysis(self, page: Any) -> None:
        generator = np.random.default_rng(3)
        accuracy, auc = generator.integers(0, 12, 60) / 12, generator.integers(0, 12, 60) / 12
        points = [
            {"trial": index, "x": float(x), "y": float(y)}
            for index, (x, y) in enumerate(zip(accuracy, auc, strict=True))
        ]
        code = "return privacyCharts.front(arguments[0], {x: 'high', y: 'low'})"
        assert sorted(page.execute_script(code, points)) == sorted(pareto_front(accuracy, auc))

    def test_progress_has_the_best_so_far_and_failures(self, page: Any) -> None:
        rows = [*ROWS, {"trial": "t4", "sequence": 4, "status": "failed", "metrics": {"accuracy": 0.99}}]
        panels = [
            {"metric": "accuracy", "title": "test accuracy", "better": "high"},
            {"metric": "mia_auc", "title": "attack AUC", "better": "low", "low": "mia_auc_low", "high": "mia_auc_high"},
        ]
        made = option(page, "progressOption", {"rows": rows, "panels": panels})
        (best,), (lowest,) = series(made, "best so far", "line"), series(made, "lowest so far", "line")
        assert best == [[0, 0.61], [1, 0.70], [2, 0.70], [3, 0.70], [4, 0.70]]
        assert lowest == [[0, 0.55], [1, 0.55], [2, 0.55], [3, 0.55], [4, 0.55]]
        assert [len(one) for one in series(made, "test accuracy", "scatter")] == [4]
        assert [[one["trial"] for one in data] for data in series(made, "failed", "scatter")] == [["t4"], ["t4"]]
        assert {one["xAxisIndex"] for one in made["series"]} == {0, 1}

    def test_panels_of_the_progress_share_their_left_edge_and_width(self, page: Any) -> None:
        panels = [{"metric": "accuracy", "title": "accuracy"}, {"metric": "parameters", "title": "weights"}]
        rows = [{**row, "metrics": {**row["metrics"], "parameters": 10**6 + row["sequence"]}} for row in ROWS[:4]]
        draw(page, "progressOption", {"rows": rows, "panels": panels})
        places = """const chart = echarts.getInstanceByDom(document.getElementById('chart'));
            return [0, 1].map(at => [0, 3].map(x => chart.convertToPixel({xAxisIndex: at}, x)))"""
        above, below = page.execute_script(places)
        assert above == below

    def test_a_roc_curve_starts_at_the_floor_of_its_axes(self, page: Any) -> None:
        curves = [{"attack": "loss", "fpr": [0, 0, 0.5, 1], "tpr": [0, 0.2, 0.8, 1], "auc": 0.7}]
        band = {"name": "95% band", "grid": [0.01, 1], "low": [0, 1], "high": [0.3, 1]}
        made = option(page, "rocOption", {"curves": curves, "band": band, "floor": 0.01, "bottom": 0.005})
        (curve,) = series(made, "loss, AUC 0.700", "line")
        assert [one["value"] for one in curve] == [[0.01, 0.005], [0.01, 0.2], [0.5, 0.8], [1, 1]]
        assert curve[1]["lines"] == ["false-positive rate: 0", "true-positive rate: 0.2000"]
        low, high = series(made, "95% band", "line")
        assert low == [[0.01, 0.005], [1, 1]] and high == [[0.01, 0.3], [1, 1]]
        assert made["xAxis"]["axisLabel"]["customValues"] == [0.01, 0.1, 1]

    def test_rows_have_values_and_intervals(self, page: Any) -> None:
        rows = [{"label": "7", "auc": 0.61, "low": 0.5, "high": 0.7}, {"name": "cat", "value": 0.55}]
        made = option(page, "barsOption", {"rows": rows})
        (points,) = series(made, "AUC of the attack", "scatter")
        assert [(one["title"], one["value"]) for one in points] == [("7", [0.61, 0]), ("cat", [0.55, 1])]
        assert points[0]["lines"] == ["AUC of the attack: 0.6100 [0.5000, 0.7000]"]
        assert series(made, "AUC of the attack", "line") == [[[0.5, 0], [0.7, 0], [None, 0]]]
        made = option(page, "barsOption", {"rows": [{**row, "group": f"kind {n}"} for n, row in enumerate(rows)]})
        assert [one["name"] for one in made["legend"]["data"]] == ["kind 0", "kind 1", "guessing (AUC 0.5)"]
        assert [one["value"] for one in series(made, "kind 1", "scatter")[0]] == [[0.55, 1]]

    def test_curves_and_hypervolume_keep_their_values(self, page: Any) -> None:
        made = option(page, "curvesOption", {"traces": [{"name": "loss", "values": [0.9, None, 0.5]}]})
        (trace,) = series(made, "loss", "line")
        assert [one["value"] for one in trace] == [[1, 0.9], [2, None], [3, 0.5]]
        made = option(page, "hypervolumeOption", {"points": [[0, 0.1], [3, 0.25]]})
        (growth,) = series(made, "hypervolume", "line")
        assert [one["value"] for one in growth] == [[0, 0.1], [3, 0.25]]

    @pytest.mark.parametrize(
        ("values", "ends"),
        [
            ([], [0, 1]),
            ([0.0, 1.0], [0, 1]),
            ([10.0, 30.0], [5, 35]),
            ([None, 0.2, 0.3], [0.18, 0.32]),
            ([0.99, 1.0], [0.988, 1]),
        ],
    )
    def test_axes_end_at_round_numbers(self, page: Any, values: list[float], ends: list[float]) -> None:
        made = page.execute_script("return privacyCharts.niceRange(arguments[0])", values)
        assert [made["min"], made["max"]] == ends


@pytest.mark.browser
class TestDrawings:
    """What is drawn, under a policy that allows neither inline scripts nor inline styles."""

    def test_every_chart_is_drawn_as_svg_without_a_complaint(self, page: Any) -> None:
        complaints(page)
        panels = [{"metric": "accuracy", "title": "test accuracy", "better": "high"}]
        every: list[tuple[str, dict[str, Any]]] = [
            ("tradeoffOption", {**TRADEOFF, "dark": True}),
            ("progressOption", {"rows": ROWS, "panels": panels}),
            ("hypervolumeOption", {"points": [[0, 0.1]]}),
            ("rocOption", {"curves": [{"attack": "a", "fpr": [0, 1], "tpr": [0, 1], "auc": 0.5}], "floor": 0.01}),
            ("curvesOption", {"traces": [{"name": "a", "values": [0.5]}]}),
            ("barsOption", {"rows": [{"name": "a", "value": 0.6, "low": 0.5, "high": 0.7}]}),
            ("tradeoffOption", {**TRADEOFF, "points": [], "front": []}),
        ]
        for builder, given in every:
            draw(page, builder, given)
            assert page.execute_script("return document.querySelectorAll('#chart svg path').length") > 1
        assert complaints(page) == []

    def test_hostile_names_are_text(self, page: Any) -> None:
        points = [{**one, "trial": HOSTILE, "group": HOSTILE, "lines": [HOSTILE]} for one in POINTS]
        given = {**TRADEOFF, "points": points, "xTitle": HOSTILE, "yTitle": HOSTILE, "front": []}
        every: list[tuple[str, dict[str, Any]]] = [
            ("tradeoffOption", given),
            ("rocOption", {"curves": [{"attack": HOSTILE, "fpr": [0, 1], "tpr": [0, 1]}], "floor": 0.01}),
            ("barsOption", {"rows": [{"name": HOSTILE, "value": 0.6, "low": 0.5, "high": 0.7}], "title": HOSTILE}),
            ("curvesOption", {"traces": [{"name": HOSTILE, "values": [0.5, 0.6]}], "title": HOSTILE}),
            ("curvesOption", {"traces": [{"name": "__proto__", "values": [0.5, 0.6]}]}),
        ]
        for builder, given in every:
            draw(page, builder, given)
            press(page, "ArrowRight")
            assert page.execute_script("return document.querySelectorAll('#chart img, #chart script').length") == 0
        draw(page, *every[0])
        press(page, "ArrowRight")
        assert HOSTILE in page.execute_script("return document.querySelector('#chart strong').textContent")
        assert page.title == "charts"

    def test_arrow_keys_tell_of_points_and_enter_picks_one(self, page: Any) -> None:
        draw(page, "tradeoffOption", TRADEOFF)
        for _ in range(2):
            press(page, "ArrowRight")
        spoken = page.execute_script("return document.querySelector('[role=status]').textContent")
        assert spoken == "#0 t0, test accuracy: 0.6100, attack AUC: 0.5500 [0.5200, 0.5800]"
        shown = page.execute_script("return document.querySelector('#chart strong').textContent")
        assert shown == "#0 t0"
        press(page, "Enter")
        assert page.execute_script("return window.picked") == "t0"

    def test_what_is_hidden_by_the_legend_stays_hidden_when_drawn_anew(self, page: Any) -> None:
        draw(page, "tradeoffOption", TRADEOFF)
        find = "[...document.querySelectorAll('.chart-legend button')].find(one => one.textContent === 'Pareto front')"
        count = "return document.querySelectorAll('#chart svg path').length"
        before = page.execute_script(count)
        page.execute_script(f"{find}.click()")
        draw(page, "tradeoffOption", TRADEOFF)
        assert page.execute_script(f"return {find}.getAttribute('aria-pressed')") == "false"
        assert page.execute_script(count) < before
        page.execute_script(f"{find}.click()")
        wait_for(lambda: page.execute_script(count) == before, "what was hidden")

    def test_pictures_are_png_and_svg(self, page: Any) -> None:
        for kind, start in (("png", "data:image/png;base64,"), ("svg", "data:image/svg+xml;")):
            code = "return privacyCharts.image(privacyCharts.tradeoffOption(arguments[0]), arguments[1])"
            assert page.execute_script(code, TRADEOFF, kind).startswith(start)


def press(page: Any, key: str) -> None:
    code = "document.getElementById('chart').dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0]}))"
    page.execute_script(code, key)
