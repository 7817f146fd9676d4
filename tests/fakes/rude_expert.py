"""A server that breaks HTTP and TCP in ways an orderly one cannot: resets, silence, nonsense, dead kept connections.

It lists its model to whoever asks, so that it looks ready.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

Manner = Literal["orderly", "deaf", "resets", "nonsense", "closes_reused"]
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends a reset."""


@dataclass
class RudeExpert:
    """Its manner holds for chat only.

    Args:
        manner: `orderly` answers; `deaf` reads the request and says nothing; `resets` breaks the connection by a
            reset after `words` words; `nonsense` answers what is no HTTP; `closes_reused` closes a connection, without
            a byte, when a second request comes in on it.
        words: words of the answer, each of them "word".
    """

    model: str = "fake"
    manner: Manner = "orderly"
    words: int = 3
    connections: int = 0
    requests: list[str] = field(default_factory=list)
    url: str = ""
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        self.connections += 1
        self.open.add(writer)
        answered = 0
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answered(reader, writer, answered):
                answered += 1
        self.open.discard(writer)
        writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answered: int) -> bool:
        """Answer one request; False when the connection is done with."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line.split(":")[1]) for line in head.lower().splitlines() if "content-length" in line), 0)
        await reader.readexactly(length)
        self.requests.append(head.split(" ", 2)[1])
        if self.requests[-1].endswith("/models"):
            await self._list(writer)
            return False
        if self.manner == "closes_reused" and answered:
            return False
        if self.manner == "deaf":
            await reader.read()
            return False
        if self.manner == "nonsense":
            writer.write(b"\x15\x03\x01\x00\x02\x02\x50")
            return False
        return await self._stream(writer)

    async def _list(self, writer: asyncio.StreamWriter) -> None:
        body = json.dumps({"object": "list", "data": [{"id": self.model, "object": "model"}]}).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(STREAM)
        for number in range(self.words):
            writer.write(self._event({"content": "word" if number == 0 else " word"}))
        await writer.drain()
        if self.manner == "resets":
            await asyncio.sleep(0.05)  # what was written has to arrive before the reset drops it
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            writer.transport.abort()
            return False
        writer.write(self._event({}, "stop") + _piece(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()
        return True

    def _event(self, delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        chunk = {
            "id": "rude",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": self.model,
            "choices": [choice],
        }
        return _piece(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _piece(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@asynccontextmanager
async def rude(*experts: RudeExpert) -> AsyncIterator[None]:
    """Serve each on a port of its own; `url` ends with /v1."""
    servers = []
    for expert in experts:
        server = await asyncio.start_server(expert.connected, "127.0.0.1", 0)
        expert.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        servers.append(server)
    try:
        yield
    finally:
        for server, expert in zip(servers, experts, strict=True):
            for writer in tuple(expert.open):
                writer.close()
            server.close()
            await server.wait_closed()
