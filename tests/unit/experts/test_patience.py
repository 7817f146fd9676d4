"""An alarm that is pushed on from wait to wait."""

from __future__ import annotations

import asyncio
import time

import pytest

from experts.patience import Patience


async def test_a_wait_that_is_too_long_is_a_timeout_and_the_task_goes_on() -> None:
    patience = Patience()
    with pytest.raises(TimeoutError), patience.until(time.monotonic() + 0.02):
        await asyncio.sleep(5)

    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert 0 == task.cancelling()


async def test_many_short_waits_never_ring_and_one_that_is_long_still_does() -> None:
    patience, begun = Patience(), time.monotonic()
    for _ in range(8):
        with patience.until(time.monotonic() + 0.05):
            await asyncio.sleep(0.02)
    with pytest.raises(TimeoutError), patience.until(time.monotonic() + 0.05):
        await asyncio.sleep(5)
    assert 0.2 < time.monotonic() - begun < 2


async def test_an_earlier_moment_than_the_one_that_is_set_rings_in_time() -> None:
    patience, begun = Patience(), time.monotonic()
    with patience.until(begun + 60):
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), patience.until(time.monotonic() + 0.02):
        await asyncio.sleep(5)
    assert time.monotonic() - begun < 2


async def test_nothing_rings_between_waits_or_after_stop() -> None:
    patience = Patience()
    with patience.until(time.monotonic() + 0.02):
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    with patience.until(time.monotonic() + 60):
        await asyncio.sleep(0)
    patience.stop()
    await asyncio.sleep(0)


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def waiting() -> None:
        with Patience().until(time.monotonic() + 60):
            await asyncio.sleep(60)

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_alarm_serves_a_wait_in_another_task() -> None:
    patience = Patience()
    with patience.until(time.monotonic() + 60):
        await asyncio.sleep(0)

    async def waiting() -> None:
        with patience.until(time.monotonic() + 0.02):
            await asyncio.sleep(5)

    with pytest.raises(TimeoutError):
        await asyncio.create_task(waiting())
