"""Do something again whenever asked, one run at a time: asks that come during a run are one more run together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from experts.errors import ServiceError
from gateway.logs import facts

log = logging.getLogger(__name__)


async def survived(name: str, work: Coroutine[None, None, None]) -> None:
    """Do the work and log what it raises, whatever that is: what is up to date later does not depend on it."""
    task = asyncio.create_task(work, name=name)
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
    if not task.cancelled() and (error := task.exception()) is not None:
        bug = None if isinstance(error, ServiceError) else error
        log.warning("%s failed", name, exc_info=bug, extra=facts(work=name, error=str(error)))


async def forever(name: str, work: Callable[[], Coroutine[None, None, None]], pause_seconds: float = 1.0) -> None:
    """Do endless work, and begin it again when it ends."""
    while True:
        await survived(name, work())
        await asyncio.sleep(pause_seconds)


class Recurring:
    """Work that brings something up to date. It does nothing until somebody runs `run`.

    Args:
        name: for the log.
        work: done once for all asks so far; what it raises is logged, and the next ask tries again.
        pause_seconds: waited before each run, so that a burst of asks is one.
    """

    def __init__(self, name: str, work: Callable[[], Coroutine[None, None, None]], pause_seconds: float = 0.0) -> None:
        self.name, self._work, self._pause = name, work, pause_seconds
        self._asked, self._done = 0, 0
        self._changed = asyncio.Condition()
        self._wanted = asyncio.Event()

    def ask(self) -> None:
        """Have the work done soon."""
        self._asked += 1
        self._wanted.set()

    async def caught_up(self, seconds: float) -> bool:
        """Wait until everything asked for by now is done, at most so long; say whether it is."""
        wanted = self._asked
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._done >= wanted)
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Do the work whenever it is asked for, forever."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(self._pause)
            self._wanted.clear()
            covered = self._asked
            await survived(self.name, self._work())
            async with self._changed:
                self._done = covered
                self._changed.notify_all()
