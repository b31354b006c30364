"""Pages as people see them: on a telephone, in the dark, and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bench.planted_bench import PROTOCOLS, whole_table
from report.effects_samples import study_rows, variants
from report.effects_samples import write_study as write_effects
from report.samples import make_run
from support_browser import open_browser

from nni_privacy.attacks import TargetSignals
from nni_privacy.auditing.audit import audit_signals
from nni_privacy.bench.results import bench_results
from nni_privacy.report import write_report
from nni_privacy.report.audit_page import write_audit
from nni_privacy.report.bench_page import render_bench

pytestmark = pytest.mark.browser

PAGES = ("run", "study", "audit", "bench")
WIDTHS = (1280, 390)
COLOURS = "const look = getComputedStyle(document.body); return [look.backgroundColor, look.color]"
BEYOND = """return [...document.querySelectorAll('body *')].filter(one => {
    if (one.closest('svg') && one.tagName !== 'svg') return false;
    for (let box = one.parentElement; box; box = box.parentElement)
        if (getComputedStyle(box).overflowX !== 'visible') return false;
    return one.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
}).map(one => one.tagName + '.' + one.className)"""
SMALLEST = """return Math.min(...[...document.querySelectorAll('svg[role=img]')].filter(
    figure => figure.checkVisibility()
).map(figure => figure.getBoundingClientRect().width / figure.viewBox.baseVal.width))"""
"""Pixels that a point of a figure takes: 1.33 where it is as large as it was drawn."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where a page of each kind is; with long names, many columns and many classes."""
    folder = tmp_path_factory.mktemp("pages")
    n, generator = 400, np.random.default_rng(0)
    labels = generator.integers(0, 12, n)
    signals = TargetSignals.from_logits(generator.normal(size=(n, 12)), labels, np.arange(n) < n // 2)
    report = audit_signals(signals, attacks=["loss_threshold", "gap", "black_box_partial"])
    facts = {"Weights": f"a/long/path/to/the/weights.safetensors (SHA-256 of the file: {'0f' * 32})"}
    rows = study_rows(treated=variants(budgets=(2, 4)), architectures=3, attacks=("label_only", "white_box_shadow"))
    made = {
        "run": write_report(make_run(folder / "run", failed=(5,))),
        "study": write_report(write_effects(folder / "study", rows)),
        "audit": write_audit(report, folder / "audit", title="Audit of package.module:factory", facts=facts),
    }
    made["bench"] = folder / "bench.html"
    made["bench"].write_text(render_bench(bench_results(whole_table(), rounds=100), PROTOCOLS), encoding="utf-8")
    return {name: path.resolve().as_uri() for name, path in made.items()}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def show(driver: Any, page: str, *, width: int = 1280, scheme: str = "light", media: str = "screen") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = {"media": media, "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    driver.get(page)


def brightness(colour: str) -> float:
    return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_its_window(chromium: Any, pages: dict[str, str], name: str, width: int) -> None:
    show(chromium, pages[name], width=width)
    wide = chromium.execute_script("return document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0 and chromium.execute_script(BEYOND) == []


@pytest.mark.parametrize("name", PAGES)
def test_figures_keep_their_size_on_a_telephone(chromium: Any, pages: dict[str, str], name: str) -> None:
    show(chromium, pages[name], width=390)
    assert chromium.execute_script(SMALLEST) > 1.3


@pytest.mark.parametrize("name", PAGES)
def test_the_dark_of_the_system_is_followed_on_screens_and_not_on_paper(
    chromium: Any, pages: dict[str, str], name: str
) -> None:
    for scheme, media, dark in (("light", "screen", False), ("dark", "screen", True), ("dark", "print", False)):
        show(chromium, pages[name], scheme=scheme, media=media)
        paper, ink = (brightness(colour) for colour in chromium.execute_script(COLOURS))
        assert (paper < 40 and ink > 200) if dark else (paper > 250 and ink < 80)
        turned = chromium.execute_script("return getComputedStyle(document.querySelector('svg')).filter")
        assert (turned != "none") is dark


@pytest.mark.parametrize("name", ["run", "study", "bench"])
def test_drawers_are_left_out_on_paper(chromium: Any, pages: dict[str, str], name: str) -> None:
    show(chromium, pages[name])
    visible = "return [...document.querySelectorAll('details')].filter(one => one.checkVisibility()).length"
    assert chromium.execute_script(visible) > 2
    show(chromium, pages[name], media="print")
    assert chromium.execute_script(visible) == 0
