"""One alarm for many waits, one after the other: it is pushed on, not set anew.

`asyncio.timeout` makes a timer for each wait, which for a token that comes every few milliseconds costs as much as the
rest of its way. Here the timer that is running is left alone; when it rings early it is set to what is due by then.
"""

from __future__ import annotations

import asyncio
import math
import time
from types import TracebackType
from typing import Any, Self

EARLY_SECONDS = 0.002
"""A loop may ring so much too early: its clock is not ours."""


class Patience:
    """`with patience.until(moment): await ...` raises TimeoutError when the moment passes first.

    Moments are on `time.monotonic()`'s clock. One wait at a time; `stop` it when there will be none any more.
    """

    def __init__(self) -> None:
        self._due = self._rings = math.inf
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._cancels, self._rang = 0, False

    def until(self, moment: float) -> Self:
        """Return itself, patient until then."""
        self._due = moment
        return self

    def __enter__(self) -> None:
        if self._loop is None:  # kept: asking for it asks the kernel for our process id each time
            self._loop = asyncio.get_running_loop()
        self._waiting = waiting = asyncio.current_task(self._loop)
        assert waiting is not None
        self._cancels = waiting.cancelling()
        if self._due < self._rings:
            self._set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        waiting, self._waiting = self._waiting, None
        if self._rang and waiting is not None:
            self._rang = False
            if waiting.uncancel() <= self._cancels and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def stop(self) -> None:
        """Ring no more."""
        self._due = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._rings = None, math.inf

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings = self._due
        left = max(0.0, self._due - time.monotonic())
        assert self._loop is not None
        self._timer = self._loop.call_later(left, self._ring)

    def _ring(self) -> None:
        self._timer, self._rings = None, math.inf
        if self._waiting is None:
            return
        if self._due - time.monotonic() > EARLY_SECONDS:
            self._set()
        elif not self._rang:
            self._rang = True
            self._waiting.cancel()
