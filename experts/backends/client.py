"""The one HTTP client of the process: httpx's API on aiohttp's transport.

Native httpx pools scan quadratically under load and leak slots under cancellation, so aiohttp carries the
bytes, without a connection limit (admission is ours). vLLM and uvicorn close idle sockets after five
seconds; ours are dropped after four, so that a reused socket is seldom a dead one.
"""

from __future__ import annotations

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

IDLE_SOCKET_SECONDS = 4.0
CONNECT_TIMEOUT_SECONDS = 5.0


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SOCKET_SECONDS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def make_client() -> httpx.AsyncClient:
    """Return the client; whoever calls this closes it. Read timeouts are the dispatcher's, not the socket's."""
    return httpx.AsyncClient(
        transport=AiohttpTransport(client=_session),
        timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_SECONDS),
        follow_redirects=False,
    )
