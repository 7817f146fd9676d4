"""Split a server-sent-event byte stream into its frames, or into the data of its events.

Apart because relays have broken here: lines may be megabytes long and frames may be cut anywhere, so
bytes are collected until a blank line and never read line by line (WHATWG HTML, section 9.2.6).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

MAX_EVENT_BYTES = 32 * 1024 * 1024
BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class EventTooLarge(ValueError):
    """One event grew past the bound; the stream is not usable any more."""


async def events(chunks: AsyncIterator[bytes], *, max_bytes: int = MAX_EVENT_BYTES) -> AsyncIterator[bytes]:
    """Yield each event's `data`, comments and other fields dropped; an unfinished last event counts too.

    Raises:
        EventTooLarge: an event is larger than `max_bytes`.
    """
    async for frame in frames(chunks, max_bytes=max_bytes):
        if (data := event_data(frame)) is not None:
            yield data


async def frames(chunks: AsyncIterator[bytes], *, max_bytes: int = MAX_EVENT_BYTES) -> AsyncIterator[bytes]:
    """Yield each frame as it came, the blank line that ends it included; what is left at the end is one too.

    Raises:
        EventTooLarge: a frame is larger than `max_bytes`.
    """
    pending = bytearray()
    scanned = 0
    async for chunk in chunks:
        pending += chunk
        while match := BLANK_LINE.search(pending, max(0, scanned - 3)):
            frame = bytes(pending[: match.end()])
            del pending[: match.end()]
            scanned = 0
            yield frame
        scanned = len(pending)
        if scanned > max_bytes:
            raise EventTooLarge(f"one server-sent event is larger than {max_bytes} bytes")
    if pending:
        yield bytes(pending)


def event_data(frame: bytes) -> bytes | None:
    """Return the joined `data:` lines of one frame, or None when it has none (a comment, say)."""
    lines = [line for line in re.split(rb"\r\n|\n|\r", frame) if line.startswith(b"data:")]
    if not lines:
        return None
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines)
