"""HTTP/1.1 as answers need it: kept connections, a request at a time on each, read no oftener than suits the reader.

The parser is httptools' (llhttp), the sockets are asyncio's. What a general client does for each piece of a response
(a queue, a wake-up, flow control) costs more than all that a gateway does for a token; here a piece is appended to a
list, and the reader says how long it does not want to be woken. Errors are httpx's.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from socket import SOCK_STREAM
from typing import cast

import httptools
import httpx
from aiohappyeyeballs import start_connection

from experts.addresses import guarded_socket

IDLE_SECONDS = 4.0
"""vLLM and uvicorn close idle sockets after five: ours are dropped before, so that a reused one is seldom dead."""
CONNECT_SECONDS = 5.0
HAPPY_EYEBALLS_SECONDS = 0.25
"""How long an address is tried alone before the next one is tried beside it (RFC 8305)."""
MOST_HEAD_BYTES = 64 * 1024
MOST_AHEAD_BYTES = 256 * 1024
"""What may lie here unread; then the server waits."""
PLAIN = frozenset({b"", b"identity"})
LOOKS_PER_SECOND = 5_000.0
"""How often all responses that are under way are looked at, together: a look costs about 50 microseconds up to the
client's socket, so that a quarter of a processor goes into it at most, however many tokens come."""
SHORTEST_REST_SECONDS, LONGEST_REST_SECONDS = 0.005, 0.1


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections lead, and so who may share them."""

    secure: bool
    host: str
    port: int


@lru_cache(1024)
def placed(url: str) -> tuple[Origin, bytes]:
    """Return where a URL leads, and how a request for it begins.

    Raises:
        httpx.UnsupportedProtocol: it is no URL of HTTP.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise httpx.UnsupportedProtocol(f"'{url}' is no URL") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise httpx.UnsupportedProtocol(f"'{url}' is no URL of HTTP")
    secure = parsed.scheme == "https"
    begin = b"POST %b HTTP/1.1\r\nhost: %b\r\n" % (parsed.raw_path, parsed.netloc)
    if parsed.userinfo:
        begin += b"authorization: Basic %b\r\n" % b64encode(parsed.userinfo)
    return Origin(secure, parsed.raw_host.decode("ascii"), parsed.port or (443 if secure else 80)), begin


class Connection(asyncio.Protocol):
    """One connection. `send` a request, wait for its `head`, `read` until it is `over`; then it may send the next.

    `spoke` says whether anything came since `send`, `reusable` whether another request may follow.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.status, self.headers = 0, dict[bytes, bytes]()
        self.over = self.spoke = self.reusable = False
        self._error: httpx.HTTPError | None = None
        self._pieces: list[bytes] = []
        self._ahead = self._head_bytes = 0
        self._busy = self._patient = self._paused = False
        self._news: asyncio.Future[None] | None = None

    def send(self, request: bytes) -> None:
        """Begin a request; bytes as they go over the wire."""
        assert self.transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self.status, self.headers = 0, {}
        self.over = self.spoke = self.reusable = False
        self._pieces.clear()  # of a response that nobody read to its end
        self._ahead = self._head_bytes = 0
        self._busy = True
        self._take_again()
        self.transport.write(request)

    async def head(self) -> int:
        """Wait for the status; `headers` are there with it, their names in small letters.

        Raises:
            httpx.HTTPError: there will be none.
        """
        while not self.status:
            await self._something()
        return self.status

    async def read(self, rest_seconds: float = 0.0, patience_seconds: float = 0.0) -> bytes:
        """Return what has come of the body, at least a byte; nothing once it is over.

        Args:
            rest_seconds: leave the socket alone for so long first: what comes lies in the kernel and is taken at once.
            patience_seconds: go on taking what comes for so long, or until the response is over.

        Raises:
            httpx.HTTPError: it broke off, once all that came before has been read.
        """
        if not self.over and self._error is None:
            if rest_seconds:
                await self._rest(rest_seconds)
            if patience_seconds:
                await self._let_pass(patience_seconds)
        while not self._pieces and not self.over:
            await self._something()
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._ahead = 0
        self._take_again()
        return data

    async def end(self, seconds: float) -> None:
        """Wait so long for the end of a response that has said all it has to say; what still comes is dropped."""
        if not self.over and self._error is None:
            await self._let_pass(seconds)
        self._pieces.clear()

    def close(self) -> None:
        """Close now, whatever is under way."""
        if self.transport is not None:
            self.transport.abort()

    async def _rest(self, seconds: float) -> None:
        if self.transport is not None and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        await asyncio.sleep(seconds)
        self._take_again()

    def _take_again(self) -> None:
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()

    async def _let_pass(self, seconds: float) -> None:
        self._patient = True
        timer = self.loop.call_later(seconds, self._wake)
        try:
            await self._anything()
        finally:
            self._patient = False
            timer.cancel()

    async def _something(self) -> None:
        """Wait for news.

        Raises:
            httpx.HTTPError: the connection has failed.
        """
        if self._error is not None:
            raise self._error
        await self._anything()

    async def _anything(self) -> None:
        self._news = self.loop.create_future()
        try:
            await self._news
        finally:
            self._news = None

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _fail(self, error: httpx.HTTPError) -> None:
        if self._error is None and not (self.over and self._busy):
            self._error = error
        self.reusable = False
        self._wake()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take in a piece of the response; what comes while nothing was asked is nobody's."""
        if not self._busy or self.over:
            self.reusable = False
            self.close()
            return
        self.spoke = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(httpx.RemoteProtocolError("what came is not HTTP"))
            self.close()
            return
        if not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._fail(httpx.RemoteProtocolError(f"a head of more than {MOST_HEAD_BYTES} bytes"))
                self.close()
        elif self._ahead > MOST_AHEAD_BYTES and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()
            self._wake()
        if self.over or not self._patient:
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """End the response where its end is that of the connection; else it broke off."""
        self.transport = None
        framed = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        if self.status and not self.over and not framed and error is None:
            self.over = True
        self._fail(httpx.ReadError(str(error or "the connection was closed")))

    def on_message_begin(self) -> None:
        """Notice a response beyond the one that was asked for: nothing on this connection is to be believed."""
        if self.over:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header (the parser calls it)."""
        if not self.over:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Keep the status; what is only announced (1xx) is forgotten."""
        if self.over:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = {}
        else:
            self.status = status

    def on_body(self, body: bytes) -> None:
        """Keep a piece."""
        if self.over:
            return
        self._pieces.append(body)
        self._ahead += len(body)

    def on_message_complete(self) -> None:
        """End the response."""
        if self.status and not self.over:
            self.over, self.reusable = True, self._parser.should_keep_alive()


