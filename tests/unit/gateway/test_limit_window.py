"""The sliding window: never more than the limit in any sixty seconds, and room again when it is due."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.base import SPAN, Caps, period_of, seconds_left
from gateway.limits.headers import duration
from gateway.limits.memory import MemoryLimiter


class Clock:
    def __init__(self, now: float = 1000.25) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


Steps = st.lists(st.tuples(st.floats(0, 30), st.integers(1, 40)), min_size=1, max_size=80)


@given(steps=Steps, requests=st.integers(1, 12), tokens=st.integers(40, 200))
def test_no_sixty_seconds_hold_more_than_the_limit_and_nothing_is_refused_that_fits(
    steps: list[tuple[float, int]], requests: int, tokens: int
) -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock=clock)
    let_in: list[tuple[float, int]] = []

    async def run() -> None:
        for pause, wanted in steps:
            clock.now += pause
            standing = await limiter.admit("k", Caps(requests, tokens), wanted)
            lately = [amount for at, amount in let_in if at > clock.now - SPAN - 1]
            if standing.refused is None:
                let_in.append((clock.now, wanted))
            else:
                assert len(lately) + 1 > requests or sum(lately) + wanted > tokens

    asyncio.run(run())

    for end, _ in let_in:
        window = [amount for at, amount in let_in if end - 60 < at <= end]
        assert len(window) <= requests
        assert sum(window) <= tokens


@given(steps=Steps)
def test_after_the_wait_that_a_refusal_names_there_is_room_and_not_before(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    limiter, caps = MemoryLimiter(clock=clock), Caps(requests=3, tokens=60)

    async def run() -> None:
        for pause, wanted in steps:
            clock.now += pause
            standing = await limiter.admit("k", caps, wanted)
            if standing.refused is not None:
                refused_at = clock.now
                clock.now = refused_at + standing.wait_seconds - 0.01
                assert (await limiter.admit("k", caps, wanted)).refused is not None
                clock.now = refused_at + standing.wait_seconds + 0.01
                assert (await limiter.admit("k", caps, wanted)).refused is None

    asyncio.run(run())


async def test_what_is_given_back_after_the_window_has_passed_changes_nothing() -> None:
    clock = Clock()
    limiter, caps = MemoryLimiter(clock=clock), Caps(tokens=100)
    first = await limiter.admit("k", caps, 80)
    clock.now += 70

    limiter.settle("k", caps, first.second, -80, 0.0)

    assert "tokens" == (await limiter.admit("k", caps, 101)).refused
    assert None is (await limiter.admit("k", caps, 100)).refused


async def test_a_budget_counts_what_was_spent_before_the_start_once() -> None:
    asked = []

    async def spent(key: str, period: str) -> float:
        asked.append((key, period))
        return 0.9

    limiter, caps = MemoryLimiter(spent), Caps(budget_usd=1.0, period="2026-11")
    first = await limiter.admit("k", caps, 0)
    limiter.settle("k", caps, first.second, 0, 0.2)

    assert "budget" == (await limiter.admit("k", caps, 0)).refused
    assert [("k", "2026-11")] == asked


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0ms"), (0.0174, "17ms"), (1, "1s"), (6.54, "6.5s"), (60, "1m0s"), (61.04, "1m1s")]
)
def test_times_are_written_as_openai_does(seconds: float, said: str) -> None:
    assert said == duration(seconds)


def test_days_and_months_end_at_midnight_utc() -> None:
    now = datetime(2026, 12, 31, 23, 59, 30, tzinfo=UTC)

    assert ("total", "2026-12-31", "2026-12") == tuple(period_of(each, now) for each in ("total", "day", "month"))
    assert (None, 30.0, 30.0) == tuple(seconds_left(each, now) for each in ("total", "day", "month"))
