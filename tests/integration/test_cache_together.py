"""The same question twice at the same moment, over real sockets: one is asked, the other waits, and never for long."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from tests.integration.promises.asking import leave, until
from tests.integration.test_cache import ON, content, outcomes, said, team
from tests.integration.test_keys import ask

CHAT = "/v1/chat/completions"
SLOW = 0.05


async def test_who_asks_the_same_meanwhile_is_given_the_firsts_answer() -> None:
    async with team() as (client, (math, _)):
        math.word_delay = SLOW
        at_once = await asyncio.gather(*(said(client, model="math") for _ in range(5)))
        other = await said(client, model="math", text="What is 2 + 3?")

    assert ["hit"] * 4 + ["miss"] == sorted(str(each) for each in outcomes(*at_once))
    assert 1 == len({content(each) for each in at_once})
    assert ["miss"] == outcomes(other)
    assert 2 == len(math.requests)


@pytest.mark.parametrize("streams", [(True, True), (True, False), (False, True)])
async def test_streams_and_whole_answers_wait_for_each_other(streams: tuple[bool, bool]) -> None:
    async with team() as (client, (math, _)):
        math.word_delay = SLOW
        first = asyncio.create_task(said(client, model="math", stream=streams[0]))
        await until(lambda: math.running)
        second = await said(client, model="math", stream=streams[1])
        assert ["miss", "hit"] == outcomes(await first, second)

    assert 1 == len(math.requests)
    assert ("data: [DONE]" in second.text) == streams[1]


async def test_streams_that_come_in_the_same_moment_are_asked_once() -> None:
    async with team() as (client, (math, _)):
        math.word_delay = SLOW
        both = await asyncio.gather(*(said(client, model="math", stream=True) for _ in range(4)))

    assert ["hit"] * 3 + ["miss"] == sorted(str(each) for each in outcomes(*both))
    assert 1 == len(math.requests)


async def test_where_the_client_of_the_first_leaves_the_second_asks_itself() -> None:
    async with team() as (client, (math, _)):
        math.word_delay = SLOW
        left = asyncio.create_task(begin_cached(client))
        await until(lambda: math.running)
        waiting = asyncio.create_task(said(client, model="math"))
        await asyncio.sleep(2 * SLOW)
        asked = len(math.requests)
        await leave(left)
        second = await waiting

    assert (1, 2) == (asked, len(math.requests))
    assert ["miss"] == outcomes(second)


async def test_nobody_waits_longer_than_the_setting_or_where_the_request_bounds_its_own_time() -> None:
    async with team(cache={"wait_seconds": 2 * SLOW}) as (client, (math, _)):
        math.word_delay = 4 * SLOW
        both = await asyncio.gather(said(client, model="math"), said(client, model="math"))
    async with team() as (client, (urgent, _)):
        urgent.word_delay = SLOW
        options = {"deadline_ms": 9000}
        bounded = await asyncio.gather(*(said(client, model="math", routing=options) for _ in range(2)))

    assert ["miss"] * 4 == outcomes(*both, *bounded)
    assert (2, 2) == (len(math.requests), len(urgent.requests))


async def test_who_leaves_while_waiting_is_let_go_at_once_and_the_first_goes_on() -> None:
    async with team() as (client, (math, _)):
        math.word_delay = 8 * SLOW
        first = asyncio.create_task(said(client, model="math"))
        await until(lambda: math.running)
        waiting = asyncio.create_task(asked(client))
        await asyncio.sleep(SLOW)
        both = await in_flight(client)
        await leave(waiting)
        begun = time.monotonic()
        while await in_flight(client) > 1:
            assert time.monotonic() < begun + 1
        assert not first.done()
        assert ["miss"] == outcomes(await first)

    assert 2 == both
    assert 1 == len(math.requests)


async def begin_cached(client: httpx.AsyncClient) -> None:
    """Read a stream slowly, until cancelled."""
    async with client.stream("POST", CHAT, json=ask(model="math", stream=True), headers=ON) as response:
        async for _ in response.aiter_bytes():
            await asyncio.sleep(0.02)


async def asked(client: httpx.AsyncClient) -> None:
    await said(client, model="math")


async def in_flight(client: httpx.AsyncClient) -> float:
    """Return how many requests are being answered."""
    lines = (await client.get("/metrics")).text.splitlines()
    return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("consilium_requests_in_flight "))
