"""Servers that answer every chat request with the same stream, as cheaply as a socket allows.

Apart from the fake expert because ten thousand fused requests are forty thousand answers: the machine's time is to go
to the gateway that is measured.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any


@asynccontextmanager
async def canned(text: str, names: Sequence[str]) -> AsyncIterator[list[str]]:
    """Serve each name on a port of its own; yield the base URLs."""
    async with AsyncExitStack() as stack:
        urls = []
        for name in names:
            server = await asyncio.start_server(_Connection(name, text).serve, "127.0.0.1", 0)
            stack.push_async_callback(_closed, server)
            urls.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        yield urls


async def _closed(server: asyncio.Server) -> None:
    server.close()


class _Connection:
    """Answers on one connection after the other request until it is closed."""

    def __init__(self, name: str, text: str) -> None:
        listed = json.dumps({"object": "list", "data": [{"id": name, "object": "model"}]}).encode()
        self._listed = _response(b"application/json", listed)
        self._answer = _response(b"text/event-stream", b"".join(_events(name, text)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read requests and answer them until the other side has had enough."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_length(head))
                writer.write(self._answer if head.startswith(b"POST") else self._listed)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()


def _length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)


def _response(kind: bytes, content: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, len(content), content)


def _events(name: str, text: str) -> list[bytes]:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    common = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": name}
    chunks: list[dict[str, Any]] = [
        {**common, "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]},
        {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**common, "choices": [], "usage": usage},
    ]
    return [*(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n"]
