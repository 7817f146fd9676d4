"""An expert's server whose every byte is chosen: `answer` is sent as it is, in the pieces named, and then it hangs up.

Apart from the fake expert because a web framework would never send what is sent here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.cli.server import listening_socket

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
MODELS = b'{"object":"list","data":[{"id":"raw"}]}'


@dataclass
class RawUpstream:
    """Knobs and a count.

    Args:
        pieces: what is written, one piece at a time.
        head: status line and headers; the connection's end is the body's.
        pause: seconds between pieces.
        forever: whether the last piece is repeated until somebody hangs up.
    """

    pieces: Sequence[bytes] = ()
    head: bytes = STREAM
    pause: float = 0.0
    forever: bool = False
    asked: int = 0
    url: str = ""
    paths: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.paths.append(head.split(b" ", 2)[1].decode("latin-1"))
            if head.startswith(b"GET "):
                length = len(MODELS)
                answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % length
                writer.write(answer + MODELS)
            else:
                await self._answer(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        writer.write(self.head + b"connection: close\r\n\r\n")
        for piece in self.pieces:
            await self._write(writer, piece)
        while self.forever:
            await self._write(writer, self.pieces[-1])

    async def _write(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(self.pause)


@asynccontextmanager
async def raw_upstream() -> AsyncIterator[RawUpstream]:
    """Serve one on a port of its own; its `url` ends with /v1."""
    upstream, listener = RawUpstream(), listening_socket("127.0.0.1", 0)
    upstream.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    async with await asyncio.start_server(upstream.serve, sock=listener):
        yield upstream
