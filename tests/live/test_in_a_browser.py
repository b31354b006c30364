"""A stranger's report on the live page, in Chromium: its script has an origin of its own and reaches nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_run import records, write_run
from support_browser import browser  # noqa: F401 - a fixture
from support_search import free_port, wait_for

from nni_privacy.live.library import Library
from nni_privacy.live.serving import port_server

pytestmark = [pytest.mark.slow, pytest.mark.browser]

HOSTILE = """<!doctype html><title>begun</title><body><p id="out">-</p><script>
const told = [];
const tries = {
    fetch: () => fetch('/api/index').then(answer => answer.text()),
    cookie: () => Promise.resolve(document.cookie),
    storage: () => Promise.resolve(String(localStorage.length)),
    image: () => new Promise((done, fail) => {
        const image = new Image();
        image.onload = done;
        image.onerror = () => fail(new Error('refused'));
        image.src = '/assets/index.html';
    }),
    script: () => new Promise((done, fail) => {
        const script = document.createElement('script');
        script.onload = done;
        script.onerror = () => fail(new Error('refused'));
        script.src = '/assets/index.html';
        document.body.append(script);
    }),
    opener: () => Promise.resolve(window.open('/')?.document.title ?? Promise.reject(new Error('refused'))),
};
Promise.allSettled(Object.entries(tries).map(async ([name, reach]) => [name, await reach()])).then(all => {
    const reached = all.filter(one => one.status === 'fulfilled').map(one => one.value[0]);
    document.getElementById('out').textContent = 'reached: ' + reached.join();
    document.title = 'ended';
});
</script>"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    folder = write_run(tmp_path / "run", records(3))
    (folder / "report.html").write_text(HOSTILE)
    port = free_port()
    with port_server(Library([folder]), port, token="a-token-of-the-tests") as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{port}/"
        server.shutdown()
        thread.join(10)


def test_the_script_of_a_report_reaches_nothing(browser: Any, address: str) -> None:  # noqa: F811
    browser.get(f"{address}?token=a-token-of-the-tests")
    assert browser.current_url == address  # the token is out of the address
    assert "Refused" not in browser.page_source
    browser.get(f"{address}api/runs/0/report")
    wait_for(lambda: browser.title == "ended", "the script", 30)
    assert browser.execute_script("return document.getElementById('out').textContent") == "reached: "
    assert browser.execute_script("return self.origin") == "null"
