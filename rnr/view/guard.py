"""Who may ask: the Host header, the key, and the headers that every answer carries."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

LOOPBACK = ("127.0.0.1", "localhost", "::1")
COOKIE = "rnr-view"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the first address holds the key
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
Answer = Callable[[Request], Awaitable[Response]]


class Guard:
    """Loopback needs no key; any other host does.

    Args:
        host: The address that is listened on.
    """

    def __init__(self, host: str) -> None:
        self.host, self.open = host, host in LOOPBACK
        self.key = "" if self.open else secrets.token_urlsafe(24)

    def address(self, port: int) -> str:
        """What a person opens, with the key."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        query = f"?key={self.key}" if self.key else ""
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/{query}"

    async def __call__(self, request: Request, go_on: Answer) -> Response:
        """A middleware: the answer, or why there is none."""
        answer = self._refuse(request) or await go_on(request)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    def _refuse(self, request: Request) -> Response | None:
        if not self.knows(request.headers.get("host", "")):
            return PlainTextResponse("this name is not served here; open the address that rnr view printed", 421)
        if self.key:
            given = request.query_params.get("key")
            if given is not None and self._right(given):
                answer = RedirectResponse(request.url.path, 303)  # the key leaves the address bar
                answer.set_cookie(COOKIE, self.key, httponly=True, samesite="strict")
                return answer
            if not self._right(request.cookies.get(COOKIE, "")):
                return PlainTextResponse("the key is missing or wrong; open the address that rnr view printed", 401)
        if request.method != "GET" and not self._own_page(request):
            return PlainTextResponse("only pages of this server may send this", 403)
        return None

    def _right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.key.encode())

    def knows(self, host: str) -> bool:
        """Whether a Host header is one of ours: a stranger's name that points here (DNS rebinding) is not."""
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        if self.open:
            return name in LOOPBACK
        if self.host not in ("0.0.0.0", "::"):
            return name in (self.host.lower(), *LOOPBACK)
        return name in LOOPBACK or name in (socket.gethostname().lower(), socket.getfqdn().lower()) or _is_address(name)

    def _own_page(self, request: Request) -> bool:
        """JSON only (a form of another site cannot send it), and from our own origin."""
        origin = request.headers.get("origin", "")
        same = urlsplit(origin).netloc == request.headers.get("host")
        return same and request.headers.get("content-type", "").split(";")[0] == "application/json"


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False
