"""Work beside the requests: never waited for, never more than so much at once, gone when the gateway closes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine

from gateway.logs import facts

log = logging.getLogger(__name__)


class Background:
    """Runs coroutines beside the requests. What does not fit is dropped: late news is worth less than a slow answer.

    Args:
        name: for the log.
        limit: most running at once.
        per_second: most begun in a second, over time; up to `limit` are saved up. None begins all that fit.
    """

    def __init__(self, name: str, limit: int, per_second: float | None = None) -> None:
        self.name, self.limit, self.per_second = name, limit, per_second
        self._saved, self._counted_at = float(limit), time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def full(self) -> bool:
        """Whether what is started now would be dropped."""
        return len(self._tasks) >= self.limit

    def start(self, work: Coroutine[None, None, None]) -> bool:
        """Run the work beside everything else; False when it was dropped because too much is running."""
        if self.full or not self._affordable():
            work.close()
            return False
        task = asyncio.create_task(work, name=self.name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return True

    def _affordable(self) -> bool:
        """Pay for one, if there is something saved up."""
        if self.per_second is None:
            return True
        now = time.monotonic()
        self._saved = min(self.limit, self._saved + self.per_second * (now - self._counted_at))
        self._counted_at = now
        affordable = self._saved >= 1
        self._saved -= affordable
        return affordable

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
