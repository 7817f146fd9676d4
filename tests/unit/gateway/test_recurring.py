"""Work that is done again when asked: a burst is one run, an ask during a run is one more, failures do not end it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from experts.errors import ConfigError
from gateway.catalogue.recurring import Recurring, forever


@asynccontextmanager
async def running(work: Recurring) -> AsyncIterator[None]:
    task = asyncio.create_task(work.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_burst_of_asks_is_one_run() -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)

    again = Recurring("test", work, 0.01)
    async with running(again):
        for _ in range(10):
            again.ask()
        assert await again.caught_up(5)

    assert [1] == runs


async def test_an_ask_during_a_run_is_one_more_and_who_waits_sees_it_done() -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    runs: list[int] = []

    async def work() -> None:
        begun.set()
        await go.wait()
        runs.append(len(runs))

    again = Recurring("test", work)
    async with running(again):
        again.ask()
        await begun.wait()
        again.ask()
        assert not await again.caught_up(0.01)
        go.set()
        assert await again.caught_up(5)

    assert [0, 1] == runs


@pytest.mark.parametrize("failure", [ConfigError("not this time"), ZeroDivisionError("a bug")])
async def test_a_failure_is_one_run_and_the_next_ask_tries_again(failure: Exception) -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise failure

    again = Recurring("test", work)
    async with running(again):
        again.ask()
        assert await again.caught_up(5)
        again.ask()
        assert await again.caught_up(5)

    assert [1, 1] == runs


async def test_who_asked_for_nothing_waits_for_nothing() -> None:
    async def work() -> None:
        raise AssertionError

    assert await Recurring("test", work).caught_up(0.01)


async def test_endless_work_that_ends_begins_again_and_ends_when_it_is_stopped() -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ZeroDivisionError
        await asyncio.Event().wait()

    task = asyncio.create_task(forever("test", work, 0.0))
    while len(runs) < 3:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [1, 1, 1] == runs
    assert not [each for each in asyncio.all_tasks() if each.get_name() == "test" and not each.cancelling()]
