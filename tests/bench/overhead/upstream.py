"""A server that answers chat completions from prepared bytes: what stands behind everything that is measured.

    python -m tests.bench.overhead.upstream PORT

It answers at once; a stream for the user "paced" gets a token 100 times a second, all such streams at the same moment,
as from an inference server that takes a step for its whole batch. Which kind of answer is wanted is read off the body
without parsing it, so that this costs a small part of what any gateway does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

TOKENS_PER_SECOND = 100
FAST_TOKENS, PACED_TOKENS = 32, 800
MODELS = ("plain", "other")
STAMP = {"id": "chatcmpl-0", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 30, "completion_tokens": FAST_TOKENS, "total_tokens": 30 + FAST_TOKENS}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n%s\r\n"


def whole() -> bytes:
    """Return an answer in one piece, head included."""
    message = {"role": "assistant", "content": "word " * FAST_TOKENS}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = json.dumps({**STAMP, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    return HEAD % (b"application/json", b"content-length: %d\r\n" % len(body)) + body


def models() -> bytes:
    """Return the list of models, head included."""
    body = json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]}).encode()
    return HEAD % (b"application/json", b"content-length: %d\r\n" % len(body)) + body


def event(data: bytes) -> bytes:
    """Return one server-sent event as one HTTP chunk."""
    text = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(text), text)


def piece(delta: dict[str, str], finish: str | None = None) -> bytes:
    """Return the event of one token."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return event(json.dumps({**STAMP, "object": "chat.completion.chunk", "choices": [choice]}).encode())


STREAM_HEAD = HEAD % (b"text/event-stream", b"transfer-encoding: chunked\r\n")
FIRST, TOKEN = piece({"role": "assistant", "content": ""}), piece({"content": "word "})
LAST = piece({}, "stop") + event(
    json.dumps({**STAMP, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}).encode()
)
DONE = event(b"[DONE]") + b"0\r\n\r\n"
WHOLE, LISTED = whole(), models()
PACED: dict[asyncio.Transport, int] = {}
"""Open paced streams, and how many tokens each still gets."""


class Connection(asyncio.Protocol):
    """One kept-alive connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport, self._read = cast(asyncio.Transport, transport), bytearray()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget its stream."""
        PACED.pop(self._transport, None)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._read[:end]).lower()
            total = end + 4 + length_of(head)
            if len(self._read) < total:
                return
            body = bytes(self._read[end + 4 : total])
            del self._read[:total]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get "):
            self._transport.write(LISTED)
        elif b'"stream":true' not in body and b'"stream": true' not in body:
            self._transport.write(WHOLE)
        elif b'"user":"paced"' in body or b'"user": "paced"' in body:
            self._transport.write(STREAM_HEAD)
            PACED[self._transport] = PACED_TOKENS
        else:
            self._transport.write(STREAM_HEAD + FIRST)
            for _ in range(FAST_TOKENS):
                self._transport.write(TOKEN)
            self._transport.write(LAST + DONE)


def length_of(head: bytes) -> int:
    """Return the announced length of a request's body."""
    _, found, rest = head.partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def pace() -> None:
    """Write a token to every open stream, `TOKENS_PER_SECOND` times a second."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + 1 / TOKENS_PER_SECOND, loop.time() - 0.1)
        await asyncio.sleep(due - loop.time())
        for transport, left in list(PACED.items()):
            transport.write(TOKEN if left else LAST + DONE)
            PACED[transport] = left - 1
            if not left:
                del PACED[transport]


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=2048)
    async with server:
        await pace()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
