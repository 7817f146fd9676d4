"""Every request in the trace of whoever sent it, as plain ASGI.

Where no collector is configured, a caller's `traceparent` is passed on to the experts as it came, and that is all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from experts.trace_context import SENT_ALONG
from gateway.middleware import QUIET
from gateway.tracing.context import CURRENT, RequestTrace

TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
TRACESTATE = re.compile(rb"[\x20-\x7e]{1,512}")
NAMES = {b"traceparent": TRACEPARENT, b"tracestate": TRACESTATE}


class TraceContext:
    """Begin and end the trace of each request, or pass on the caller's."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self.app(scope, receive, send)
            return
        parent = given(scope["headers"])
        tracing = scope["app"].state.services.tracing
        if tracing is not None:
            trace = tracing.begin(scope["method"], scope["path"], scope["state"]["request_id"], parent)
            await self._traced(trace, scope, receive, send)
        elif parent:
            await self._sent_along(parent, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _traced(self, trace: RequestTrace, scope: Scope, receive: Receive, send: Send) -> None:
        status = 500  # of a bug: its answer is written outside of here

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        token = CURRENT.set(trace)
        try:
            await self._sent_along(trace.headers, scope, receive, noted)
        finally:
            CURRENT.reset(token)
            trace.end(status, scope["state"].get("told", {}))

    async def _sent_along(self, headers: Mapping[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        token = SENT_ALONG.set(headers)
        try:
            await self.app(scope, receive, send)
        finally:
            SENT_ALONG.reset(token)


def given(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the caller's trace, as W3C writes it; nothing where it is not written so, or twice."""
    found = [(name, value) for name, value in headers if name in NAMES]
    kept = {name.decode(): value.decode() for name, value in found if NAMES[name].fullmatch(value)}
    return kept if "traceparent" in kept and len(kept) == len(found) else {}
