"""The one HTTP client of the process: httpx's API on aiohttp's transport.

Native httpx pools scan quadratically under load and leak slots under cancellation, so aiohttp carries the
bytes, without a connection limit (admission is ours). vLLM and uvicorn close idle sockets after five
seconds; ours are dropped after four, so that a reused socket is seldom a dead one.

Answers, of which there are many, are asked of the aiohttp session itself: httpx's requests and responses cost
as much again. What is asked seldom (probes, adapters) stays with httpx; its errors are everybody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy

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
LONGEST_SHORT_BYTES = 1024 * 1024
"""Of an answer that is to be short: a refusal, a list of models. What a server says beyond it is not read."""
DECODED = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
"""What was true of a body on its way, and is not once it has been read."""
PATIENT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS)


def _session() -> aiohttp.ClientSession:
    connector = Connector(limit=0, keepalive_timeout=IDLE_SOCKET_SECONDS, socket_factory=guarded_socket)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), middlewares=(once_more,))


class Client(httpx.AsyncClient):
    """httpx's API, and `answering` for answers. Read timeouts are the dispatcher's, not the socket's."""

    def __init__(self) -> None:
        self._carrier = AiohttpTransport(client=_session)
        timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT_SECONDS)
        nobodys = CookieJar(DefaultCookiePolicy(allowed_domains=()))  # a server's cookie is nobody else's
        super().__init__(transport=self._carrier, timeout=timeout, follow_redirects=False, cookies=nobodys)

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


async def as_httpx(response: aiohttp.ClientResponse) -> httpx.Response:
    """Return a short response, read to its end, in httpx's words."""
    content = await beginning(response.content.iter_any())
    return httpx.Response(response.status, headers=without_decoded(response.raw_headers), content=content)


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
