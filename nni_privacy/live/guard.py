"""Who may read the live page where it has a port of its own: the checks of the repaired manager, for one cookie.

Host and Origin of every request are compared (DNS rebinding, pages of other sites), and each must carry the token: in
the cookie that the address with the token sets, or in a header. Where the manager serves the page, the manager checks.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from werkzeug.wrappers import Request, Response

from nni_privacy.live.answers import text_answer

__all__ = ["TOKEN_HEADER", "Guard"]

TOKEN_HEADER = "X-NNI-Privacy-Token"  # noqa: S105 - the name of a header
_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_PORT = re.compile(r":\d+$")

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Guard:
    """Lets those requests through to an application that may read it.

    Args:
        app: the application.
        token: that everybody must have; None: none is wanted.
        port: of the server: cookies do not tell ports apart.
    """

    def __init__(self, app: App, *, token: str | None, port: int) -> None:
        self._app, self._token = app, token
        self._cookie = f"nni_privacy_view_{port}"

    def __call__(self, environment: dict[str, Any], start: Any) -> Iterable[bytes]:
        """Answers a WSGI request, or has the application answer it."""
        request = Request(environment)
        refused = self._refusal(request)
        app: App = self._app if refused is None else refused
        return app(environment, start)

    def _refusal(self, request: Request) -> Response | None:
        host = (request.headers.get("Host") or "").lower()
        origin = request.headers.get("Origin")
        if _PORT.sub("", host) not in _NAMES or (origin is not None and origin.lower() != f"http://{host}"):
            return text_answer("Refused: the Host or Origin of this request is not this page's.", status=403)
        if self._token is None or self._carries_token(request):
            return None
        if request.method == "GET" and self._same(request.args.get("token")):
            return self._admission(request)
        return text_answer("Refused: a token is wanted. Open the address that was printed at the start.", status=401)

    def _carries_token(self, request: Request) -> bool:
        bearer = re.fullmatch(r"(?i)Bearer (\S+)", request.headers.get("Authorization") or "")
        given = (request.cookies.get(self._cookie), request.headers.get(TOKEN_HEADER), bearer and bearer[1])
        return any(map(self._same, given))

    def _same(self, given: str | None) -> bool:
        def digest(text: str) -> bytes:
            return sha256(text.encode("utf-8", errors="replace")).digest()

        return given is not None and hmac.compare_digest(digest(given), digest(self._token or ""))

    def _admission(self, request: Request) -> Response:
        """Sends a browser on to the address without the token: histories and logs do not keep it."""
        rest = urlencode([(name, value) for name, value in request.args.items(multi=True) if name != "token"])
        # Never another server's: a path of two slashes would be one.
        path = "/" + request.path.lstrip("/\\")
        response = text_answer("", status=303, Location=path + (f"?{rest}" if rest else ""))
        response.autocorrect_location_header = False
        response.set_cookie(self._cookie, self._token or "", httponly=True, samesite="Strict", path="/")
        return response
