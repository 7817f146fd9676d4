"""A fused answer as server-sent events. The first frame is awaited before the response begins, so that an
early failure still becomes an HTTP status; a later one becomes an error event and the stream ends there.

Frames that are there together are sent together: what an answer costs a busy gateway then goes by how often it is
looked at, not by its number of tokens.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import orjson
from anyio import CancelScope
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from experts.errors import ServiceError
from experts.patience import Patience
from gateway.connections import GONE
from gateway.errors import ClientGone, error_body

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
MOST_AHEAD = 256
"""Frames that may wait for the client to take them; then whoever writes them waits."""
MARK, MARKED = "\0", b'"content":"\\u0000"'
"""What no text has, and how it stands in an event."""
T = TypeVar("T")


def frame(body: Mapping[str, Any]) -> bytes:
    """Return one event."""
    return b"data: " + orjson.dumps(body) + b"\n\n"


def frames(body: Mapping[str, Any], words: Sequence[bytes]) -> bytes:
    """Return one event; of a body that stands for several, which differ in their words alone, each as it was.

    Args:
        body: a chat.completion.chunk.
        words: the text of each event, as JSON writes it between the quotes; empty where it is one.
    """
    if len(words) < 2:
        return frame(body)
    marked = orjson.dumps({**body, "choices": [{**body["choices"][0], "delta": {"content": MARK}}]})
    if marked.count(MARKED) != 1:
        return frame(body)
    before, _, after = marked.partition(MARKED)
    begin, end = b'data: %b"content":"' % before, b'"%b\n\n' % after
    return begin + (end + begin).join(words) + end


class Primed:
    """A stream of frames whose first one, if it came in time, is already here. Whoever holds it closes it.

    A task of its own reads the source, so that whatever has come can be taken at once. `failed` says how a failure in
    mid-stream is told.
    """

    def __init__(
        self,
        source: AsyncGenerator[bytes, None],
        failed: Callable[[ServiceError], bytes] = lambda error: frame(error_body(error)),
    ) -> None:
        self._source, self._failure = source, failed
        self._ready: list[bytes] = []
        self._news: asyncio.Future[None] | None = None
        self._patience = Patience()
        self._room = asyncio.Event()
        self._room.set()
        self._begun = self._ended = False
        self._reading: asyncio.Task[None] | None = None

    async def prime(self, patience_seconds: float) -> None:
        """Wait for the first frame, at most so long.

        Raises:
            ServiceError: it failed early; nothing has been sent.
        """
        self._reading = asyncio.create_task(self._read(), name="stream")
        try:
            await self._something(patience_seconds)
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if self._ended and not self._ready:
            self._reading.result()
        self._begun = True

    async def taken(self, keep_alive_seconds: float) -> bytes | None:
        """Return all that has come, as soon as there is something; a comment where nothing does for that long, None at
        the end.
        """
        if not self._ready:
            if self._ended:
                assert self._reading is not None
                self._reading.result()
                return None
            if not await self._something(keep_alive_seconds):
                return KEEP_ALIVE
        taken = b"".join(self._ready)
        self._ready.clear()
        if not self._room.is_set():
            self._room.set()
        return taken or await self.taken(keep_alive_seconds)

    async def _something(self, patience_seconds: float) -> bool:
        """Wait for a frame or the end; False when neither comes."""
        if self._ready or self._ended:
            return True
        self._news = asyncio.get_running_loop().create_future()
        try:
            with self._patience.until(time.monotonic() + patience_seconds):
                await self._news
        except TimeoutError:
            return False
        return True

    async def _read(self) -> None:
        try:
            async for each in self._source:
                self._ready.append(each)
                _settle(self._news)
                if len(self._ready) >= MOST_AHEAD:
                    self._room.clear()
                    await self._room.wait()
        except ServiceError as error:
            if not self._begun and not self._ready:
                raise
            self._ready.append(self._failure(error))
        finally:
            self._ended = True
            _settle(self._news)

    async def aclose(self) -> None:
        """Abort whatever is still being written."""
        self._patience.stop()
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError, ServiceError):
                await self._reading
        await self._source.aclose()


def _settle(news: asyncio.Future[None] | None) -> None:
    if news is not None and not news.done():
        news.set_result(None)


class EventStream(Response):
    """The response that sends a primed stream, and closes it: at its end, or when the client has gone."""

    media_type = "text/event-stream"

    def __init__(self, primed: Primed, keep_alive_seconds: float, headers: Mapping[str, str]) -> None:
        self._primed, self._keep_alive_seconds = primed, keep_alive_seconds
        self.status_code, self.background = 200, None
        self.init_headers({**headers, "cache-control": "no-cache", "x-accel-buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all; a client that has gone is no error here."""
        try:
            with suppress(ClientGone):
                await while_connected(scope, receive, self._send(send))
        finally:
            with CancelScope(shield=True):  # else a cancelled scope would cancel the clean-up too
                await self._primed.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while (taken := await self._primed.taken(self._keep_alive_seconds)) is not None:
            await send({"type": "http.response.body", "body": taken, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def while_connected(scope: Scope, receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work unless the client goes away first; then it is cancelled, and with it every upstream call.

    Our own server says in the scope when the client has gone; for any other, a task waits for that beside the work.

    Raises:
        ClientGone: nobody is left to answer.
    """
    told: asyncio.Future[None] | None = scope.get(GONE)
    gone = asyncio.create_task(_disconnected(receive)) if told is None else told
    watch = _Watch(asyncio.current_task())
    gone.add_done_callback(watch)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.left and watch.cancelled_no_more():
            raise ClientGone("The client closed the connection.") from None
        raise
    finally:
        watch.work = None
        gone.remove_done_callback(watch)
        if told is None:
            gone.cancel()


class _Watch:
    """Cancels the work once, when the client goes while it is being done."""

    __slots__ = ("left", "task", "work")

    def __init__(self, task: asyncio.Task[Any] | None) -> None:
        self.task = self.work = task
        self.left = False

    def __call__(self, _: asyncio.Future[None]) -> None:
        if self.work is not None:
            self.left = True
            self.work.cancel()

    def cancelled_no_more(self) -> bool:
        """Take our cancellation back; False where somebody else has asked for one too."""
        return self.task is not None and not self.task.uncancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
