"""A fused answer as server-sent events. The first chunk is awaited before the response begins, so that an
early failure still becomes an HTTP status; a later one becomes an error event and the stream ends there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import orjson
from anyio import CancelScope

from experts.errors import ServiceError
from gateway.errors import error_body

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


def frame(body: Mapping[str, Any]) -> bytes:
    """Return one event."""
    return b"data: " + orjson.dumps(body) + b"\n\n"


class Primed:
    """A stream of wire chunks whose first one, if it came in time, is already here.

    `started` is False when `patience_seconds` passed first: the response then begins with keep-alives.
    Whoever iterates `events` closes the source by finishing or closing the iterator.
    """

    def __init__(self, source: AsyncGenerator[dict[str, Any], None]) -> None:
        self._source = source
        self._next: asyncio.Task[dict[str, Any] | None] | None = None

    async def prime(self, patience_seconds: float) -> None:
        """Wait for the first chunk, at most so long.

        Raises:
            ServiceError: it failed early; nothing has been sent.
        """
        self._next = self._fetch()
        try:
            await asyncio.wait({self._next}, timeout=patience_seconds)
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if self._next.done() and (error := self._next.exception()):
            raise error

    def _fetch(self) -> asyncio.Task[dict[str, Any] | None]:
        async def fetch() -> dict[str, Any] | None:
            return await anext(self._source, None)

        return asyncio.create_task(fetch())

    async def events(self, keep_alive_seconds: float) -> AsyncIterator[bytes]:
        """Yield the frames; a comment whenever nothing came for `keep_alive_seconds`."""
        try:
            while True:
                self._next = self._next or self._fetch()
                await asyncio.wait({self._next}, timeout=keep_alive_seconds)
                if not self._next.done():
                    yield KEEP_ALIVE
                    continue
                chunk, self._next = self._next.result(), None
                if chunk is None:
                    yield DONE
                    return
                yield frame(chunk)
        except ServiceError as error:
            yield frame(error_body(error))
        finally:
            # Starlette cancels by scope: without a shield the clean-up itself would be cancelled.
            with CancelScope(shield=True):
                await self.aclose()

    async def aclose(self) -> None:
        """Abort whatever is still being written."""
        if self._next is not None and not self._next.done():
            self._next.cancel()
            with suppress(asyncio.CancelledError, ServiceError):
                await self._next
        await self._source.aclose()
