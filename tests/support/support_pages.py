"""The web UI of a running manager with a choice of patches, and what the pages show, for tests in a browser.

One run serves all tests: a small server in front of its manager hands out the pages with other patches, or behind a
prefix, and passes questions on. That each repair is needed is shown that way without a run of its own.
"""

from __future__ import annotations

import http.client
import json
import mimetypes
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nni_privacy.nni_runtime.overlay import find_node_package
from nni_privacy.nni_runtime.patches.registry import PATCHES, patched_texts

PASSED_ON = ("/api/", "/logs/", "/privacy/")
NOTHING: Mapping[str, Callable[[Any], Any]] = {}


@contextmanager
def serve_pages(
    manager_port: int,
    *,
    without: Collection[str] = (),
    prefix: str = "",
    changed: Mapping[str, Callable[[Any], Any]] = NOTHING,
) -> Iterator[str]:
    """Serves the pages of the manager's web UI.

    Args:
        manager_port: of the manager that answers for the run.
        without: names of patches that the pages lack.
        prefix: first part of all addresses, such as ``/lab``.
        changed: end of an address to what becomes of the manager's answer, for what no short run shows.

    Yields:
        The address of the pages, without a slash at its end.
    """
    package = find_node_package()
    texts = patched_texts(package, [patch for name, patch in PATCHES.items() if name not in without])

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix(prefix)
            if path.startswith(PASSED_ON):
                status, kind, body = _ask(manager_port, path)
                for end, change in changed.items():
                    if path.endswith(end):
                        body = json.dumps(change(json.loads(body))).encode()
            else:
                status, kind, body = 200, *_page(path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    def _page(path: str) -> tuple[str, bytes]:
        name = f"static{path}"
        if not (package / name).is_file():
            name = "static/index.html"
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return kind, texts[name].encode() if name in texts else (package / name).read_bytes()

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}{prefix}"
        server.shutdown()
        thread.join()


def _ask(port: int, path: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", "text/plain"), answer.read()
    finally:
        connection.close()


def wait_for(question: Callable[[], Any], seconds: float = 20) -> Any:
    """The first true answer, or the last one."""
    deadline = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return answer


class Page:
    """A page of the web UI in a browser."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver, self.address = driver, address

    def resize(self, width: int, height: int = 1000) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, name: str) -> None:
        """Opens ``oview``, ``detail`` or ``experiment`` and waits for its rows."""
        self.driver.get(f"{self.address}/{name}")
        assert wait_for(lambda: self.run("return document.querySelectorAll('.ms-DetailsRow').length > 0"))

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def click(self, selector: str, text: str = "") -> None:
        """Clicks the first element of a selector that shows ``text``, once there is one."""
        script = """const found = [...document.querySelectorAll(arguments[0])]
            .find(one => one.innerText === undefined || one.innerText.includes(arguments[1]));
            found?.dispatchEvent(new MouseEvent('click', {bubbles: true}));
            return found !== undefined;"""
        assert wait_for(lambda: self.run(script, selector, text)), (selector, text)

    def choose(self, selector: str, option: str, *, shown: str = "") -> None:
        """Chooses an option of the first drop-down of a selector that shows ``shown``."""
        self.click(selector, shown)
        self.click("[role=option]", option)
        assert wait_for(lambda: option in self.texts(selector))

    def texts(self, selector: str) -> list[str]:
        """What the elements of a selector show."""
        show = "one => (one.innerText ?? one.textContent).trim()"
        return list(self.run(f"return [...document.querySelectorAll(arguments[0])].map({show})", selector))

    def titles(self, selector: str) -> list[str | None]:
        return list(self.run("return [...document.querySelectorAll(arguments[0])].map(one => one.title)", selector))

    def errors(self) -> list[str]:
        """Errors in the console since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def chart(self, selector: str, call: str) -> Any:
        """Calls a method of the ECharts instance inside of an element: JavaScript that begins behind ``chart.``."""
        return self.run(
            f"""const holder = document.querySelector(arguments[0] + ' .echarts-for-react');
            let fiber = holder[Object.keys(holder).find(key => key.startsWith('__react'))];
            while (!fiber.stateNode?.getEchartsInstance) fiber = fiber.return;
            const chart = fiber.stateNode.getEchartsInstance();
            return chart.{call};""",
            selector,
        )
