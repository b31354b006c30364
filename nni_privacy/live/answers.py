"""Answers of the live page: JSON, files that ship with the package, and the headers that they are sent with."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from werkzeug.wrappers import Request, Response

__all__ = ["PAGE", "PAGE_POLICY", "REPORT_POLICY", "asset", "json_answer", "refusal", "text_answer"]

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing runs and nothing is asked for but what this server serves."""

REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A report is a file of the run directory, perhaps a stranger's: its script has an origin of its own and reaches
nothing, this page least of all."""

PAGE = "index.html"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "txt": "text/plain; charset=utf-8",
}
_FOLDERS = (("nni_privacy.live", "static"), ("nni_privacy.report", "charts"))
"""Packages and the folders in them that are served; a name of the first hides one of the second."""

_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def answer(content: bytes, kind: str, *, status: int = 200, **headers: str) -> Response:
    """Any answer, with the headers that all have; ``headers`` are named with underscores and win."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(content, status=status, content_type=kind, headers={**_HEADERS, **given})


def json_answer(content: Any, *, status: int = 200) -> Response:
    """JSON without anything that JSON does not know: such a number is null."""
    try:
        text = json.dumps(content, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        text = json.dumps(_finite(content), allow_nan=False, separators=(",", ":"), default=_plain)
    return answer(text.encode(), "application/json", status=status)


def text_answer(text: str, kind: str = "text/plain; charset=utf-8", *, status: int = 200, **headers: str) -> Response:
    """A text."""
    return answer(text.encode("utf-8", errors="replace"), kind, status=status, **headers)


def refusal(status: int, error: str) -> Response:
    """Why there is no answer, in one line."""
    return json_answer({"error": " ".join(error.split())}, status=status)


def asset(name: str, request: Request) -> Response | None:
    """A file of the page by its name; None if there is none. A browser that has it is told so only."""
    found = _assets().get(name)
    if found is None:
        return None
    content, digest = found
    response = answer(content, _TYPES[name.rpartition(".")[2]], Cache_Control="no-cache")
    response.set_etag(digest)
    response.make_conditional(request)
    return response


@cache
def _assets() -> Mapping[str, tuple[bytes, str]]:
    """Name of each file that is served to its content and a digest of it: no request is ever made a path."""
    found: dict[str, tuple[bytes, str]] = {}
    for package, folder in _FOLDERS:
        place = files(package) / folder
        for entry in place.iterdir() if place.is_dir() else ():
            if entry.name.rpartition(".")[2] in _TYPES and entry.is_file():
                content = entry.read_bytes()
                found.setdefault(entry.name, (content, hashlib.sha256(content).hexdigest()[:32]))
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    """What JSON has no word for: mappings that are no dicts."""
    return dict(value) if isinstance(value, Mapping) else str(value)
