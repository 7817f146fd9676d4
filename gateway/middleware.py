"""What surrounds every request, as plain ASGI: an id, a size limit, one log line and one count.

No BaseHTTPMiddleware: it would copy every streamed chunk through a queue and hide disconnects.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from experts.errors import ServiceError
from gateway.errors import ClientGone, TooLarge
from gateway.logs import facts

Handler = Callable[[Request], Awaitable[Response]]
Refusal = Callable[[Request, Exception], Awaitable[Response]]
log = logging.getLogger(__name__)
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
LONGEST_PART, LONGEST_PATH = 16, 256
"""Characters of a refused request's path that are logged: of each part, and of all; no part of ours is longer."""
QUIET = frozenset({"/metrics", "/health", "/health/liveness", "/health/readiness"})


class RequestContext:
    """Give each HTTP request an id (echoed or made) and write one line when it ends.

    What a handler puts into `request.state.headers` is on the answer, whoever writes it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = given_id(scope) or uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started, outcome = time.monotonic(), {"status": 500}  # of a bug: its answer is written outside of here
        metrics, counts = scope["app"].state.services.metrics, scope["path"] not in QUIET
        metrics.running += counts

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                outcome["status"] = message["status"]
                added = {b"x-request-id": request_id.encode("latin-1")}
                for name, value in scope["state"].get("headers", {}).items():
                    added[name.encode("latin-1")] = value.encode("latin-1")
                kept = [header for header in message["headers"] if header[0] not in added]
                message["headers"] = [*kept, *added.items()]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            metrics.running -= counts
            self._count(scope, outcome["status"], time.monotonic() - started)
            self._log(scope, request_id, outcome["status"], time.monotonic() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        model = scope["state"].get("told", {}).get("model")
        if model is not None:
            metrics = scope["app"].state.services.metrics
            metrics.requests.labels(model, str(status)).inc()
            metrics.seconds.labels(model).observe(seconds)

    def _log(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        level = logging.DEBUG if scope["path"] in QUIET else logging.INFO
        path = scope["path"] if status < 400 else shortened(scope["path"])
        told: dict[str, Any] = {"request_id": request_id, "method": scope["method"], "path": path}
        told |= {"status": status, "seconds": round(seconds, 4), **scope["state"].get("told", {})}
        log.log(level, "request", extra=facts(**told))


def shortened(path: str) -> str:
    """Return a refused path without what is long in it: a client that writes its key there by mistake is refused."""
    return "/".join(
        part if len(part) <= LONGEST_PART else f"{part[:LONGEST_PART]}..." for part in path[:LONGEST_PATH].split("/")
    )


def given_id(scope: Scope) -> str | None:
    """Return the id that the client gave its request, if it is one that can be told again."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            text: str = value.decode()
            return text
    return None


class Direct:
    """Requests to one handler, without the framework's routing around it.

    Args:
        handler: answers a request.
        refused: answers an error of ours that the handler raised; any other passes through.
    """

    def __init__(self, handler: Handler, refused: Refusal) -> None:
        self.handler, self.refused = handler, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await self.handler(request)
        except ServiceError as error:
            response = await self.refused(request, error)
        await response(scope, receive, send)


async def read_body(receive: Receive, headers: Headers, limit_bytes: int) -> bytes:
    """Read a request's body, and no more of it than the limit.

    Raises:
        TooLarge: it is announced or turns out larger.
        ClientGone: the connection ended before the body did, or was too slow for it.
    """
    announced = headers.get("content-length", "0")
    body = bytearray()
    more = not (announced.isdigit() and int(announced) > limit_bytes)
    refused = not more
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("The client closed the connection before its request was whole.")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit_bytes:
            refused, more = True, False
    if refused:
        raise TooLarge(f"The body is larger than {limit_bytes} bytes; send less or raise CONSILIUM_MAX_BODY_BYTES.")
    return bytes(body)
