"""The live page of a run that goes on: what is new is shown soon, and what somebody does is not disturbed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_page import Page, append, made_search, rows_of, served, write
from support_search import free_port

from nni_privacy.runs.epochs import TrialEpoch
from nni_privacy.runs.lock import RunLock
from nni_privacy.runs.progress import Progress, ProgressWriter

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture
def going(tmp_path: Path) -> Iterator[tuple[Path, list[dict[str, Any]], ProgressWriter]]:
    """A run with 8 of its 12 trials, which this process runs; the others' rows; and what it tells of its progress."""
    folder = made_search(tmp_path / "run", failed=())
    rows = rows_of(folder)
    write(folder, rows[:8])
    lock = RunLock(folder)
    lock.take()
    writer = ProgressWriter(folder, Progress(time.time() - 80, planned=12, concurrency=2), interval=0.1)
    yield folder, rows[8:], writer
    writer.close(done=False)
    lock.release()


def test_a_finished_trial_is_shown_within_five_seconds_everywhere(chromium: Any, going: Any) -> None:
    folder, later, _ = going
    with served(folder) as address:
        page = Page(chromium, address).open()
        assert len(page.trials) == 8 and page.text(".head .chip") == "running"
        for row in later[:2]:
            append(folder, row)
            page.wait(lambda row=row: row["trial"] in page.trials, "the new row", 5)
            assert page.cells(row["trial"])["mia_auc"].startswith(f"{row['metrics']['mia_auc']:.4f}")
            page.point(row["trial"])
        assert "10 of 12" in page.text(".card") and "left" in page.text(".card")


def test_a_page_that_is_opened_before_the_first_trial_ends_shows_all_of_it_later(chromium: Any, going: Any) -> None:
    folder, later, _ = going
    write(folder, [])
    with served(folder) as address:
        page = Page(chromium, address).open(rows=0)
        page.wait(lambda: "No trial has finished yet" in page.text(".table-box"), "the empty table")
        append(folder, later[0])
        page.wait(lambda: page.trials == [later[0]["trial"]], "the first row", 5)
        cells = page.cells(later[0]["trial"])
        for name in ("accuracy", "mia_auc"):
            assert cells[name].startswith(f"{later[0]['metrics'][name]:.4f}")
        page.point(later[0]["trial"])


def test_trials_under_way_are_listed_with_their_epochs_and_curves(chromium: Any, going: Any) -> None:
    folder, _, writer = going
    for epoch in (1, 2, 3):
        writer.told(
            TrialEpoch(8, epoch, 30, {"accuracy": 0.3 + epoch / 10, "loss_threshold_mia_auc": 0.5 + epoch / 100})
        )
    writer.began(9)
    with served(folder) as address:
        page = Page(chromium, address).open()
        page.wait(lambda: len(page.texts(".under-way li")) == 2, "both trials")
        first, second = page.texts(".under-way li")
        assert "No. 8" in first and "epoch 3 of 30" in first and "0.5300" in first and "No. 9" in second
        series = page.js(
            "return echarts.getInstanceByDom(document.querySelector('.under-way-panel .canvas')).getOption().series"
        )
        assert [one["value"] for one in series[0]["data"]] == [[1, 0.51], [2, 0.52], [3, 0.53]]
        writer.told(TrialEpoch(8, 4, 30, {"accuracy": 0.7, "loss_threshold_mia_auc": 0.54}))
        page.wait(lambda: "epoch 4 of 30" in page.texts(".under-way li")[0], "the next epoch", 5)
        writer.ended(8)
        page.wait(lambda: len(page.texts(".under-way li")) == 1, "one trial fewer", 6)


def test_focus_selection_scroll_and_an_open_menu_stay_while_trials_are_added(chromium: Any, going: Any) -> None:
    folder, later, _ = going
    with served(folder) as address:
        page = Page(chromium, address).open()
        trial = page.trials[3]
        page.js(
            """const rows = [...document.querySelectorAll('.trials tbody tr')];
            const tr = window.row = rows.find(one => one.dataset.trial === arguments[0]);
            tr.querySelector('input').click();
            tr.focus();
            getSelection().selectAllChildren(tr.cells[2]);
            window.selected = getSelection().toString();
            document.querySelector('.columns').open = true;
            scrollBy(0, 40);
            window.top = tr.getBoundingClientRect().top""",
            trial,
        )
        append(folder, later[0])
        page.wait(lambda: later[0]["trial"] in page.trials, "the new row", 5)
        assert page.js("return document.activeElement === window.row")
        assert page.js("return getSelection().toString() === window.selected")
        assert page.js("return window.row.querySelector('input').checked && document.querySelector('.columns').open")
        page.js("document.querySelector('select[name=x]').focus()")
        append(folder, later[1])
        page.wait(lambda: later[1]["trial"] in page.trials, "the new row", 5)
        assert page.js("return document.activeElement.name") == "x"


def test_an_open_trial_stays_open_and_is_not_drawn_anew(chromium: Any, going: Any) -> None:
    folder, later, _ = going
    with served(folder) as address:
        page = Page(chromium, address).open(f"#trial={rows_of(folder)[0]['trial']}")
        page.wait_for_panel()
        page.js(
            "window.view = document.querySelector('#panel .trial'); document.querySelector('#panel').scrollTop = 200"
        )
        append(folder, later[0])
        page.wait(lambda: "9 of 12" in page.text(".card"), "the news", 5)
        assert (
            page.js(
                """const panel = document.querySelector('#panel');
                return panel.querySelector('.trial') === window.view && panel.scrollTop"""
            )
            == 200
        )


def test_the_page_says_when_the_server_is_gone_and_goes_on_when_it_is_back(chromium: Any, going: Any) -> None:
    folder, later, _ = going
    port = free_port()
    with served(folder, port=port) as address:
        page = Page(chromium, address).open()
    page.wait(lambda: "does not answer" in page.text(".lost"), "a word on it", 20)
    assert len(page.trials) == 8
    append(folder, later[0])
    with served(folder, port=port):
        page.wait(lambda: later[0]["trial"] in page.trials, "the new row", 12)
        page.wait(lambda: page.js("return document.querySelector('.lost').hidden"), "the word to go away", 12)


def test_what_is_finished_is_spoken_of_now_and_then(chromium: Any, going: Any) -> None:
    folder, later, _ = going
    with served(folder) as address:
        page = Page(chromium, address).open()
        append(folder, later[0])
        page.wait(lambda: page.text("#spoken") == "1 more trial finished, 9 of 12.", "the sentence", 6)
        append(folder, later[1])
        page.wait(lambda: "10 of 12" in page.text(".card"), "the next", 6)
        assert page.text("#spoken") == "1 more trial finished, 9 of 12."


def test_a_page_that_nobody_looks_at_asks_less_often(chromium: Any, going: Any) -> None:
    folder, _, _ = going
    count = "return performance.getEntriesByType('resource').filter(one => one.name.includes('api/runs')).length"
    hide = """Object.defineProperty(document, 'hidden', {get: () => arguments[0], configurable: true});
        document.dispatchEvent(new Event('visibilitychange'))"""
    with served(folder) as address:
        page = Page(chromium, address).open()
        page.js(hide, True)
        time.sleep(2.5)
        before = page.js(count)
        time.sleep(5)
        assert page.js(count) == before
        page.js(hide.replace("arguments[0]", "false"))
        page.wait(lambda: page.js(count) > before, "the next question", 2)
