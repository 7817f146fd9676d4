"""Answers that are being made and will be kept: who wants the same waits for the first. In this process only.

Nobody waits twice, nor longer than asked: where the first is not kept, everybody who waited asks for himself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

Land: TypeAlias = Callable[[bytes | None], None]
"""Says what was kept of an answer, None where nothing was. Only the first word counts."""
MOST_WAITING = 1024
"""Requests that wait at once; further ones ask for themselves, where queues say how many may."""


class Flights:
    """The answers under way by key, and how many requests wait for any of them."""

    def __init__(self) -> None:
        self._flights: dict[str, asyncio.Future[bytes | None]] = {}
        self._waiting = 0

    def begin(self, key: str) -> Land:
        """Let others wait for an answer until it lands: when the request's task ends at the latest.

        Where one is under way already, it is that one they go on waiting for.
        """
        if key in self._flights:
            return lambda _: None
        flight = self._flights[key] = asyncio.get_running_loop().create_future()

        def land(content: bytes | None) -> None:
            if not flight.done():
                del self._flights[key]
                flight.set_result(content)

        if (task := asyncio.current_task()) is not None:  # a stream that nobody begins to read lands nowhere itself
            task.add_done_callback(lambda _: land(None))
        return land

    async def landed(self, key: str, seconds: float) -> bytes | None:
        """Return what is kept of the answer under way; None where there is none, or none that is kept in this time."""
        flight = self._flights.get(key)
        if flight is None or seconds <= 0 or self._waiting >= MOST_WAITING:
            return None
        self._waiting += 1
        try:
            await asyncio.wait({flight}, timeout=seconds)
        finally:
            self._waiting -= 1
        return flight.result() if flight.done() else None
