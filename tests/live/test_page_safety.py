"""What a run's files say cannot run in the live page, and the page asks nobody but its own server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from live_page import Page, made_search, rows_of, served, write

from nni_privacy.live import answers

pytestmark = [pytest.mark.slow, pytest.mark.browser]

STATIC = Path(answers.__file__).with_name("static")

MARKS = (
    "<script>window.broken = 1</script>",
    '<img src=x onerror="window.broken = 2">',
    "\"'><svg onload=window.broken=3>",
    "javascript:window.broken=4",
    "]]></style><iframe srcdoc='<script>parent.broken=5</script>'>",
    "</textarea><a href=javascript:window.broken=6>here</a>",
    "a\u0000b\u202etxt.exe\u2066${window.broken=7}{{window.broken=8}}",
    '=HYPERLINK("http://example.invalid")',
)
BROKEN = "return window.broken ?? null"


def hostile_run(folder: Path) -> Path:
    """A run with a mark in every field of every kind; its first trials' ids are plain, so that they have scores."""
    made_search(folder, failed=(5,), name=MARKS[0], dataset={"name": MARKS[1]})
    rows = rows_of(folder)
    for number, row in enumerate(rows):
        mark = MARKS[number % len(MARKS)]
        row |= {"notices": [f"{mark}: {mark}"], "factors": {mark: mark, "kind": f"{mark}{number % 2}"}, "stopped": mark}
        row["metrics"] |= {mark: 0.5, f"{mark}_mia_auc": 0.6} if row["metrics"] else {}
        row["curves"] = {mark: [0.1, 0.2], "accuracy": [0.5, 0.6]}
        if number > 3:
            row |= {"trial": f"{mark}{number}", "status": mark if number > 9 else row["status"], "architecture": mark}
        if row.get("error"):
            row["error"] = "\n".join(MARKS)
    write(folder, rows)
    content = yaml.safe_load((folder / "config.yaml").read_text())
    content["evaluator"]["attacks"] = [*content["evaluator"]["attacks"], MARKS[1]]
    content["strategy"]["name"] = content["pattern"]["name"] = MARKS[2]
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    model = folder / "models" / rows[0]["trial"]
    model.mkdir(parents=True)
    (model / "record.json").write_text(json.dumps({"classes": [MARKS[number % len(MARKS)] for number in range(10)]}))
    log = folder / "nni" / "exp" / "environments" / "local-env" / "trials" / rows[0]["trial"]
    log.mkdir(parents=True)
    (log / "trial.log").write_text("\n".join(MARKS))
    return folder


def test_nothing_that_a_run_says_runs_or_becomes_an_element(chromium: Any, tmp_path: Path) -> None:
    folder = hostile_run(tmp_path / "run")
    with served(folder, made_search(tmp_path / MARKS[1].replace("/", ""), trials=2, failed=())) as address:
        page = Page(chromium, address).open()
        page.faults()
        page.open("#run=0")
        for trial in page.trials:
            page.js("location.hash = '#run=0&trial=' + encodeURIComponent(arguments[0])", trial)
            page.wait(
                lambda: page.js(
                    "return document.querySelector('#panel .trial, #panel button.again, #panel .empty button') !== null"
                ),
                trial,
                40,
            )
            page.js("document.querySelectorAll('#panel details').forEach(one => { one.open = true; })")
            assert page.js(BROKEN) is None, trial
        plain = rows_of(folder)[0]["trial"]
        page.js(
            "location.hash = '#run=0&trial=' + arguments[0] + '&with=' + encodeURIComponent(arguments[1])",
            plain,
            page.trials[0],
        )
        page.wait(lambda: page.js("return document.querySelector('#panel .compare') !== null"), "both", 40)
        page.open(f"#run=0&trial={plain}").wait_for_panel()
        assert MARKS[0] in page.text("#panel pre") or MARKS[0] in page.js(
            "return document.querySelector('#panel').textContent"
        )
        strange = """return document.querySelectorAll(
            'iframe, object, embed, base, form, [onerror], [onload], a[href^=javascript]').length"""
        assert page.js(strange) == 0 and page.js(BROKEN) is None
        scripts = page.js("return [...document.scripts].map(one => new URL(one.src).pathname)")
        assert scripts == ["/assets/echarts.min.js", "/assets/charts.js", "/assets/draw.js", "/assets/main.js"]
        assert page.faults() == []


def test_tooltips_show_hostile_names_as_text(chromium: Any, tmp_path: Path) -> None:
    folder = hostile_run(tmp_path / "run")
    with served(folder) as address:
        page = Page(chromium, address).open()
        trial = rows_of(folder)[4]["trial"]
        page.mouse("mouseMoved", page.point(trial))
        page.wait(lambda: any("Accuracy:" in text for text in page.texts(".tradeoff .canvas div")), "a tooltip")
        assert (
            page.js("return document.querySelectorAll('.tradeoff .canvas img, .tradeoff .canvas script').length") == 0
        )
        assert page.js(BROKEN) is None


PROBE = """
const done = arguments[arguments.length - 1], seen = [];
addEventListener('securitypolicyviolation', event => seen.push(event.effectiveDirective));
const inline = document.createElement('script');
inline.textContent = 'window.broken = 1';
document.body.append(inline);
const button = document.createElement('button');
button.setAttribute('onclick', 'window.broken = 2');
document.body.append(button);
button.click();
const styled = document.createElement('style');
styled.textContent = 'body { color: red }';
document.body.append(styled);
const picture = new Image();
picture.src = 'http://127.0.0.2:1/picture.png';
const frame = document.createElement('iframe');
frame.src = 'http://127.0.0.2:1/';
document.body.append(frame);
fetch('http://127.0.0.2:1/').catch(() => null);
const given = document.createElement('a');
given.href = 'javascript:window.broken=3';
document.body.append(given);
given.click();
setTimeout(() => done([seen, window.broken ?? null]), 500)"""


def test_the_policy_is_in_force(page: Page) -> None:
    page.open()
    page.driver.set_script_timeout(20)
    seen, broken = page.driver.execute_async_script(PROBE)
    assert broken is None
    assert {"script-src-elem", "script-src-attr", "style-src-elem", "img-src", "frame-src", "connect-src"} <= set(seen)
    page.faults()


def test_no_request_goes_anywhere_but_to_the_page_s_own_server(page: Page, run: Path) -> None:
    page.driver.get_log("performance")
    first, second = (rows_of(run)[number]["trial"] for number in (0, 1))
    page.open()
    page.open(f"#run=0&trial={first}&with={second}").wait_for_panel()
    asked = set()
    for entry in page.driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(message["params"]["request"]["url"])
    kinds = {urlsplit(url).scheme for url in asked}
    assert {urlsplit(url).netloc for url in asked if url.startswith("http")} == {urlsplit(page.address).netloc}
    assert kinds <= {"http", "data", "blob", "about"} and any("api/runs/0" in url for url in asked)
    assert page.faults() == []


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_no_module_has_a_way_to_make_markup_or_code_of_a_text(path: Path) -> None:
    ways = r"(inner|outer|insertAdjacent)HTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|ContextualFragment"
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert re.findall(ways, code) == []
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_the_page_itself_has_no_inline_script_or_style() -> None:
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)|https?://", text)
