"""Two gateway processes on one Redis: limits hold across both, a revoked key is out everywhere, Redis may go away."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.integration.test_key_limits import PRICE
from tests.integration.test_keys import BOSS, bearer, chat, made
from tests.processes import free_port, started, wait_for
from tests.redis_server import RedisServer, redis_server

pytestmark = [pytest.mark.redis, pytest.mark.slow]
REVOKED_SECONDS = 1.0
REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE = 100, 5000
OFF_BY = 0.02
UNCOUNTED = "consilium_limits_unavailable_total{"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@asynccontextmanager
async def gateways(
    count: int, folder: Path, redis: RedisServer, expert: FakeExpert, **sections: Any
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Run gateway processes on one Redis and yield a client of each."""
    config = folder / "config.json"
    record = expert_record("math", expert, **PRICE)
    config.write_text(json.dumps({"experts": [record], **sections}))
    environment = {"CONSILIUM_REDIS_URL": redis.url, "CONSILIUM_ADMIN_KEY": "boss"}
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(count):
            port, log = free_port(), folder / f"log.{number}"
            url = f"http://127.0.0.1:{port}"
            command = ("tests.integration.one_gateway", str(config), str(port))
            process = stack.enter_context(started(*command, log=log, **environment))
            await asyncio.to_thread(wait_for, f"{url}/health/readiness", process, log)
            clients.append(await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60)))
        yield clients


async def storm(clients: list[httpx.AsyncClient], key: dict[str, Any], count: int, **body: Any) -> list[int]:
    """Ask so often, in turns at each gateway and several at a time; returns the statuses."""
    places = asyncio.Semaphore(16)

    async def one(number: int) -> int:
        async with places:
            return (await chat(clients[number % len(clients)], key, **body)).status_code

    return list(await asyncio.gather(*(one(number) for number in range(count))))


async def test_limits_hold_across_gateways_within_two_percent(tmp_path: Path, redis: RedisServer) -> None:
    expert = FakeExpert(reply=lambda _: "word " * 45 + "end")
    async with serving(expert), gateways(2, tmp_path, redis, expert) as both:
        by_requests = await made(both[0], requests_per_minute=REQUESTS_PER_MINUTE)
        by_tokens = await made(both[1], tokens_per_minute=TOKENS_PER_MINUTE)
        await asyncio.sleep(REVOKED_SECONDS)
        begun = time.monotonic()
        requests = await storm(both, by_requests, 2 * REQUESTS_PER_MINUTE)
        tokens = await storm(both, by_tokens, 140, max_tokens=46)
        took = time.monotonic() - begun
        uncounted = [text for each in both if UNCOUNTED in (text := (await each.get("/metrics")).text)]
        await asyncio.sleep(2 * REVOKED_SECONDS)  # each writes its usage once a second
        rows = (await both[0].get("/admin/usage?by=key", headers=BOSS)).json()["data"]

    used = {row["key"]: row for row in rows}[by_tokens["id"]]
    each = used["prompt_tokens"] + used["completion_tokens"]
    assert [] == uncounted
    assert took < 60, "a slow machine: the window has moved on"
    assert {200, 429} == set(requests) == set(tokens)
    assert abs(requests.count(200) - REQUESTS_PER_MINUTE) <= OFF_BY * REQUESTS_PER_MINUTE
    assert abs(each - TOKENS_PER_MINUTE) <= OFF_BY * TOKENS_PER_MINUTE


async def test_a_budget_is_one_for_all_gateways(tmp_path: Path, redis: RedisServer) -> None:
    expert = FakeExpert(reply=lambda _: "one two three")
    async with serving(expert), gateways(2, tmp_path, redis, expert) as both:
        key = await made(both[0], budget_usd=50, budget_period="month")
        await asyncio.sleep(REVOKED_SECONDS)
        codes = [(await chat(both[number % 2], key)).status_code for number in range(7)]

    assert [200] * 5 + [429] * 2 == codes


async def test_a_key_revoked_on_one_gateway_is_refused_on_the_other_within_a_second(
    tmp_path: Path, redis: RedisServer
) -> None:
    expert = FakeExpert()
    async with serving(expert), gateways(2, tmp_path, redis, expert) as (one, two):
        waits = []
        for _ in range(5):
            key = await made(one)
            waits.append(await seconds_until(two, key, 200))
            await one.delete(f"/admin/keys/{key['id']}", headers=BOSS)
            waits.append(await seconds_until(two, key, 401))
        without = await two.get("/v1/models")

    assert max(waits) < REVOKED_SECONDS, waits
    assert 401 == without.status_code


async def seconds_until(client: httpx.AsyncClient, key: dict[str, Any], status: int) -> float:
    """Return how long it took until a key was answered so."""
    begun = time.monotonic()
    while (await client.get("/v1/models", headers=bearer(key))).status_code != status:
        assert time.monotonic() - begun < 10, "not seen in time"
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


@pytest.mark.parametrize(("choice", "status"), [("open", 200), ("closed", 503)])
async def test_while_redis_is_away_requests_of_limited_keys_go_as_configured(
    tmp_path: Path, redis: RedisServer, choice: str, status: int
) -> None:
    expert = FakeExpert()
    limits = {"on_store_failure": choice}
    async with serving(expert), gateways(1, tmp_path, redis, expert, limits=limits) as (gateway,):
        key, free = await made(gateway, requests_per_minute=2), await made(gateway)
        before = await chat(gateway, key)
        redis.kill()
        begun = time.monotonic()
        away = [await chat(gateway, key) for _ in range(5)]
        took = time.monotonic() - begun
        unlimited = await chat(gateway, free)
        metrics = (await gateway.get("/metrics")).text
        redis.start()
        await asyncio.sleep(1.5)
        back = [await chat(gateway, key) for _ in range(3)]

    assert [200, *[status] * 5, 200] == [each.status_code for each in (before, *away, unlimited)]
    assert took < 3
    assert "x-ratelimit-limit-requests" not in away[0].headers
    outcome = "admitted" if choice == "open" else "refused"
    assert f'consilium_limits_unavailable_total{{outcome="{outcome}"}} 5.0' in metrics
    assert [200, 429, 429] == [each.status_code for each in back]


async def test_a_killed_gateway_loses_no_usage_older_than_its_last_second(tmp_path: Path, redis: RedisServer) -> None:
    expert = FakeExpert(reply=lambda _: "one two three")
    async with serving(expert), gateways(1, tmp_path, redis, expert) as (other,):
        config, log, port = tmp_path / "config.json", tmp_path / "log.killed", free_port()
        environment = {"CONSILIUM_REDIS_URL": redis.url, "CONSILIUM_ADMIN_KEY": "boss"}
        with started("tests.integration.one_gateway", str(config), str(port), log=log, **environment) as process:
            url = f"http://127.0.0.1:{port}"
            await asyncio.to_thread(wait_for, f"{url}/health/readiness", process, log)
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                key = await made(client)
                for _ in range(5):
                    await chat(client, key)
                await asyncio.sleep(2)
            process.kill()
        (row,) = (await other.get("/admin/usage?by=key", headers=BOSS)).json()["data"]

    assert (key["id"], 5, 15) == (row["key"], row["requests"], row["completion_tokens"])
