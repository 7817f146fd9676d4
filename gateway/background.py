"""Work beside the requests: never waited for, never more than so much at once, gone when the gateway closes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from gateway.logs import facts

log = logging.getLogger(__name__)


class Background:
    """Runs coroutines beside the requests. What does not fit is dropped: late news is worth less than a slow answer.

    Args:
        name: for the log.
        limit: most running at once.
    """

    def __init__(self, name: str, limit: int) -> None:
        self.name, self.limit = name, limit
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def full(self) -> bool:
        """Whether what is started now would be dropped."""
        return len(self._tasks) >= self.limit

    def start(self, work: Coroutine[None, None, None]) -> bool:
        """Run the work beside everything else; False when it was dropped because too much is running."""
        if self.full:
            work.close()
            return False
        task = asyncio.create_task(work, name=self.name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return True

    async def aclose(self) -> None:
        """Stop whatever still runs."""
        running = list(self._tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("%s failed", self.name, exc_info=error, extra=facts(work=self.name))
