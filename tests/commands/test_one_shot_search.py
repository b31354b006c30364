"""A whole one-shot search, end to end: its architectures are trained, audited, and shown in NNI's web UI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support_browser import browser, shown  # noqa: F401
from support_search import SMALL, Search, wait_for

from nni_privacy.cells.darts import Genotype
from nni_privacy.patterns import load_pattern
from nni_privacy.runs.epochs import read_epochs

pytestmark = pytest.mark.slow

TOP_K = 2
SETTINGS: dict[str, Any] = {key: value for key, value in SMALL.items() if key != "trials"} | {
    "strategy": {"name": "gdas", "epochs": 2, "batch_size": 25, "top_k": TOP_K},
    "evaluator": {"recipe": {"epochs": 2}, "attacks": ["black_box_partial"]},
}
CELLS = "return [...document.querySelectorAll('[role=gridcell]')].map(cell => cell.innerText.trim())"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    run = Search(tmp_path_factory.mktemp("one_shot"), SETTINGS)
    try:
        run.wait_until_it_is_done()
        yield run
    finally:
        run.stop()


@pytest.mark.browser
def test_the_page_shows_the_audited_architectures(browser: Any, finished: Search) -> None:  # noqa: F811
    assert len(finished.trials) == TOP_K
    browser.get(finished.page("detail"))

    def cells_now() -> list[str]:
        return browser.execute_script(CELLS)

    names = [trial["trial"] for trial in finished.trials]
    assert wait_for(lambda: all(any(name in cell.split() for cell in cells_now()) for name in names), "the table", 30)
    cells = cells_now()
    for trial in finished.trials:
        for metric in ("mia_auc", "accuracy"):
            assert any(cell.split()[:1] == [shown(trial["metrics"][metric])] for cell in cells), (metric, cells)


def test_its_architectures_are_trials_like_others(finished: Search) -> None:
    assert [trial["status"] for trial in finished.trials] == ["succeeded"] * TOP_K
    assert len({trial["architecture"] for trial in finished.trials}) == TOP_K
    fixed = set(load_pattern("demotion-reduction").first(4).edges)
    for trial in finished.trials:
        assert fixed <= set(Genotype.parse(trial["architecture"]).reduction.edges)


def test_the_search_is_logged_and_in_the_report(finished: Search) -> None:
    epochs = read_epochs(finished.output / "search")
    assert [record.epoch for record in epochs] == [1, 2]
    assert list((finished.output / "search" / "tensorboard").iterdir())
    assert (finished.output / "search" / "checkpoint.pt").is_file()
    assert "search epoch 2/2" in finished.text
    assert "How the cell evolved" in (finished.output / "report.html").read_text(encoding="utf-8")
