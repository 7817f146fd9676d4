"""How much a key may use and has used. `tests/contracts/test_limiters.py` holds every kind to the same promises.

Requests and tokens per minute are counted in a sliding window of `SPAN` whole seconds, the current one included. Any
sixty seconds lie within such a window, so that no sixty seconds ever hold more than the limit; and what was let in
makes room again after at most 61. Tokens are reserved when a request comes in and put right when its answer ends:
what was too much goes back to the second it was taken from, what was too little counts from now on.

    Caps      what a key may use          Standing   how it stands after it asked
    Limiter   memory.py in this process; redis.py in a Redis, whose clock it is then
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from gateway.keys.record import KeyRecord, Period

SPAN = 61
"""Seconds of the window: sixty, and the part of one in which it begins."""
Cause = Literal["requests", "tokens", "budget"]


@dataclass(frozen=True, slots=True)
class Caps:
    """What a key may use; None sets no limit. `period` is the day or month that the budget is of, or "total"."""

    requests: int | None = None
    tokens: int | None = None
    budget_usd: float | None = None
    period: str = "total"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key stands after it asked.

    Args:
        refused: what is used up; None when it was let in.
        second: when it was let in, on the limiter's clock; needed to put its tokens right.
        requests, tokens: used in the window, this request included when it was let in.
        wait_seconds: until there is room, when requests or tokens were refused.
        requests_reset_seconds, tokens_reset_seconds: until nothing of the window counts any more.
    """

    refused: Cause | None
    second: int
    requests: int = 0
    tokens: int = 0
    wait_seconds: float = 0.0
    requests_reset_seconds: float = 0.0
    tokens_reset_seconds: float = 0.0


class Limiter(Protocol):
    """Counts what keys use. Whoever opened it closes it."""

    async def admit(self, key: str, caps: Caps, tokens: int, requests: int = 1) -> Standing:
        """Take a request and so many tokens, all of it or, where something is used up, nothing.

        A budget that is not spent yet lets a request in whatever it will cost.

        Raises:
            LimitsUnavailable: nobody can say.
        """
        ...

    def settle(self, key: str, caps: Caps, second: int, correction: int, cost_usd: float) -> None:
        """Put a request's tokens right, by what it took less what was reserved, and add what it cost.

        Nobody waits for that; where it cannot be noted the log says so.
        """
        ...

    async def settled(self) -> None:
        """Return when everything settled so far is noted, or could not be."""
        ...

    async def aclose(self) -> None:
        """Close it, once everything is settled."""
        ...


def caps_of(record: KeyRecord, now: datetime) -> Caps:
    """Return what a key may use at this time."""
    period = period_of(record.budget_period, now)
    return Caps(record.requests_per_minute, record.tokens_per_minute, record.budget_usd, period)


def period_of(period: Period, now: datetime) -> str:
    """Return the day or month, in UTC, that spending at this time belongs to."""
    return {"total": "total", "day": f"{now:%Y-%m-%d}", "month": f"{now:%Y-%m}"}[period]


def seconds_left(period: Period, now: datetime) -> float | None:
    """Return how long the day or month goes on; None for "total", which never ends."""
    if period == "total":
        return None
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC)
    ends = midnight + timedelta(days=1) if period == "day" else (midnight.replace(day=1) + timedelta(days=32))
    return ((ends if period == "day" else ends.replace(day=1)) - now).total_seconds()
