"""The live page in a browser: run directories to look at, a server of theirs, and what a test asks of the page."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from report.samples import make_run
from support_search import free_port

from nni_privacy.live.library import Library
from nni_privacy.live.serving import port_server

CONSTRAINTS = {"mia_auc": "<= 0.66"}
SECONDS = 15.0


def made_search(folder: Path, *, trials: int = 12, failed: tuple[int, ...] = (5,), **config: Any) -> Path:
    """A run of a search with constraints, a population, curves and one failed trial; ``config`` is changed."""
    make_run(folder, trials=trials, failed=failed)
    content = yaml.safe_load((folder / "config.yaml").read_text())
    strategy = {"name": "pareto", "population_size": 6}
    content |= {"name": "made", "strategy": strategy, "constraints": CONSTRAINTS, **config}
    (folder / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    rows = rows_of(folder)
    for row in rows:
        if row["status"] == "succeeded":
            row["curves"] = {
                "accuracy": [0.5, 0.7, row["metrics"]["accuracy"]],
                "loss_threshold_mia_auc": [0.5, 0.55, 0.6],
            }
    write(folder, rows)
    return folder


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of ``trials.jsonl``."""
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Writes ``trials.jsonl`` anew."""
    (folder / "trials.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def append(folder: Path, row: Mapping[str, Any]) -> None:
    """One more trial has ended."""
    with (folder / "trials.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


@contextmanager
def served(*folders: Path, port: int | None = None) -> Iterator[str]:
    """The address of a live page of these folders, without a token."""
    port = port or free_port()
    with port_server(Library(folders), port, token=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.shutdown()
            thread.join(5)


_POINT = """
const [element, trial] = [document.querySelector(arguments[0]), arguments[1]];
const chart = echarts.getInstanceByDom(element), option = chart.getOption();
for (const [index, series] of option.series.entries()) {
    const item = (series.data || []).find(one => one && one.trial === trial);
    if (item === undefined || series.type !== 'scatter') continue;
    element.scrollIntoView({block: 'center'});
    const box = element.getBoundingClientRect(), at = chart.convertToPixel({seriesIndex: index}, item.value);
    return [box.left + at[0], box.top + at[1]];
}
return null"""
_ROWS = "return document.querySelectorAll('.trials tbody tr, .runs:not([hidden]) tbody tr').length"
TRADEOFF = ".tradeoff .canvas"


@dataclass(frozen=True)
class Page:
    """The page in a browser.

    Attributes:
        driver: selenium's.
        address: of the page, without anything behind ``#``.
    """

    driver: Any
    address: str

    def open(self, fragment: str = "", *, width: int = 1400, scheme: str = "light", rows: int = 1) -> Page:
        """Opens it anew, as a browser of that width and colour scheme does, and waits for that many rows."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get("about:blank")
        self.driver.get(f"{self.address}{fragment}")
        self.wait(lambda: self.js(_ROWS) >= rows, "the rows")
        return self

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, question: Callable[[], Any], what: str = "the page", seconds: float = SECONDS) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if answer := question():
                return answer
            time.sleep(0.1)
        raise AssertionError(f"waited {seconds} s for {what}: {self.text('body')[:600]}")

    def text(self, selector: str) -> str:
        return str(self.js("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def texts(self, selector: str) -> list[str]:
        return list(
            self.js("return [...document.querySelectorAll(arguments[0])].map(one => one.innerText.trim())", selector)
        )

    def click(self, selector: str) -> None:
        self.js("document.querySelector(arguments[0]).click()", selector)

    def press(self, *keys: str) -> None:
        """Presses keys where the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def choose(self, name: str, value: str) -> None:
        """Chooses in a ``select``, as a person does."""
        script = """const select = document.querySelector(`select[name="${arguments[0]}"]`);
            select.value = arguments[1];
            select.dispatchEvent(new Event('change', {bubbles: true}));
            return select.value"""
        assert self.js(script, name, value) == value

    @property
    def trials(self) -> list[str]:
        """Ids of the rows of the table, in its order."""
        return list(self.js("return [...document.querySelectorAll('.trials tbody tr')].map(one => one.dataset.trial)"))

    @property
    def fragment(self) -> str:
        return str(self.js("return location.hash"))

    def cells(self, trial: str) -> dict[str, str]:
        """What a row says, by the key of the column."""
        script = """const rows = [...document.querySelectorAll('.trials tbody tr')];
            const tr = rows.find(one => one.dataset.trial === arguments[0]);
            const keys = [...document.querySelectorAll('.trials thead button')].map(one => one.dataset.key);
            return Object.fromEntries(keys.map((key, at) => [key, tr.cells[at + 1].innerText]))"""
        return dict(self.js(script, trial))

    def point(self, trial: str, chart: str = TRADEOFF) -> tuple[float, float]:
        """Where in the window a trial's point is drawn."""
        x, y = self.wait(lambda: self.js(_POINT, chart, trial), f"the point of {trial}")
        return float(x), float(y)

    def mouse(self, kind: str, place: tuple[float, float]) -> None:
        event = {"type": kind, "x": place[0], "y": place[1], "button": "none" if kind == "mouseMoved" else "left"}
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {**event, "clickCount": 1})

    @property
    def panel(self) -> bool:
        """Whether the panel of a trial is open and has its content."""
        return bool(self.js("return document.querySelector('#panel[open] .trial, #panel[open] .compare') !== null"))

    def wait_for_panel(self) -> None:
        self.wait(lambda: self.panel, "the panel", 40)  # the first drawing of a cell imports matplotlib

    def faults(self) -> list[str]:
        """What the browser complained of since it was asked last: errors of scripts, blocked content."""
        return [
            f"{one['level']}: {one['message']}" for one in self.driver.get_log("browser") if one["level"] == "SEVERE"
        ]
