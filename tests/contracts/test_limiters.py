"""Promises of every limiter, whatever counts. A new kind is one line in `WORLDS`.

Time only moves where a test moves it, for the one in memory; Redis has its own clock, and a test waits.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from gateway.limits.base import Caps, Limiter
from gateway.limits.memory import MemoryLimiter
from gateway.limits.redis import RedisLimiter
from tests.redis_server import RedisServer, redis_server


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[Limiter]:
    if request.param == "redis":
        url = request.getfixturevalue("redis").url
        opened: Any = RedisLimiter(url, secrets.token_hex(4))
    else:
        opened = MemoryLimiter()
    yield opened
    await opened.aclose()


async def test_as_many_requests_come_in_as_the_limit_says_and_no_more(limiter: Limiter) -> None:
    standings = [await limiter.admit("k", Caps(requests=5), 0) for _ in range(8)]

    assert [None] * 5 + ["requests"] * 3 == [each.refused for each in standings]
    assert [1, 2, 3, 4, 5, 5, 5, 5] == [each.requests for each in standings]


async def test_tokens_are_reserved_and_what_is_refused_takes_nothing(limiter: Limiter) -> None:
    caps = Caps(requests=10, tokens=100)

    first = await limiter.admit("k", caps, 60)
    refused = await limiter.admit("k", caps, 41)
    second = await limiter.admit("k", caps, 40)

    assert [None, "tokens", None] == [first.refused, refused.refused, second.refused]
    assert (60, 60, 100) == (first.tokens, refused.tokens, second.tokens)
    assert (1, 2) == (refused.requests, second.requests)


async def test_a_refusal_says_when_there_is_room_and_every_answer_when_the_window_is_empty(limiter: Limiter) -> None:
    caps = Caps(requests=1, tokens=100)

    let_in = await limiter.admit("k", caps, 60)
    refused = await limiter.admit("k", caps, 10)

    assert 0 == let_in.wait_seconds
    assert 59 <= refused.wait_seconds <= 61
    assert 59 <= let_in.requests_reset_seconds <= 61
    assert 59 <= refused.tokens_reset_seconds <= 61


async def test_too_much_reserved_is_given_back(limiter: Limiter) -> None:
    caps = Caps(tokens=100)
    first = await limiter.admit("k", caps, 100)

    limiter.settle("k", caps, first.second, 30 - 100, 0.0)
    await limiter.settled()

    assert "tokens" == (await limiter.admit("k", caps, 71)).refused
    assert None is (await limiter.admit("k", caps, 70)).refused


async def test_more_used_than_reserved_counts(limiter: Limiter) -> None:
    caps = Caps(tokens=100)
    first = await limiter.admit("k", caps, 10)

    limiter.settle("k", caps, first.second, 150 - 10, 0.0)
    await limiter.settled()
    after = await limiter.admit("k", caps, 1)

    assert ("tokens", 150) == (after.refused, after.tokens)


async def test_a_budget_lets_in_until_it_is_spent(limiter: Limiter) -> None:
    caps = Caps(budget_usd=0.01, period="2026-11-22")
    refusals = []
    for _ in range(4):
        standing = await limiter.admit("k", caps, 0)
        refusals.append(standing.refused)
        if standing.refused is None:
            limiter.settle("k", caps, standing.second, 0, 0.004)
            await limiter.settled()

    assert [None, None, None, "budget"] == refusals
    assert None is (await limiter.admit("k", Caps(budget_usd=0.01, period="2026-11-23"), 0)).refused


async def test_keys_do_not_count_for_each_other(limiter: Limiter) -> None:
    caps = Caps(requests=1)

    found = [(await limiter.admit(key, caps, 0)).refused for key in ("a", "b", "a")]

    assert [None, None, "requests"] == found


async def test_a_line_of_a_batch_takes_no_request_of_the_minute(limiter: Limiter) -> None:
    await limiter.admit("k", Caps(budget_usd=1.0), 0, 0)

    assert 1 == (await limiter.admit("k", Caps(requests=5, budget_usd=1.0), 0)).requests


async def test_requests_at_the_same_moment_do_not_slip_through(limiter: Limiter) -> None:
    standings = await asyncio.gather(*(limiter.admit("k", Caps(requests=20), 0) for _ in range(60)))

    assert 20 == sum(standing.refused is None for standing in standings)
