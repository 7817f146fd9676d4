"""One free try more where a kept connection turns out to be dead.

A server may close an idle connection in the very moment we use it again; nothing of the request was read then, and
nobody is at fault: it is sent once more, on a connection opened for it. aiohttp does so for GET, not for POST. A
connection that was opened for the request gets no second try: the server may have died of it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

_opened: ContextVar[list[bool]] = ContextVar("opened")


class Connector(aiohttp.TCPConnector):
    """A connector that says whether it opened a connection for the request at hand."""

    async def _create_connection(self, *args: Any, **more: Any) -> ResponseHandler:
        _opened.get([]).append(True)
        return await super()._create_connection(*args, **more)


async def once_more(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send the request, and again where a kept connection broke before the response began."""
    opened: list[bool] = []
    token = _opened.set(opened)
    try:
        return await handler(request)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        if opened:
            raise
    finally:
        _opened.reset(token)
    return await handler(request)
