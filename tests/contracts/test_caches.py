"""Promises of every cache of answers, whatever keeps them. A new kind is one line in `cache`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from experts.store import StoreError
from gateway.cache.base import ENTRY_BYTES, AnswerCache
from gateway.cache.memory import MemoryCache
from gateway.cache.redis import RedisCache
from tests.redis_server import RedisServer, redis_server

TTL_SECONDS, MOST_ENTRIES, CONTENT = 0.6, 4, b"x" * 1000
MAX_BYTES = MOST_ENTRIES * (len(CONTENT) + ENTRY_BYTES)
Open = Callable[..., AnswerCache]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Return what opens a cache; those of Redis share a namespace."""
    made: list[AnswerCache] = []
    url = request.getfixturevalue("redis").url if request.param == "redis" else ""
    namespace = secrets.token_hex(4)

    def open_one(ttl_seconds: float = 60.0) -> AnswerCache:
        one: Any = MemoryCache(ttl_seconds, MAX_BYTES)
        if url:
            one = RedisCache(url, ttl_seconds, MAX_BYTES, namespace=namespace)
        made.append(one)
        return made[-1]

    yield open_one
    for each in made:
        await each.aclose()


async def kept(cache: AnswerCache, *keys: str) -> list[bytes | None]:
    found = [await cache.get(key) for key in keys]
    return [None if each is None else each.content for each in found]


async def test_what_was_kept_is_found_with_its_age_and_nothing_else_is(opened: Open) -> None:
    cache = opened()
    await cache.put("a", '{"said": "größer \u2028 \\u0000"}'.encode())
    await asyncio.sleep(0.05)

    found = await cache.get("a")

    assert found is not None
    assert '{"said": "größer \u2028 \\u0000"}'.encode() == found.content
    assert 0.04 <= found.age_seconds < 5
    assert None is await cache.get("b")


async def test_what_is_kept_again_takes_the_place_of_the_former(opened: Open) -> None:
    cache = opened()
    for content in (b"one", b"two", b"three"):
        await cache.put("a", content)

    assert [b"three"] == await kept(cache, "a")


async def test_it_is_gone_when_its_time_is_over(opened: Open) -> None:
    cache = opened(TTL_SECONDS)
    await cache.put("a", b"one")
    before = await kept(cache, "a")
    await asyncio.sleep(TTL_SECONDS + 0.1)

    assert [b"one"] == before
    assert [None] == await kept(cache, "a")


async def test_the_oldest_goes_when_there_is_no_room(opened: Open) -> None:
    cache = opened()
    for key in "abcd":
        await cache.put(key, CONTENT)
        await asyncio.sleep(0.005)  # Redis tells milliseconds apart
    await cache.put("a", CONTENT)
    await cache.put("e", CONTENT)

    assert [CONTENT, None, CONTENT, CONTENT, CONTENT] == await kept(cache, *"abcde")


async def test_a_large_one_takes_the_room_of_several_and_one_too_large_is_not_kept(opened: Open) -> None:
    cache = opened()
    for key in "abcd":
        await cache.put(key, CONTENT)
        await asyncio.sleep(0.005)
    await cache.put("large", 2 * CONTENT)
    await cache.put("too large", 9 * CONTENT)

    assert [None, None, CONTENT, CONTENT, 2 * CONTENT, None] == await kept(cache, *"abcd", "large", "too large")


async def test_room_of_what_expired_is_used_again(opened: Open) -> None:
    cache = opened(TTL_SECONDS)
    for key in "abcd":
        await cache.put(key, CONTENT)
    await asyncio.sleep(TTL_SECONDS + 0.1)
    for key in "efgh":
        await cache.put(key, CONTENT)

    assert [None] * 4 + [CONTENT] * 4 == await kept(cache, *"abcdefgh")


async def test_it_never_holds_more_than_its_bound(opened: Open) -> None:
    cache = opened()
    keys = [str(number) for number in range(40)]
    await asyncio.gather(*(cache.put(key, CONTENT) for key in keys))

    assert MOST_ENTRIES == sum(content is not None for content in await kept(cache, *keys))


@pytest.mark.redis
async def test_two_gateways_share_what_is_in_redis(redis: RedisServer) -> None:
    one, two = (RedisCache(redis.url, 60, MAX_BYTES, namespace="both") for _ in range(2))
    await one.put("a", b"said")

    assert [b"said"] == await kept(two, "a")
    await one.aclose()
    await two.aclose()


@pytest.mark.redis
async def test_a_redis_that_is_away_is_a_miss_and_is_found_again() -> None:
    failures: list[int] = []
    with redis_server() as server:
        cache = RedisCache(server.url, 60, MAX_BYTES, failed=lambda: failures.append(1))
        await cache.put("a", b"before")
        server.kill()
        away = await kept(cache, "a", "a", "a")
        await cache.put("b", b"lost")
        server.start()
        await asyncio.sleep(1.1)
        await cache.put("c", b"after")
        back = await kept(cache, "c")
        await cache.aclose()

    assert [None, None, None, b"after"] == [*away, *back]
    assert [1] == failures


async def test_one_owners_answers_are_forgotten_or_everybodys_and_the_room_is_free_again(opened: Open) -> None:
    cache = opened()
    for key in ("ann:1", "ann:2", "anna:1", "bob:1"):
        await cache.put(key, CONTENT)
    counts = [await cache.forget("ann"), await cache.forget("ann"), await cache.forget("*"), await cache.forget("a")]
    left = await kept(cache, "ann:1", "ann:2", "anna:1", "bob:1")
    counts.append(await cache.forget(None))
    gone = await kept(cache, "anna:1", "bob:1")
    for key in "abcd":
        await cache.put(key, CONTENT)

    assert [2, 0, 0, 0, 2] == counts
    assert [None, None, CONTENT, CONTENT] == left
    assert [None, None] == gone
    assert [CONTENT] * 4 == await kept(cache, *"abcd")


@pytest.mark.redis
async def test_thousands_in_redis_are_forgotten_and_a_redis_that_is_away_says_that_they_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.cache.redis.CALL_SECONDS", 30.0)  # so many at once, on a busy machine
    with redis_server() as server:
        cache = RedisCache(server.url, 60, 10_000_000)
        for start in range(0, 2500, 50):
            await asyncio.gather(*(cache.put(f"ann:{number}", b"x") for number in range(start, start + 50)))
        count = await cache.forget("ann")
        server.kill()
        with pytest.raises(StoreError):
            await cache.forget("ann")
        await cache.aclose()

    assert 2500 == count
