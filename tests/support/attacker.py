"""What somebody sends who can reach a manager's port and wants to have code run in the search or in its trials."""

from __future__ import annotations

import base64
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import websockets.sync.client

API = "/api/v1/nni"


class Payload:
    """An object whose pickle makes a folder when it is read."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._marker),)


def pickled(marker: Path) -> dict[str, Any]:
    """NNI's JSON of an object that is unpickled when it is read."""
    return {"__nni_obj__": base64.b64encode(pickle.dumps(Payload(marker))).decode()}


def called(marker: Path) -> dict[str, Any]:
    """NNI's JSON of a function that is called when it is read: no pickle is needed."""
    return {"__symbol__": "path:os.mkdir", "__args__": [str(marker)]}


THINGS = {"pickle": pickled, "function": called}


def metric(
    value: Any, trial: str, *, speaks_for: str | None = None, number: int = 0, kind: str = "FINAL"
) -> dict[str, Any]:
    """What a trial sends to report a final result."""
    said = {"parameter_id": number, "trial_job_id": speaks_for or trial, "type": kind, "sequence": 0}
    return {"type": "metric", "metric": json.dumps({**said, "value": json.dumps(value)})}


class Attacker:
    """Somebody on this machine.

    Args:
        port: of the manager.
        trial: a running one.
        key: `?key=...` of the trial's own channel, if it was stolen.
    """

    def __init__(self, port: int, trial: str, key: str = "") -> None:
        self.root, self.port, self.trial, self.key = f"http://127.0.0.1:{port}", port, trial, key

    def send(self, method: str, path: str, content: Any) -> int:
        """The status that the manager answers with."""
        return requests.request(method, self.root + path, json=content, timeout=20).status_code

    def channel(self, trial: str | None = None) -> str:
        return f"/env/local-env/{trial or self.trial}{self.key}"

    def by_metric(self, thing: Any) -> int:
        return self.send("PUT", self.channel(), metric(thing, self.trial))

    def by_metric_within_a_mapping(self, thing: Any) -> int:
        return self.send("PUT", self.channel(), metric({"default": 0.5, "mia_auc": thing}, self.trial))

    def by_whole_metric(self, thing: Any) -> int:
        return self.send("PUT", self.channel(), {"type": "metric", "metric": json.dumps(thing)})

    def by_search_space(self, thing: Any) -> int:
        space = {"params": {"searchSpace": thing}}
        return self.send("PUT", f"{API}/experiment?update_type=SEARCH_SPACE", space)

    def by_custom_trial(self, thing: Any) -> int:
        return self.send("POST", f"{API}/trial-jobs", thing)

    def by_imported_data(self, thing: Any) -> int:
        return self.send("POST", f"{API}/experiment/import-data", [{"parameter": {"x": 1}, "value": json.dumps(thing)}])

    def by_second_start(self, command: str) -> int:
        service = {"platform": "local", "trialCommand": command, "trialCodeDirectory": "/", "reuseMode": False}
        started = {"trialCommand": command, "trialCodeDirectory": "/", "trialConcurrency": 1, "searchSpace": {}}
        return self.send("POST", f"{API}/experiment", {**started, "trainingService": service})

    def by_websocket(self, thing: Any) -> int:
        """Passes for the strategy and proposes a trial with these parameters. The handshake's status; 101: let in."""
        sent = {"parameter_id": 77, "parameters": thing, "parameter_source": "algorithm", "parameter_index": 0}
        try:
            with websockets.sync.client.connect(f"ws://127.0.0.1:{self.port}/tuner", proxy=None) as socket:
                socket.send(json.dumps({"type": "TR", "content": json.dumps(sent)}))
                return 101
        except websockets.ConnectionClosed:  # let in; the strategy has taken its place again at once
            return 101
        except websockets.InvalidStatus as refused:
            return refused.response.status_code

    @property
    def ways(self) -> dict[str, Callable[[Any], int]]:
        """All that carry an object, by name; the websocket, which takes the strategy's place, comes last."""
        names = (
            "metric",
            "metric_within_a_mapping",
            "whole_metric",
            "search_space",
            "custom_trial",
            "imported_data",
            "websocket",
        )
        return {name: getattr(self, f"by_{name}") for name in names}
