"""What all answers carry and all requests are held to: headers, the size of bodies, the token."""

import hmac
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cir.serving import limits

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Scripts and styles are files of this server alone: none inline, nothing from elsewhere."""
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class SecurityHeaders:
    """Sends the headers with every answer, faults included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


class KnownHosts:
    """Refuses a request that is addressed to another host, as every fault is told."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app, self._hosts = app, list(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = scope["type"] != "http"

        async def reached(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal known
            known = True
            await self._app(scope, receive, send)

        async def of_app(message: Message) -> None:
            if known:
                await send(message)

        checked = TrustedHostMiddleware(reached, self._hosts, www_redirect=False)
        await checked(scope, receive, of_app)
        if not known:
            detail = "the request names a host that this server does not answer to"
            await JSONResponse({"detail": detail}, 400)(scope, receive, send)


class HeadRequests:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if "body" in message else message)

        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, without_body)
        else:
            await self._app(scope, receive, send)


class _TooLargeError(Exception):
    pass


class BoundedBodies:
    """Refuses a request whose body is longer than any may be, before it is all read."""

    def __init__(self, app: ASGIApp, most: int = limits.BODY_BYTES) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _declared(scope) > self._most:
            await self._refusal()(scope, receive, send)
        else:
            await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the application until more was read than may be; its own answer is then dropped."""
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise _TooLargeError
            return message

        async def unless_too_large(message: Message) -> None:
            if read <= self._most:
                await send(message)

        with suppress(_TooLargeError):
            await self._app(scope, bounded, unless_too_large)
        if read > self._most:
            await self._refusal()(scope, receive, send)

    def _refusal(self) -> JSONResponse:
        detail = f"the request has more than {self._most:,} bytes"
        return JSONResponse({"detail": detail}, 413, headers={"Connection": "close"})


def _declared(scope: Scope) -> int:
    """The length that a request claims; 0 where it claims none."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def holds_token(header: str | None, token: str) -> bool:
    """Whether an Authorization header carries the token; takes as long whichever part is wrong."""
    scheme, _, given = (header or "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode("utf-8"))
    return same and scheme.lower() == "bearer"
