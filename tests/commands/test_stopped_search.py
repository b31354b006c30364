"""A search whose rule stops trials early, with NNI's manager and real trials, and what NNI then says of them."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest
from support_search import SMALL, Search, wait_for

from nni_privacy.nni_runtime.patches.access import TOKEN_HEADER

pytestmark = pytest.mark.slow


def test_trials_are_stopped_early_and_shown_so(tmp_path: Path) -> None:
    # Only a trial that beats all before it passes the rung.
    changed = {"stop": {"rungs": [1], "keep": 0.01}, "concurrency": 1, "evaluator": {"recipe": {"epochs": 12}}}
    run = Search(tmp_path, {**SMALL, **changed})
    try:
        run.wait_until_it_is_done()
        statuses = manager_statuses(run)
    finally:
        run.stop()
    stopped = [trial for trial in run.trials if trial["status"] == "stopped"]
    assert len(run.trials) == SMALL["trials"] and stopped and run.trials[0]["status"] == "succeeded"
    for trial in stopped:
        assert trial["metrics"] == {} and "after 1 of 12 epochs" in trial["stopped"] and "error" not in trial
        assert 1 <= len(trial["curves"]["accuracy"]) < 12
        assert statuses[trial["trial"]] == "EARLY_STOPPED"
    assert sum(status == "EARLY_STOPPED" for status in statuses.values()) == len(stopped)
    assert f"0 failed, {len(stopped)} stopped early" in run.text
    assert "stopped early" in (run.output / "report.html").read_text()


def manager_statuses(run: Search) -> dict[str, str]:
    page = urlsplit(wait_for(lambda: run.page("x") if "web UI at " in run.text else None, "the address"))
    token = parse_qs(page.query)["token"][0]
    request = Request(f"http://127.0.0.1:{run.port}/api/v1/nni/trial-jobs", headers={TOKEN_HEADER: token})
    with urlopen(request, timeout=60) as answer:
        return {job["trialJobId"]: job["status"] for job in json.load(answer)}
