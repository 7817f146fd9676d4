"""Which calls are sent twice: the slowest share, and never more than that; and how two attempts race."""

from __future__ import annotations

import asyncio
import math
from random import Random
from typing import cast

import pytest

from experts.attempt import Attempt
from experts.config import HedgeConfig
from experts.hedging import ENOUGH, SAVED, Hedges, first_begun

ONE_IN_TEN = HedgeConfig(share=0.1)


def test_nothing_is_hedged_before_it_is_known_what_is_slow() -> None:
    hedges = Hedges()
    patience = []
    for _ in range(ENOUGH + 1):
        patience.append(hedges.patience("math", ONE_IN_TEN))
        hedges.began("math", ONE_IN_TEN, 0.2)

    assert [*[None] * ENOUGH, 0.2] == patience


def test_patience_ends_where_the_slowest_share_begins() -> None:
    hedges, rng = Hedges(), Random(3)
    for _ in range(256):
        hedges.began("math", ONE_IN_TEN, rng.random())
    patience = hedges.patience("math", ONE_IN_TEN)

    assert patience is not None
    assert 0.85 < patience < 0.95


def test_a_fixed_patience_needs_no_measurement() -> None:
    assert 0.5 == Hedges().patience("math", HedgeConfig(after_seconds=0.5))


def test_hedges_are_paid_for_by_the_calls_before_them() -> None:
    hedges, spent = Hedges(), 0
    for _ in range(1000):
        hedges.patience("math", ONE_IN_TEN)
        spent += hedges.spend("math")

    assert 99 <= spent <= 100


def test_a_quiet_hour_does_not_pay_for_a_storm() -> None:
    hedges = Hedges()
    for _ in range(10_000):
        hedges.patience("math", ONE_IN_TEN)

    assert SAVED == sum(hedges.spend("math") for _ in range(100))


class Racer:
    """An attempt that begins after so many seconds, and takes a while to be closed."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.closed = seconds, 0
        self.closing = asyncio.Event()

    async def begin(self, first_by: float) -> None:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.closing.set()
            await asyncio.sleep(0.05)
            raise

    async def aclose(self) -> None:
        self.closed += 1


def race(first: Racer, second: Racer) -> asyncio.Task[Attempt]:
    attempts = [cast(Attempt, each) for each in (first, second)]
    return asyncio.create_task(first_begun(attempts[0], lambda: attempts[1], 0.0, math.inf))


async def test_the_quicker_one_is_taken_and_the_other_closed() -> None:
    slow, quick = Racer(5), Racer(0)

    assert cast(Attempt, quick) is await race(slow, quick)
    assert (True, 0) == (slow.closed > 0, quick.closed)


async def test_who_leaves_while_the_loser_is_closed_is_not_overheard_and_nothing_stays_open() -> None:
    slow, quick = Racer(5), Racer(0)
    racing = race(slow, quick)
    await slow.closing.wait()
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing

    assert all(racer.closed for racer in (slow, quick))
