"""The one HTTP client of the process: httpx's API on aiohttp's transport.

Native httpx pools scan quadratically under load and leak slots under cancellation, so aiohttp carries the
bytes, without a connection limit (admission is ours). vLLM and uvicorn close idle sockets after five
seconds; ours are dropped after four, so that a reused socket is seldom a dead one.

Chat answers, of which there are many, come over connections of their own (`wire`). What is asked seldom (probes,
adapters), and what is passed on from other endpoints, stays with httpx; its errors are everybody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from experts.addresses import guarded_socket
from experts.backends.reuse import Connector, once_more
from experts.backends.wire import CONNECT_SECONDS, IDLE_SECONDS, Connections

ENDING_SECONDS = 0.05
"""How long the end of a response is waited for after its last event, so that its connection can serve again."""
LONGEST_SHORT_BYTES = 1024 * 1024
"""Of an answer that is to be short: a refusal, a list of models. What a server says beyond it is not read."""
DECODED = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
"""What was true of a body on its way, and is not once it has been read."""


def _session() -> aiohttp.ClientSession:
    connector = Connector(limit=0, keepalive_timeout=IDLE_SECONDS, socket_factory=guarded_socket)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), middlewares=(once_more,))


class Client(httpx.AsyncClient):
    """httpx's API, and `answers` for chat. Read timeouts are the dispatcher's, not the socket's."""

    def __init__(self) -> None:
        self.answers = Connections()
        self._carrier = AiohttpTransport(client=_session)
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        nobodys = CookieJar(DefaultCookiePolicy(allowed_domains=()))  # a server's cookie is nobody else's
        super().__init__(transport=self._carrier, timeout=timeout, follow_redirects=False, cookies=nobodys)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.answers.aclose()
        await super().aclose()

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Close all connections."""
        await self.answers.aclose()
        await super().__aexit__(kind, error, trace)

    async def short(
        self, method: str, url: str, headers: Mapping[str, str], seconds: float, content: bytes = b""
    ) -> httpx.Response:
        """Ask for a short answer and return all of it, in time however it drips.

        Raises:
            httpx.HTTPError: it did not come.
        """
        try:
            async with (
                asyncio.timeout(seconds),
                self.stream(method, url, content=content, headers=headers, timeout=seconds) as response,
            ):
                return await shortened(response)
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"no whole answer within {seconds} s") from error


def make_client() -> Client:
    """Return the client; whoever calls this closes it."""
    return Client()


async def shortened(response: httpx.Response) -> httpx.Response:
    """Return a response that is to be short, read to its end or as far as such a one goes."""
    content = await beginning(response.aiter_bytes())
    kept = without_decoded(response.headers.raw)
    return httpx.Response(response.status_code, headers=kept, content=content, request=response.request)


async def beginning(pieces: AsyncIterator[bytes]) -> bytes:
    """Return what a short answer says, and no more than one may say."""
    read = bytearray()
    async for piece in pieces:
        read += piece
        if len(read) >= LONGEST_SHORT_BYTES:
            break
    return bytes(read[:LONGEST_SHORT_BYTES])


def without_decoded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a body that has been read, and unpacked where it was packed."""
    return [(name, value) for name, value in headers if name.lower() not in DECODED]


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
