"""Split a server-sent-event byte stream into its frames, or into the data of its events.

Apart because relays have broken here: lines may be megabytes long and frames may be cut anywhere, so
bytes are collected until a blank line and never read line by line (WHATWG HTML, section 9.2.6).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

MAX_EVENT_BYTES = 32 * 1024 * 1024
BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
"""Two ends of lines, of whichever kinds; atomic, so that a CRLF is never taken for two."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


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
    cut = Frames(max_bytes)
    async for chunk in chunks:
        for frame in cut.feed(chunk):
            yield frame
    for frame in cut.rest():
        yield frame


class Frames:
    """The same where nothing is awaited: bytes in, frames out."""

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._pending, self._scanned, self._max_bytes = bytearray(), 0, max_bytes

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the frames that are whole with these bytes.

        Raises:
            EventTooLarge: what is not whole is larger than a frame may be.
        """
        pending, found, begin = self._pending, [], 0
        pending += chunk
        for match in BLANK_LINE.finditer(pending, max(0, self._scanned - 3)):
            found.append(bytes(pending[begin : match.end()]))
            begin = match.end()
        self._pending, self._scanned = pending[begin:], len(pending) - begin
        if self._scanned > self._max_bytes:
            raise EventTooLarge(f"one server-sent event is larger than {self._max_bytes} bytes")
        return found

    def data(self, chunk: bytes) -> list[bytes]:
        """Return the `data` of the events that are whole with these bytes; see `feed`."""
        if not self._pending and chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") and b"\r" not in chunk:
            told = chunk[6:-2].split(b"\n\ndata: ")  # the usual case: one line each, and nothing cut
            if chunk.count(b"\n") == 2 * len(told):
                return [each for each in told if each]
        return [data for data in map(event_data, self.feed(chunk)) if data is not None]

    def rest(self) -> list[bytes]:
        """Return what is left at the end, as a frame of its own."""
        return [bytes(self._pending)] if self._pending else []


def event_data(frame: bytes) -> bytes | None:
    """Return the joined `data:` lines of one frame, or None when they say nothing (a comment, a ping)."""
    if frame.startswith(b"data: ") and frame.endswith(b"\n\n") and frame.count(b"\n") == 2 and b"\r" not in frame:
        return frame[6:-2] or None
    lines = re.split(rb"\r\n|\n|\r", frame.removeprefix(BYTE_ORDER_MARK))
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")) or None
