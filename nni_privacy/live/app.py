"""The live page's WSGI application: its addresses, all of them for reading; no part of one is ever made a path."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from nni_privacy.errors import PrivacyError
from nni_privacy.live.answers import PAGE, REPORT_POLICY, answer, asset, json_answer, refusal, text_answer
from nni_privacy.live.details import details_of, report_of
from nni_privacy.live.library import Library, View
from nni_privacy.live.table import disposition_of, table_of

__all__ = ["LiveApp"]

_logger = logging.getLogger(__name__)

_METHODS = ("GET", "HEAD")
_NO_TRIAL = "there is no trial of that id, or its id is one that no address can hold"
_ADDRESSES = Map(
    [
        Rule("/", endpoint="page"),
        Rule("/assets/<name>", endpoint="asset"),
        Rule("/api/index", endpoint="index"),
        Rule("/api/runs/<key>", endpoint="run"),
        Rule("/api/runs/<key>/trials.csv", endpoint="table"),
        Rule("/api/runs/<key>/trials/<path:name>", endpoint="trial"),
        Rule("/api/runs/<key>/report", endpoint="report"),
    ],
    strict_slashes=False,
    merge_slashes=False,
    redirect_defaults=False,
)


class LiveApp:
    """Answers every request, whatever it or the files of a run hold: an error is one line of JSON.

    Args:
        library: what is shown.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._endpoints: Mapping[str, Callable[..., Response]] = {
            "page": lambda request: _found(asset(PAGE, request)),
            "asset": lambda request, name: _found(asset(name, request)),
            "index": self._index,
            "run": self._run,
            "table": self._table,
            "trial": self._trial,
            "report": self._report,
        }

    def __call__(self, environment: dict[str, Any], start: Any) -> Iterable[bytes]:
        """Answers a WSGI request."""
        return self._answer(Request(environment))(environment, start)

    def _answer(self, request: Request) -> Response:
        try:
            if request.method not in _METHODS:
                raise MethodNotAllowed(valid_methods=_METHODS)
            endpoint, values = _ADDRESSES.bind_to_environ(request.environ).match()
            return self._endpoints[endpoint](request, **values)
        except HTTPException as error:
            response = refusal(error.code or 500, error.name)
            if isinstance(error, MethodNotAllowed):
                response.headers["Allow"] = ", ".join(_METHODS)
            return response
        except PrivacyError as error:
            return refusal(500, str(error))
        except Exception as error:  # whatever a file of a stranger's brings about
            _logger.debug("while answering %s", request.path, exc_info=True)
            return refusal(500, f"{type(error).__name__}: {error}")

    def _index(self, request: Request) -> Response:
        runs = [_entry(key, view) for key, view in self._library.views().items()]
        return json_answer({"version": _version(), "runs": runs, "manager": self._library.beside_manager})

    def _view(self, key: str) -> View:
        view = self._library.view(key)
        if view is None:
            raise NotFound
        return view

    def _run(self, request: Request, key: str) -> Response:
        if request.path.endswith("/"):  # a browser has made it of ".../trials/.."
            return refusal(404, _NO_TRIAL)
        snapshot = self._view(key).snapshot(request.args.get("after"))
        return json_answer({"key": key, **snapshot})

    def _trial(self, request: Request, key: str, name: str) -> Response:
        found = details_of(self._view(key), name)
        if found is None:
            return refusal(404, _NO_TRIAL)
        return json_answer(found)

    def _table(self, request: Request, key: str) -> Response:
        view = self._view(key)
        disposition = disposition_of(view.entry()["name"])
        return text_answer(table_of(view.rows()), "text/csv; charset=utf-8", Content_Disposition=disposition)

    def _report(self, request: Request, key: str) -> Response:
        content = report_of(self._view(key).folder)
        if content is None:
            return refusal(404, "this folder has no report.html yet: nni-privacy report writes it")
        return answer(content, "text/html; charset=utf-8", Content_Security_Policy=REPORT_POLICY)


def _version() -> str | None:
    try:
        return version("nni-privacy")
    except PackageNotFoundError:  # a folder on the path
        return None


def _found(response: Response | None) -> Response:
    if response is None:
        raise NotFound
    return response


def _entry(key: str, view: View) -> dict[str, Any]:
    """A line of the index; of a folder that cannot be read, why."""
    place = {"key": key, "folder": str(view.folder)}
    try:
        return {**place, **view.entry()}
    except PrivacyError as error:
        why = " ".join(str(error).split())
    except Exception as error:  # as above
        why = f"{type(error).__name__}: {error}"
    nothing = dict.fromkeys(("planned", "best_accuracy", "lowest_auc", "changed"))
    unread = {"name": view.folder.name, "kind": "search", "state": "stopped", "trials": 0, "error": why}
    return {**place, **unread, **nothing}
