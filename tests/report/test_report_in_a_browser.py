"""The report with its scripts: charts in the place of figures, filters, contents list, pages on paper, axe-core."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report.effects_samples import study_rows, variants
from report.effects_samples import write_study as write_effects
from report.pages import HOSTILE
from report.samples import make_run, write_rows
from support_browser import open_browser

from nni_privacy.analysis.pareto import pareto_front
from nni_privacy.attacks import TargetSignals
from nni_privacy.auditing.audit import audit_signals
from nni_privacy.report import read_run, write_report
from nni_privacy.report.audit_page import write_audit

pytestmark = [pytest.mark.slow, pytest.mark.browser]

MOST_PAGES = 6
NASTY = f"</script><!--{HOSTILE}"


def numbered(directory: Path, count: int) -> Path:
    """A run of so many trials, made of the rows of a small one."""
    rows = [json.loads(line) for line in (make_run(directory) / "trials.jsonl").read_text().splitlines()]
    many = []
    for place in range(count):
        row = json.loads(json.dumps(rows[place % len(rows)]))
        row["metrics"]["accuracy"] -= place / 1e4
        many.append({**row, "trial": row["trial"] if place < len(rows) else f"n{place}", "sequence": place})
    write_rows(directory, many)
    return directory


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    rows = study_rows(treated=variants(budgets=(2, 4)), architectures=3, attacks=("label_only", "white_box_shadow"))
    made = {
        "few": make_run(folder / "few", failed=(5,)),
        "many": numbered(folder / "many", 500),
        "study": write_effects(folder / "study", rows),
    }
    generator = np.random.default_rng(0)
    signals = TargetSignals.from_logits(
        generator.normal(size=(400, 4)), generator.integers(0, 4, 400), np.arange(400) < 200
    )
    audit = write_audit(audit_signals(signals, attacks=["loss_threshold", "gap"]), folder / "audit")
    return {"audit": audit, **{name: write_report(directory) for name, directory in made.items()}}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def show(driver: Any, page: Path, *, width: int = 1280, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get(page.resolve().as_uri())


def islands(driver: Any) -> list[dict[str, Any]]:
    code = """return [...document.querySelectorAll('script.chart-data')].map(
        one => ({builder: one.dataset.builder, data: JSON.parse(one.textContent)}))"""
    found: list[dict[str, Any]] = driver.execute_script(code)
    return found


def printed(driver: Any, page: Path) -> int:
    show(driver, page)
    content = driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})
    return len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(content["data"])))


def test_charts_take_the_place_of_figures_and_have_the_numbers_of_the_run(
    chromium: Any, pages: dict[str, Path]
) -> None:
    show(chromium, pages["few"])
    assert chromium.get_log("browser") == []
    run = read_run(pages["few"].parent)
    found = {one["builder"]: one["data"] for one in islands(chromium)}
    assert set(found) == {"tradeoffOption", "progressOption", "hypervolumeOption", "rocOption"}
    points = {one["trial"]: one for one in found["tradeoffOption"]["points"]}
    assert set(points) == {trial.trial for trial in run.measured}
    for trial in run.measured:
        low, high = trial.interval or (None, None)
        told = [points[trial.trial][name] for name in ("x", "y", "low", "high")]
        assert told == pytest.approx([trial.accuracy, trial.mia_auc, low, high], rel=1e-5)
    places = pareto_front([one.accuracy for one in run.measured], [one.mia_auc for one in run.measured])
    assert found["tradeoffOption"]["front"] == [run.measured[place].trial for place in places]
    assert len(found["progressOption"]["rows"]) == len(run.trials)
    shown = "return [...document.querySelectorAll(arguments[0])].map(one => one.getBoundingClientRect().height > 50)"
    assert chromium.execute_script(shown, ".chart > div > svg") == [True] * 4
    assert chromium.execute_script(shown, ".static") == [False] * 4


def test_a_point_leads_to_its_row_and_the_filter_of_the_table_is_that_of_the_chart(
    chromium: Any, pages: dict[str, Path]
) -> None:
    show(chromium, pages["few"])
    press = "document.querySelector('.chart').dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0]}))"
    for key in ("ArrowRight", "Enter"):
        chromium.execute_script(press, key)
    least = min(read_run(pages["few"].parent).measured, key=lambda trial: trial.accuracy or 0)
    assert chromium.execute_script("return location.hash") == f"#trial-{least.trial}"
    count = "return [...document.querySelectorAll('table.sortable tbody tr')].filter(row => row.offsetHeight).length"
    words = chromium.find_element("css selector", ".filters input")
    words.send_keys(least.trial)
    assert chromium.execute_script(count) == 1
    assert chromium.find_element("css selector", ".filters [role=status]").text == "1 of 12 rows"
    drawn = "return [...document.querySelector('.chart-legend').querySelectorAll('button')].map(one => one.textContent)"
    assert len(chromium.execute_script(drawn)) < 3  # only the one trial is left, on the front or not
    words.clear()
    words.send_keys(" ")
    chromium.execute_script("document.querySelector('.filters select').value = 'failed'")
    chromium.execute_script("document.querySelector('.filters select').dispatchEvent(new Event('change'))")
    assert chromium.execute_script(count) == 1


def test_the_contents_list_leads_to_every_section_by_keyboard(chromium: Any, pages: dict[str, Path]) -> None:
    for page in pages.values():
        show(chromium, page)
        links = chromium.find_elements("css selector", "nav.contents a")
        every = "[...document.querySelectorAll('main section[id] > h2')]"
        heads = chromium.execute_script(f"return {every}.filter(one => !one.closest('.answers')).length")
        assert len(links) == heads > 3
        for link in links:
            name = link.get_attribute("href").partition("#")[2]
            title = chromium.execute_script(
                "return document.getElementById(arguments[0]).querySelector('h2').innerText", name
            )
            assert title == link.text
        links[-1].send_keys("\n")
        assert chromium.execute_script("return location.hash.slice(1)") == links[-1].get_attribute("href").split("#")[1]


def test_hostile_names_cannot_leave_the_data_of_a_chart(chromium: Any, tmp_path: Path) -> None:
    directory = make_run(tmp_path / "run")
    rows = [json.loads(line) for line in (directory / "trials.jsonl").read_text().splitlines()]
    for place, row in enumerate(rows):
        row.update(trial=f"{NASTY}{place}")
    write_rows(directory, rows)
    page = write_report(directory)
    show(chromium, page)
    assert chromium.get_log("browser") == []
    tradeoff = next(one["data"] for one in islands(chromium) if one["builder"] == "tradeoffOption")
    assert {one["trial"] for one in tradeoff["points"]} == {f"{NASTY}{place}" for place in range(len(rows))}
    text = page.read_text(encoding="utf-8")
    for island in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL):
        assert not re.search(r"[<>&]", island)
    assert chromium.execute_script("return document.querySelectorAll('main img').length") == 0


@pytest.mark.parametrize("name", ["few", "many", "study"])
def test_a_report_takes_at_most_six_pages_and_says_what_they_leave_out(
    chromium: Any, pages: dict[str, Path], name: str
) -> None:
    assert 2 <= printed(chromium, pages[name]) <= MOST_PAGES
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    text = chromium.execute_script("return document.body.innerText")
    assert "Left out on paper:" in text and "Order by value" not in text
    rows = chromium.execute_script(
        "return [...document.querySelectorAll('table.sortable tbody tr')].filter(row => row.offsetHeight).length"
    )
    assert rows <= 30
    run = read_run(pages[name].parent)
    assert ("All are in trials.jsonl." in text) is (rows < len(run.trials))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", ["few", "study", "audit"])
def test_axe_finds_no_serious_fault(chromium: Any, pages: dict[str, Path], name: str, width: int, scheme: str) -> None:
    axe = pytest.importorskip("support_axe")
    show(chromium, pages[name], width=width, scheme=scheme)
    assert axe.axe_faults(chromium) == []
    assert chromium.execute_script("return document.documentElement.scrollWidth - innerWidth") <= 0
