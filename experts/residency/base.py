"""What the dispatcher asks before it sends a call: is the expert's server in memory, and will it stay?"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from experts.types import ExpertName

_PASS: AbstractAsyncContextManager[None] = nullcontext()


class Residency(Protocol):
    """Wait for an expert to be resident, and keep it so."""

    def holding(
        self, expert: ExpertName, deadline: float, *, background: bool = False
    ) -> AbstractAsyncContextManager[None]:
        """Wait until the expert is resident; it is not put to sleep while this is held.

        Args:
            deadline: on `time.monotonic()`'s clock.
            background: nobody sits before the answer: it may wait ten times as long as others.

        Raises:
            ExpertTimeout: it was not resident by the deadline.
            ExpertUnavailable: its server could not be woken.
            ExpertOverloaded: too many wait for it already.
        """
        ...

    def keeps(self, expert: ExpertName) -> bool:
        """Say whether it is ours to wake and to put to sleep."""
        ...

    def state(self, expert: ExpertName) -> str | None:
        """Return "asleep", "waking", or "failed" while it rests after a failure; None when awake or not ours."""
        ...

    async def wake(self, expert: ExpertName) -> None:
        """Begin to wake an expert that `keeps` says is ours; returns at once."""
        ...

    async def sleep(self, expert: ExpertName) -> None:
        """Begin to put one to sleep, once what runs there is done; the next request wakes it. Returns at once."""
        ...


class AlwaysResident:
    """Nothing sleeps here. Costs nothing."""

    def holding(
        self, expert: ExpertName, deadline: float, *, background: bool = False
    ) -> AbstractAsyncContextManager[None]:
        """Let pass."""
        return _PASS

    def keeps(self, expert: ExpertName) -> bool:
        """No expert is ours."""
        return False

    def state(self, expert: ExpertName) -> str | None:
        """Know nothing."""
        return None

    async def wake(self, expert: ExpertName) -> None:
        """Do nothing."""

    async def sleep(self, expert: ExpertName) -> None:
        """Do nothing."""


ALWAYS_RESIDENT: Residency = AlwaysResident()
