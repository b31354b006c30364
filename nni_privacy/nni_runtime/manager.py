"""Client of NNI's manager, with errors for a manager that does not answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import requests
from nni.experiment import rest

from nni_privacy.errors import RunStoppedError
from nni_privacy.nni_runtime.access import manager_headers
from nni_privacy.nni_runtime.logs import log_folder, why_it_ended
from nni_privacy.nni_runtime.proxies import direct_request
from nni_privacy.runs.processes import signal_name

__all__ = ["ManagerClient"]

_TIMEOUT = 60
_PATIENCE = (0.5, 2.0, 5.0, 10.0)
"""Seconds to wait before asking a manager again that runs and does not answer."""


class ManagerClient:
    """Questions to the manager of a running experiment, by its REST interface.

    Args:
        experiment: the experiment, as NNI's engines call it: the ``nodejs_binding``.
    """

    def __init__(self, experiment: Any) -> None:
        self._experiment = experiment

    def status(self) -> str:
        """NNI's status of the experiment.

        Raises:
            RunStoppedError: if the manager has ended, does not answer, or says that it cannot go on.
        """
        for wait in (*_PATIENCE, None):
            self.check_alive()
            try:
                answer = self._get("/check-status")
            except requests.RequestException as error:
                if wait is None:
                    raise RunStoppedError(_silence(error)) from error
                time.sleep(wait)
                continue
            if answer["status"] == "ERROR":
                said = " ".join("; ".join(map(str, answer.get("errors", []))).split())
                raise RunStoppedError(f"NNI's manager cannot go on: {said or 'see its log'}")
            return str(answer["status"])
        raise AssertionError

    def check_alive(self) -> None:
        """Raises RunStoppedError if the manager's process has ended."""
        process: Any = getattr(self._experiment, "_proc", None)
        code = process.poll() if hasattr(process, "poll") else None
        if code is not None:
            how = f"was killed by {signal_name(-code)}" if code < 0 else f"has ended with exit code {code}"
            why = why_it_ended(log_folder(self._experiment))
            raise RunStoppedError(
                f"NNI's manager (process {process.pid}) {how}{why}; finished trials are kept: go on with --resume"
            )

    def max_trials(self) -> int | None:
        """Number of trials that the manager will run, those that are run again included; None if there is no limit.

        Raises:
            RunStoppedError: if the manager has ended or does not answer.
        """
        self.status()
        with _answering():
            number = self._get("/experiment")["params"].get("maxTrialNumber")
        return None if number is None else int(number)

    def allow_one_more(self) -> None:
        """Raises the number of trials by one, for a trial that is run again.

        Raises:
            RunStoppedError: if the manager does not answer.
        """
        limit = self.max_trials()
        if limit is not None:
            with _answering():
                self._experiment.update_max_trial_number(limit + 1)

    def running(self) -> list[str]:
        """The ids of the trials that run now; none if the manager does not answer."""
        try:
            return [str(job["trialJobId"]) for job in self._get("/trial-jobs?status=RUNNING")]
        except requests.RequestException:
            return []

    def cancel(self, trial: str) -> None:
        """Stops a trial; if the manager does not answer, it is asked again at the next occasion by its caller."""
        with suppress(requests.RequestException):
            rest.delete(self._experiment.port, f"/trial-jobs/{quote(trial, safe='')}", self._experiment.url_prefix)

    def intended_parameter(self, trial: str) -> int:
        """The parameter id that the manager recorded when it created ``trial``.

        Raises:
            requests.RequestException: if the manager does not answer.
        """
        job = self._get(f"/trial-jobs/{quote(trial, safe='')}")
        return int(json.loads(job["hyperParameters"][0])["parameter_id"])

    def file(self, trial: str, name: str) -> bytes | None:
        """A file of the trial's output folder, through the manager, which reaches every service; None if there is none.

        Raises:
            requests.RequestException: if the manager does not answer.
        """
        prefix = f"/{self._experiment.url_prefix}" if self._experiment.url_prefix else ""
        root = f"http://127.0.0.1:{self._experiment.port}{prefix}/api/v1/nni"
        url = f"{root}/trial-file/{quote(trial, safe='')}/{name}"
        response = direct_request("get", url, headers=manager_headers(self._experiment.port), timeout=_TIMEOUT)
        return response.content if response.ok else None

    def _get(self, path: str) -> Any:
        return rest.get(self._experiment.port, path, self._experiment.url_prefix)


@contextmanager
def _answering() -> Iterator[None]:
    """Raises RunStoppedError where the manager does not answer."""
    try:
        yield
    except requests.RequestException as error:
        raise RunStoppedError(_silence(error)) from error


def _silence(error: Exception) -> str:
    return f"NNI's manager does not answer: {' '.join(str(error).split()):.200}; go on with --resume"
