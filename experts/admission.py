"""Bound what one expert is given at a time: so many calls run, so many wait, the rest are told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from experts.config import LimitsConfig
from experts.errors import ExpertOverloaded, ExpertTimeout
from experts.types import ExpertName


class Admission:
    """Places per expert. `running` and `waiting` are what metrics show."""

    def __init__(self) -> None:
        self._places: dict[ExpertName, tuple[int, asyncio.Semaphore]] = {}
        self.running: dict[ExpertName, int] = {}
        self.waiting: dict[ExpertName, int] = {}

    @asynccontextmanager
    async def place(self, expert: ExpertName, limits: LimitsConfig, wait_seconds: float) -> AsyncIterator[None]:
        """Hold one of the expert's places.

        Raises:
            ExpertOverloaded: its queue is full.
            ExpertTimeout: no place came free within `wait_seconds`.
        """
        semaphore = self._semaphore(expert, limits.max_in_flight)
        await self._wait(expert, semaphore, limits.max_queue, wait_seconds)
        self.running[expert] = self.running.get(expert, 0) + 1
        try:
            yield
        finally:
            self.running[expert] -= 1
            semaphore.release()

    def _semaphore(self, expert: ExpertName, size: int) -> asyncio.Semaphore:
        known = self._places.get(expert)
        if known is None or known[0] != size:
            known = self._places[expert] = (size, asyncio.Semaphore(size))
        return known[1]

    async def _wait(
        self, expert: ExpertName, semaphore: asyncio.Semaphore, max_queue: int, wait_seconds: float
    ) -> None:
        waiting = self.waiting.get(expert, 0)
        if semaphore.locked() and waiting >= max_queue:
            raise ExpertOverloaded(expert, f"Expert '{expert}' has {waiting} requests waiting; try again soon.")
        self.waiting[expert] = waiting + 1
        try:
            async with asyncio.timeout(wait_seconds):
                await semaphore.acquire()
        except TimeoutError:
            raise ExpertTimeout(expert, f"Expert '{expert}' had no free place in {wait_seconds:g} s.") from None
        finally:
            self.waiting[expert] -= 1
