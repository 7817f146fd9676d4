"""Bound what one expert is given at a time: so many calls run, so many wait, the rest are told to come back.

Who waits is served by priority, first come first served within one. Background calls (batch work, see
`ExpertCall.background`) take a place only when no other call waits, and leave a share of the places free for those
that come next, but for one call at a time, so that a busy expert's batches still get on; whoever sends them bounds how
many wait. A place is handed over in the moment it comes free: nobody overtakes, and no wake-up is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from experts.config import LimitsConfig
from experts.errors import ExpertOverloaded, ExpertTimeout
from experts.types import BATCH_PRIORITY, ExpertName

FREE_SHARE = 8
"""One place in so many stays free of background calls."""


def background_places(places: int) -> int:
    """Return how many of an expert's places may be taken when a background call takes one: all but an eighth, and at
    least one less.
    """
    return places - max(1, places // FREE_SHARE) if places > 1 else places


class Admission:
    """Places per expert. `running` and `waiting` (without background calls) are what metrics and routing see."""

    def __init__(self) -> None:
        self._lanes: dict[ExpertName, _Lane] = {}
        self.running: dict[ExpertName, int] = {}
        self.waiting: dict[ExpertName, int] = {}

    @asynccontextmanager
    async def place(
        self, expert: ExpertName, limits: LimitsConfig, wait_seconds: float, priority: int = 0
    ) -> AsyncIterator[None]:
        """Hold one of the expert's places. Changed limits hold from the next call on.

        Raises:
            ExpertOverloaded: its queue is full.
            ExpertTimeout: no place came free within `wait_seconds`.
        """
        lane = self._lanes.setdefault(expert, _Lane())
        lane.resize(limits.max_in_flight)
        turn = lane.join(priority)
        try:
            await self._turn(expert, lane, turn, priority, limits.max_queue, wait_seconds)
            yield
        finally:
            lane.leave(turn, priority)
            self._count(expert, lane)

    async def _turn(
        self,
        expert: ExpertName,
        lane: _Lane,
        turn: asyncio.Future[None],
        priority: int,
        max_queue: int,
        wait_seconds: float,
    ) -> None:
        self._count(expert, lane)
        if turn.done():
            return
        ahead = lane.waiting(False) - 1
        if priority > BATCH_PRIORITY and ahead >= max_queue:
            raise ExpertOverloaded(expert, f"Expert '{expert}' has {ahead} requests waiting; try again soon.")
        await asyncio.wait({turn}, timeout=max(0.0, wait_seconds))
        if not turn.done():
            raise ExpertTimeout(expert, f"Expert '{expert}' had no free place in {wait_seconds:g} s.")
        self._count(expert, lane)

    def _count(self, expert: ExpertName, lane: _Lane) -> None:
        self.running[expert], self.waiting[expert] = lane.running, lane.waiting(False)


class _Lane:
    """One expert's places, and who waits for them by priority, in the order they came."""

    def __init__(self) -> None:
        self.places = 0
        self.running = 0
        self._background = 0
        self._queues: dict[int, dict[asyncio.Future[None], None]] = {}

    def resize(self, places: int) -> None:
        """Have so many places from now on; who holds one keeps it."""
        if places != self.places:
            self.places = places
            self._hand_out()

    def join(self, priority: int) -> asyncio.Future[None]:
        """Queue up; the turn is done as soon as it holds a place, at once where one is free."""
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(priority, {})[turn] = None
        self._hand_out()
        return turn

    def leave(self, turn: asyncio.Future[None], priority: int) -> None:
        """Give the place back, or leave the queue where none was held."""
        if turn.done():
            self.running -= 1
            self._background -= priority <= BATCH_PRIORITY
        else:
            self._drop(turn, priority)
        self._hand_out()

    def waiting(self, background: bool) -> int:
        """Return how many calls wait, of those that are background work or of the others."""
        return sum(len(queue) for p, queue in self._queues.items() if background == (p <= BATCH_PRIORITY))

    def _hand_out(self) -> None:
        while self._queues and self.running < self.places:
            priority = max(self._queues)
            background = priority <= BATCH_PRIORITY
            if background and self._background and self.running >= background_places(self.places):
                return
            turn = next(iter(self._queues[priority]))
            self._drop(turn, priority)
            self.running += 1
            self._background += background
            turn.set_result(None)

    def _drop(self, turn: asyncio.Future[None], priority: int) -> None:
        del self._queues[priority][turn]
        if not self._queues[priority]:
            del self._queues[priority]
