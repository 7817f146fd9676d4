"""Who waits for an answer under way gets it, or is let go: when it is not kept, in time, and never left behind."""

from __future__ import annotations

import asyncio

import pytest

from gateway.cache.flights import Flights


async def waiting(flights: Flights, seconds: float = 5.0) -> asyncio.Task[bytes | None]:
    task = asyncio.create_task(flights.landed("a", seconds))
    await asyncio.sleep(0)
    return task


async def test_all_who_wait_get_what_landed_and_who_comes_later_does_not() -> None:
    flights = Flights()
    land = flights.begin("a")
    two = [await waiting(flights), await waiting(flights)]
    land(b"4")
    land(None)

    assert [b"4", b"4"] == await asyncio.gather(*two)
    assert None is await flights.landed("a", 5)
    assert None is await flights.landed("b", 5)


async def test_where_the_first_fails_who_waited_is_let_go_and_the_next_may_begin() -> None:
    flights = Flights()
    flights.begin("a")(None)
    again = flights.begin("a")
    task = await waiting(flights)
    again(b"4")

    assert b"4" == await task


async def test_a_request_that_ends_without_a_word_keeps_nobody_waiting() -> None:
    flights = Flights()

    async def request() -> None:
        flights.begin("a")
        await asyncio.sleep(0.01)

    first = asyncio.create_task(request())
    await asyncio.sleep(0)
    task = await waiting(flights)

    assert None is await asyncio.wait_for(task, 1)
    await first


async def test_a_second_under_way_changes_nothing_for_those_who_wait_for_the_first() -> None:
    flights = Flights()
    first, second = flights.begin("a"), flights.begin("a")
    task = await waiting(flights)
    second(b"5")
    first(b"4")

    assert b"4" == await task


async def test_nobody_waits_longer_than_said_and_who_gives_up_leaves_the_others_waiting() -> None:
    flights = Flights()
    land = flights.begin("a")
    gives_up, stays = await waiting(flights), await waiting(flights)
    assert None is await flights.landed("a", 0.01)
    gives_up.cancel()
    await asyncio.gather(gives_up, return_exceptions=True)
    land(b"4")

    assert b"4" == await stays


async def test_only_so_many_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cache.flights.MOST_WAITING", 1)
    flights = Flights()
    land = flights.begin("a")
    task = await waiting(flights)
    assert None is await asyncio.wait_for(flights.landed("a", 5), 1)
    land(b"4")

    assert b"4" == await task
