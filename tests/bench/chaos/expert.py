"""An expert's server that signs what it says and can be told to misbehave; a process, so that it can be killed.

    python -m tests.bench.chaos.expert PORT NAME

Every answer begins with `[NAME|TOKEN]`, the token being the `Q-...` of the conversation: whoever gets it can tell whose
answer to what it is. `POST /fault {"kind": KIND}` sets what happens to requests from then on; `GET /stats` says how
many are under way. Plain asyncio: it starts in a tenth of a second, and can cut a connection in mid-word.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

TOKEN = re.compile(r"Q-[0-9a-f]{12}")
WORDS, WORD_SECONDS = 8, 0.02
STALL_SECONDS = 60.0
FAULTS = ("stall", "stall_midway", "reset_midway", "reset_at_once", "garbage", "half_json", "429", "500", "503", "slow")
REFUSALS = {"429": b"429 Too Many Requests", "500": b"500 Internal Server Error", "503": b"503 Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asked."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def wait(self, seconds: float) -> None:
        """Wait while somebody still waits for the answer.

        Raises:
            ConnectionResetError: nobody does.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.reader.at_eof() or self.writer.is_closing():
                raise ConnectionResetError
            await asyncio.sleep(0.05)


class Expert:
    """One server."""

    def __init__(self, name: str) -> None:
        self.name, self.fault = name, "none"
        self.running = self.served = self.left = 0

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while request := await self._request(reader):
                await self._answer(*request, reader, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> tuple[str, bytes] | None:
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(found[1])) if found else b""
        return head.split(b" ", 2)[1].decode(), body

    async def _answer(self, path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if path == "/fault":
            self.fault = json.loads(body)["kind"]
            writer.write(whole(b"200 OK", {"fault": self.fault}))
        elif path == "/stats":
            writer.write(whole(b"200 OK", {"running": self.running, "served": self.served, "left": self.left}))
        elif path == "/v1/models":
            writer.write(whole(b"200 OK", {"object": "list", "data": [{"id": self.name, "object": "model"}]}))
        else:
            await self._chat(json.loads(body), Peer(reader, writer))

    async def _chat(self, asked: dict[str, object], peer: Peer) -> None:
        fault, writer = self.fault, peer.writer
        if fault in REFUSALS:
            error = {"message": f"told to say {fault}", "type": "chaos", "code": fault}
            writer.write(whole(REFUSALS[fault], {"error": error}, b"retry-after: 1\r\n" if fault == "429" else b""))
            return
        if fault == "reset_at_once":
            writer.transport.abort()
            return
        self.running += 1
        ended = False
        try:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            async for piece in self._pieces(asked, fault, peer):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            ended = True
        finally:
            self.running -= 1
            self.served += ended
            self.left += not ended

    async def _pieces(self, asked: dict[str, object], fault: str, peer: Peer) -> AsyncIterator[bytes]:
        if fault == "garbage":
            yield b"data: <html>Bad gateway</html>\n\n"
            return
        if fault == "stall":
            await peer.wait(STALL_SECONDS)
        token = TOKEN.search(json.dumps(asked["messages"]))
        words = [f"[{self.name}|{token[0] if token else 'none'}]", *(f"word{n}" for n in range(WORDS))]
        for number, word in enumerate(words):
            await asyncio.sleep(WORD_SECONDS * (20 if fault == "slow" else 1))
            if number == WORDS // 2 and fault in ("stall_midway", "reset_midway", "half_json"):
                if fault == "half_json":
                    yield b'data: {"choices":[{"index":0,"del\n\n'
                await peer.wait(STALL_SECONDS if fault == "stall_midway" else 0)
                peer.writer.transport.abort()
                raise ConnectionResetError
            yield event({"content": word if not number else f" {word}"})
        yield event({}, "stop")
        usage = {"prompt_tokens": 5, "completion_tokens": len(words), "total_tokens": 5 + len(words)}
        yield (
            b"data: "
            + json.dumps({"object": "chat.completion.chunk", "choices": [], "usage": usage}).encode()
            + b"\n\n"
        )
        yield b"data: [DONE]\n\n"


def event(delta: dict[str, str], finish: str | None = None) -> bytes:
    """Return one chunk as an event."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"


def whole(status: bytes, body: object, more: bytes = b"") -> bytes:
    """Return a response that is not streamed."""
    content = json.dumps(body).encode()
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    return head % (status, more, len(content)) + content


async def main(port: int, name: str) -> None:
    """Serve until killed."""
    async with await asyncio.start_server(Expert(name).connection, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