class Connections:
    """Connections by origin: those that are free, newest first, and how many are being used (`open`)."""

    def __init__(self) -> None:
        self.open = 0
        self._free: dict[Origin, list[tuple[float, Connection]]] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._secrets: ssl.SSLContext | None = None

    @property
    def rest_seconds(self) -> float:
        """How long a response may be left alone between two looks; 0 while there are few of them."""
        seconds = self.open / LOOKS_PER_SECOND
        return 0.0 if seconds < SHORTEST_REST_SECONDS else min(seconds, LONGEST_REST_SECONDS)

    @asynccontextmanager
    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> AsyncIterator[Connection]:
        """Send a request and yield its connection as soon as the head of the response is there.

        Left before the response is over, the connection is closed, which aborts the request. Where a kept connection
        turns out to be dead before anything came on it, the request is sent once more on a new one: a server may close
        an idle connection in the very moment it is used again, and nobody is at fault.

        Raises:
            httpx.HTTPError: it could not be sent, or not be answered.
        """
        origin, begin = placed(url)
        request = begin + head_of(headers) + b"content-length: %d\r\n\r\n" % len(content) + content
        self.open += 1
        connection = self._kept(origin)
        try:
            if connection is not None:
                try:
                    connection.send(request)
                    await connection.head()
                except httpx.HTTPError:
                    if connection.spoke:
                        raise
                    connection.close()
                    connection = None
            if connection is None:
                connection = await self._opened(origin)
                connection.send(request)
                await connection.head()
            if connection.headers.get(b"content-encoding", b"") not in PLAIN:
                raise httpx.RemoteProtocolError("a compressed response, which was not asked for")
            yield connection
        finally:
            self.open -= 1
            if connection is not None:
                self._left(origin, connection)

    async def aclose(self) -> None:
        """Close those that are free; who holds another closes it."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for kept in self._free.values():
            for _, connection in kept:
                connection.close()
        self._free.clear()
        await asyncio.sleep(0)  # their sockets are closed in the loop's next turn

    def _kept(self, origin: Origin) -> Connection | None:
        kept = self._free.get(origin, [])
        while kept:
            since, connection = kept.pop()
            if connection.reusable and connection.loop.time() - since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _left(self, origin: Origin, connection: Connection) -> None:
        if not connection.over or not connection.reusable or connection.transport is None:
            connection.close()
            return
        self._free.setdefault(origin, []).append((connection.loop.time(), connection))
        if self._sweeping is None:
            self._sweeping = connection.loop.call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close what has idled for too long, every few seconds while there is anything."""
        loop, self._sweeping = asyncio.get_running_loop(), None
        until = loop.time() - IDLE_SECONDS
        for origin, kept in list(self._free.items()):
            for since, connection in kept:
                if since <= until:
                    connection.close()
            self._free[origin] = [each for each in kept if each[0] > until and each[1].reusable]
            if not self._free[origin]:
                del self._free[origin]
        if self._free:
            self._sweeping = loop.call_later(IDLE_SECONDS / 4, self._sweep)

    async def _opened(self, origin: Origin) -> Connection:
        """Return a new connection.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout: there is none to be had.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                places = await loop.getaddrinfo(origin.host, origin.port, type=SOCK_STREAM)
                found = await start_connection(
                    places, happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS, interleave=1, socket_factory=guarded_socket
                )
                _, connection = await loop.create_connection(
                    Connection, sock=found, ssl=self._secured(origin), server_hostname=_name(origin)
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time") from error
        except (OSError, ssl.SSLError, UnicodeError) as error:
            raise httpx.ConnectError(str(error)) from error
        return connection

    def _secured(self, origin: Origin) -> ssl.SSLContext | None:
        if not origin.secure:
            return None
        if self._secrets is None:
            self._secrets = ssl.create_default_context()
        return self._secrets


def _name(origin: Origin) -> str | None:
    return origin.host if origin.secure else None


def head_of(headers: Mapping[str, str]) -> bytes:
    """Return headers as they go over the wire.

    Raises:
        httpx.LocalProtocolError: one would break out of its line.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise httpx.LocalProtocolError("a header has a line break in it")
    return lines.encode()
