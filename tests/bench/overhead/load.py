"""Ask and take the time: raw connections, prepared bytes, so that asking costs little beside answering.

open_loop    requests come at moments drawn beforehand, whether or not earlier ones are answered; each one's time
             counts from the moment it was due, so that a queue is seen (no coordinated omission)
closed_loop  so many clients, each sending its next request when it has the answer
streams      so many streams begun within a few seconds, every one read to its end
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

CHUNKED_END = b"0\r\n\r\n"
HOST = "127.0.0.1"
Bodies = Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: a port of this machine, a path, the model that is asked for, and the key that is shown."""

    port: int
    path: str
    model: str
    key: str

    def request(self, body: bytes) -> bytes:
        """Return the bytes of one request."""
        head = f"POST {self.path} HTTP/1.1\r\nhost: {HOST}:{self.port}\r\nauthorization: Bearer {self.key}\r\n"
        return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@dataclass(slots=True)
class Answer:
    """One answer's times on `time.perf_counter()`'s clock, what it said first, and how much came."""

    status: int = 0
    first: float = 0.0
    last: float = 0.0
    longest_gap: float = 0.0
    size: int = 0
    tail: bytes = b""


class Connection(asyncio.Protocol):
    """One kept-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._answer, self._left = Answer(), -1
        self._done: asyncio.Future[Answer] | None = None
        self._gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is under way."""
        self._gone.set()
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionResetError("closed before the end of an answer"))

    async def aclose(self) -> None:
        """Close, and wait until it is."""
        self.transport.close()
        await self._gone.wait()

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Send a request; the future has its answer."""
        self._head.clear()
        self._answer, self._left = Answer(), -1
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._done

    def data_received(self, data: bytes) -> None:
        """Take in a piece of the answer."""
        now, answer = time.perf_counter(), self._answer
        if not answer.status:
            self._head += data
            if (end := self._head.find(b"\r\n\r\n")) < 0:
                return
            head, data = bytes(self._head[:end]).lower(), bytes(self._head[end + 4 :])
            answer.status = int(head[9:12])
            _, told, length = head.partition(b"content-length:")
            self._left = int(length.split(b"\r\n", 1)[0]) if told else -1
        if data:
            self._body(data, now)

    def _body(self, data: bytes, now: float) -> None:
        answer = self._answer
        answer.longest_gap = max(answer.longest_gap, now - answer.last) if answer.first else 0.0
        answer.first = answer.first or now
        answer.last, answer.size = now, answer.size + len(data)
        answer.tail = (answer.tail + data)[-64:]
        whole = answer.size >= self._left if self._left >= 0 else answer.tail.endswith(CHUNKED_END)
        if whole and self._done is not None and not self._done.done():
            self._done.set_result(answer)


async def connected(port: int) -> Connection:
    """Return a new connection to a port of this machine."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, HOST, port)
    return connection


@dataclass(slots=True)
class Taken:
    """What a run of requests took, in seconds: until the whole answer, until its first byte, between its pieces."""

    total: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    failed: int = 0
    seconds: float = 0.0

    def add(self, answer: Answer, begun: float) -> None:
        """Count one answer."""
        if answer.status != 200:
            self.failed += 1
            return
        self.total.append(answer.last - begun)
        self.first.append(answer.first - begun)
        self.gaps.append(answer.longest_gap)

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.total) / self.seconds


async def closed_loop(target: Target, bodies: Bodies, *, clients: int, seconds: float) -> Taken:
    """Ask as fast as the answers come."""
    taken, until = Taken(), time.perf_counter() + seconds

    async def client() -> None:
        connection = await connected(target.port)
        while (begun := time.perf_counter()) < until:
            try:
                taken.add(await connection.ask(target.request(next(bodies))), begun)
            except ConnectionResetError:
                taken.failed += 1
                connection = await connected(target.port)
        await connection.aclose()

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    taken.seconds = time.perf_counter() - begun
    return taken


def kept(idle: list[Connection]) -> Connection | None:
    """Take a connection that is still open, newest first; servers close those that idle."""
    while idle:
        if not (connection := idle.pop()).transport.is_closing():
            return connection
    return None


async def open_loop(target: Target, bodies: Bodies, *, per_second: float, seconds: float, seed: int = 1) -> Taken:
    """Ask at Poisson's moments; connections are kept, and one more is opened when none is free."""
    taken, draw, idle = Taken(), random.Random(seed), [await connected(target.port)]
    running: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        connection = kept(idle) or await connected(target.port)
        try:
            taken.add(await connection.ask(target.request(next(bodies))), due)
            idle.append(connection)
        except ConnectionResetError:
            taken.failed += 1

    begun = due = time.perf_counter()
    while (due := due + draw.expovariate(per_second)) < begun + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        running.add(task := asyncio.create_task(one(due)))
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    taken.seconds = time.perf_counter() - begun
    for connection in idle:
        await connection.aclose()
    return taken


async def streams(target: Target, bodies: Bodies, *, count: int, over_seconds: float = 4.0) -> Taken:
    """Begin so many streams, evenly over a time, and read each to its end."""
    taken = Taken()
    connections = [await connected(target.port) for _ in range(count)]

    async def one(number: int) -> None:
        await asyncio.sleep(over_seconds * number / count)
        begun = time.perf_counter()
        with suppress(ConnectionResetError):
            taken.add(await connections[number].ask(target.request(next(bodies))), begun)

    begun = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(count)))
    taken.seconds, taken.failed = time.perf_counter() - begun, count - len(taken.total)
    for connection in connections:
        await connection.aclose()
    return taken
