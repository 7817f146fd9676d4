"""The one HTTP client of the process: httpx's API on aiohttp's transport.

Native httpx pools scan quadratically under load and leak slots under cancellation, so aiohttp carries the
bytes, without a connection limit (admission is ours). vLLM and uvicorn close idle sockets after five
seconds; ours are dropped after four, so that a reused socket is seldom a dead one.

Answers, of which there are many, are asked of the aiohttp session itself: httpx's requests and responses cost
as much again. What is asked seldom (probes, adapters) stays with httpx; its errors are everybody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import map_aiohttp_exceptions

from experts.addresses import guarded_socket
from experts.backends.reuse import Connector, once_more

IDLE_SOCKET_SECONDS = 4.0
CONNECT_TIMEOUT_SECONDS = 5.0
ENDING_SECONDS = 0.05
"""How long the end of a response is waited for after its last event, so that its connection can serve again."""
PATIENT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS)


def _session() -> aiohttp.ClientSession:
    connector = Connector(limit=0, keepalive_timeout=IDLE_SOCKET_SECONDS, socket_factory=guarded_socket)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), middlewares=(once_more,))


class Client(httpx.AsyncClient):
    """httpx's API, and `answering` for answers. Read timeouts are the dispatcher's, not the socket's."""

    def __init__(self) -> None:
        self._carrier = AiohttpTransport(client=_session)
        timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT_SECONDS)
        super().__init__(transport=self._carrier, timeout=timeout, follow_redirects=False)

    def _aiohttp(self) -> aiohttp.ClientSession:
        if not isinstance(self._carrier.client, aiohttp.ClientSession):
            self._carrier.client = self._carrier.get_client()
        session: aiohttp.ClientSession = self._carrier.client
        return session

    @asynccontextmanager
    async def answering(
        self, url: str, content: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Post, and yield the response as soon as its head is there; left before its end, it is aborted.

        Raises:
            httpx.HTTPError: aiohttp's errors, translated.
        """
        with map_aiohttp_exceptions():
            async with self._aiohttp().post(
                url, data=content, headers=headers, timeout=PATIENT, allow_redirects=False
            ) as response:
                yield response


def make_client() -> Client:
    """Return the client; whoever calls this closes it."""
    return Client()


async def as_httpx(response: aiohttp.ClientResponse) -> httpx.Response:
    """Return the whole response, read to its end, in httpx's words."""
    content = await response.read()
    return httpx.Response(response.status, headers=dict(response.headers), content=content)


async def ended(response: aiohttp.ClientResponse) -> None:
    """Wait a moment for the end of a response that has said all it has to say: its connection can then serve again.

    One that breaks now has lost nothing.
    """
    if response.content.at_eof():
        return
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(ENDING_SECONDS):
            while not response.content.at_eof():
                await response.content.readany()


async def until_ended(content: AsyncIterator[bytes], ended: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """Yield a response's bytes; once it has `ended` what follows is waited for a moment, and a break is its end too."""
    while True:
        try:
            async with asyncio.timeout(ENDING_SECONDS if ended() else None):
                piece = await anext(content, None)
        except (TimeoutError, httpx.HTTPError):
            if not ended():
                raise
            return
        if piece is None:
            return
        yield piece
