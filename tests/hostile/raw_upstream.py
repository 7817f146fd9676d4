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
LISTED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(MODELS), MODELS)


@dataclass
class RawUpstream:
    """Knobs and a count.

    Args:
        pieces: what is written, one piece at a time.
        head: status line and headers; the connection's end is the body's.
        pause: seconds between pieces.
        forever: whether the last piece is repeated until somebody hangs up.
        listing: the answer to every GET, as `pieces` are to every POST; None lists the model as it should.
        heads: the head of every request, as it came.
    """

    pieces: Sequence[bytes] = ()
    head: bytes = STREAM
    pause: float = 0.0
    forever: bool = False
    listing: Sequence[bytes] | None = None
    asked: int = 0
    url: str = ""
    heads: list[bytes] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """Return what was asked for."""
        return [head.split(b" ", 2)[1].decode("latin-1") for head in self.heads]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if head.startswith(b"POST "):
                self.asked += 1
                await self._answer(writer, self.pieces)
            elif self.listing is not None:
                await self._answer(writer, self.listing)
            else:
                writer.write(LISTED)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
        writer.write(self.head + b"connection: close\r\n\r\n")
        for piece in pieces:
            await self._write(writer, piece)
        while self.forever:
            await self._write(writer, pieces[-1])

    async def _write(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(self.pause)


@asynccontextmanager
async def raw_upstream(upstream: RawUpstream | None = None) -> AsyncIterator[RawUpstream]:
    """Serve one on a port of its own; its `url` ends with /v1."""
    upstream, listener = upstream or RawUpstream(), listening_socket("127.0.0.1", 0)
    upstream.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    async with await asyncio.start_server(upstream.serve, sock=listener):
        yield upstream
