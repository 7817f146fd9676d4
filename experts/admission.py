"""Bound what one expert is given at a time: so many calls run, so many wait, the rest are told to come back.

Who waits is served by priority; within one, clients take turns (see `experts.turns`). In a full queue the newest call
of the client with most makes room for a client with fewer, or for a higher priority, so that one that floods is told to
come back and others are not. Background calls (batch work, see `ExpertCall.background`) take a place only when no other
call waits, and leave a share of the places free for those that come next, but for one call at a time, so that a busy
expert's batches still get on; whoever sends them bounds how many wait. A place is handed over in the moment it comes
free: nobody overtakes, and no wake-up is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from experts.config import LimitsConfig
from experts.errors import ExpertOverloaded, ExpertTimeout
from experts.turns import Turn, Turns
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
        self,
        expert: ExpertName,
        limits: LimitsConfig,
        wait_seconds: float,
        priority: int = 0,
        client: str = "",
        share: int = 1,
    ) -> AsyncIterator[None]:
        """Hold one of the expert's places. Changed limits hold from the next call on; see `ExpertCall` for the rest.

        Raises:
            ExpertOverloaded: its queue is full, or was and others had fewer calls in it.
            ExpertTimeout: no place came free within `wait_seconds`.
        """
        lane = self._lanes.setdefault(expert, _Lane())
        lane.resize(limits.max_in_flight)
        turn = lane.join(priority, client, share)
        try:
            await self._turn(expert, lane, turn, (priority, client), limits.max_queue, wait_seconds)
            yield
        finally:
            lane.leave(turn, priority, client)
            self._count(expert, lane)

    def spare(
        self, expert: ExpertName, limits: LimitsConfig, priority: int = 0, client: str = "", share: int = 1
    ) -> Callable[[], None] | None:
        """Take a place beside one that is held, if one is free and no other call waits; returns what gives it back."""
        lane = self._lanes.setdefault(expert, _Lane())
        lane.resize(limits.max_in_flight)
        if lane.waiting or lane.running >= lane.places:
            return None
        turn = lane.join(priority, client, share)
        self._count(expert, lane)

        def give_back() -> None:
            lane.leave(turn, priority, client)
            self._count(expert, lane)

        return give_back

    async def _turn(
        self, expert: ExpertName, lane: _Lane, turn: Turn, who: tuple[int, str], max_queue: int, wait_seconds: float
    ) -> None:
        if not turn.done():
            lane.bound(turn, *who, max_queue)
        self._count(expert, lane)
        if not turn.done():
            await asyncio.wait({turn}, timeout=max(0.0, wait_seconds))
        if not turn.done():
            raise ExpertTimeout(expert, f"Expert '{expert}' had no free place in {wait_seconds:g} s.")
        if not turn.result():
            raise ExpertOverloaded(expert, f"Expert '{expert}' has {max_queue} requests waiting; try again soon.")
        self._count(expert, lane)

    def _count(self, expert: ExpertName, lane: _Lane) -> None:
        self.running[expert], self.waiting[expert] = lane.running, lane.waiting


class _Lane:
    """One expert's places, and who waits for them by priority. `waiting` counts no background calls."""

    def __init__(self) -> None:
        self.places = 0
        self.running = 0
        self.waiting = 0
        self._background = 0
        self._queues: dict[int, Turns] = {}

    def resize(self, places: int) -> None:
        """Have so many places from now on; who holds one keeps it."""
        if places != self.places:
            self.places = places
            self._hand_out()

    def join(self, priority: int, client: str, share: int) -> Turn:
        """Queue up; the turn is done as soon as it holds a place, at once where one is free."""
        turn: Turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(priority, Turns()).join(turn, client, share)
        self.waiting += priority > BATCH_PRIORITY
        self._hand_out()
        return turn

    def leave(self, turn: Turn, priority: int, client: str) -> None:
        """Give the place back, or leave the queue where none was held; who was sent away holds neither."""
        if not turn.done():
            self._queues[priority].leave(turn, client)
            self._left(priority)
        elif turn.result():
            self.running -= 1
            self._background -= priority <= BATCH_PRIORITY
        self._hand_out()

    def bound(self, turn: Turn, priority: int, client: str, max_queue: int) -> None:
        """Send somebody away where more than `max_queue` calls wait: whoever came, or else the newest call of the
        lowest priority, where that is lower or whose it is has more waiting. Who sends background calls bounds those.
        """
        if priority <= BATCH_PRIORITY or self.waiting <= max_queue:
            return
        lowest = min(each for each in self._queues if each > BATCH_PRIORITY)
        queue = self._queues[lowest]
        longest = queue.longest()
        if lowest < priority or queue.waiting_of(longest) > queue.waiting_of(client):
            turn = queue.send_away_last(longest)
        else:
            queue.leave(turn, client)
        self._left(lowest)
        turn.set_result(False)

    def _hand_out(self) -> None:
        while self._queues and self.running < self.places:
            priority = max(self._queues)
            background = priority <= BATCH_PRIORITY
            if background and self._background and self.running >= background_places(self.places):
                return
            turn = self._queues[priority].serve()
            self._left(priority)
            self.running += 1
            self._background += background
            turn.set_result(True)

    def _left(self, priority: int) -> None:
        self.waiting -= priority > BATCH_PRIORITY
        if not self._queues[priority]:
            del self._queues[priority]
