"""The door of the service: who may come in, and what is told to those who may not."""

import base64
import binascii
import json
import secrets
import time
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.service_limits import Refusal

__all__ = ["Gate", "LOCAL_NAMES", "refuse"]

#: Names under which a service without a token may be called. A page of any site can point a name of its own at
#: 127.0.0.1; its requests then carry that name.
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

_READS = ("GET", "HEAD", "OPTIONS")
_ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-origin",
}
_OPEN = ("/health",)


class Gate:
    """ASGI middleware: host, token, origin; and a count of all answers.

    Parameters
    ----------
    app : ASGI application
        What is behind it.
    token : str
        That every request must bring, as ``Authorization: Bearer TOKEN`` or as the password of a browser (Basic);
        empty: none is needed, and only calls by `names` are answered.
    names : collection of str
        Host names.
    watch : callable, optional
        Told method, path, status and seconds of every answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        names: Collection[str] = LOCAL_NAMES,
        watch: Callable[[Scope, int, float], None] | None = None,
    ) -> None:
        self.app, self.token, self.names = app, token, names
        self._watch = watch or (lambda scope, status, seconds: None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it in."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no web socket is served
        began, status = time.monotonic(), 500

        async def answer(message: Message) -> None:  # numpydoc ignore=GL08
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                there = {name.lower() for name, _ in message.get("headers", [])}
                extra = [(name, value) for name, value in _ALWAYS.items() if name not in there]
                extra.append((b"server-timing", f"app;dur={(time.monotonic() - began) * 1e3:.1f}".encode()))
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        try:
            try:
                self._check(scope["method"], scope["path"], Headers(scope=scope))
            except Refusal as error:
                await refuse(error, answer)
            else:
                await self.app(scope, receive, answer)
        finally:
            self._watch(scope, status, time.monotonic() - began)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self.token and _name(host) not in self.names:
            raise Refusal(403, "host", f"called as {host[:100]!r}; without a token only as {', '.join(self.names)}")
        if self.token and path not in _OPEN and not self._knows_token(headers.get("authorization", "")):
            raise Refusal(401, "token", "a token is needed: send `Authorization: Bearer TOKEN`")
        if method in _READS:
            return
        # A browser says where a request comes from; other clients say nothing.
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        foreign = origin is not None and _origin(origin) != host.lower()
        if foreign or site not in ("none", "same-origin"):
            raise Refusal(403, "cross_site", "this request comes from another site; use this service's own pages")

    def _knows_token(self, header: str) -> bool:
        scheme, _, given = header.partition(" ")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode("utf-8").partition(":")[2]
            except (binascii.Error, ValueError):
                return False
        elif scheme.lower() != "bearer":
            return False
        return secrets.compare_digest(given.strip().encode(), self.token.encode())


def _name(host: str) -> str:
    """Return the name of ``name:port``, of which the name may be in brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _origin(origin: str) -> str:
    """Return ``name:port`` of an origin; what is none has none."""
    try:
        return urlsplit(origin).netloc.lower() or "null"
    except ValueError:
        return "null"


async def refuse(error: Refusal, send: Send) -> None:
    """Send a refusal as an answer."""
    body = json.dumps({"error": error.code, "message": error.message}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
    if error.status == 401:
        headers["www-authenticate"] = 'Basic realm="skysift", charset="UTF-8"'
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
