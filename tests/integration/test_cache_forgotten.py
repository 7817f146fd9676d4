"""An administrator has kept answers forgotten: everybody's or one key's, by every process, with those under way."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from tests.conftest import expert_record
from tests.fakes.expert import serving
from tests.integration.promises.asking import until
from tests.integration.test_cache import ON, Counting, outcomes, said, team
from tests.integration.test_keys import BOSS, bearer, made
from tests.integration.test_shared_limits import gateways
from tests.integration.test_two_gateways import gateways as on_one_file
from tests.redis_server import redis_server

CACHE = "/admin/cache"


async def forgotten(client: httpx.AsyncClient, **query: str) -> int:
    """Return how many answers were forgotten."""
    answer = await client.delete(CACHE, params=query, headers=BOSS)
    assert 200 == answer.status_code, answer.text
    return int(answer.json()["forgotten"])


async def test_kept_answers_are_forgotten_all_or_those_of_one_key_and_only_by_an_administrator() -> None:
    async with team() as (client, _):
        ann, bob = await made(client), await made(client)
        asks = [{**ON, **bearer(key)} for key in (ann, bob)]
        for headers in asks:
            await said(client, headers, model="math")
        stranger = await client.delete(CACHE, headers=bearer(ann))
        counts = [await forgotten(client, key=str(ann["id"]))]
        one = [await said(client, headers, model="math") for headers in asks]
        counts.append(await forgotten(client))
        everybody = [await said(client, headers, model="math") for headers in asks]

    assert stranger.status_code in (401, 403)
    assert [1, 2] == counts
    assert ["miss", "hit", "miss", "miss"] == outcomes(*one, *everybody)


async def test_an_answer_under_way_when_answers_are_forgotten_is_not_kept() -> None:
    async with team() as (client, (math, _)):
        math.word_delay = 0.05
        first = asyncio.create_task(said(client, model="math"))
        await until(lambda: math.running)
        await forgotten(client)
        before, after = await first, await said(client, model="math")

    assert ["miss", "miss"] == outcomes(before, after)


@pytest.mark.redis
@pytest.mark.slow
async def test_what_one_gateway_forgets_all_forget(tmp_path: Path) -> None:
    expert = Counting()
    with redis_server() as redis:
        async with serving(expert), gateways(2, tmp_path, redis, expert) as (one, two):
            await said(one, model="math")
            shared = await said(two, model="math")
            expert.word_delay = 0.3
            under_way = asyncio.create_task(said(two, model="math", text="Slowly, please."))
            await until(lambda: expert.running)
            count = await forgotten(one)
            await under_way
            expert.word_delay = 0
            again = await said(two, model="math")
            slow = await said(two, model="math", text="Slowly, please.")

    assert 1 == count
    assert ["hit", "miss", "miss"] == outcomes(shared, again, slow)


@pytest.mark.slow
async def test_gateways_on_one_file_each_with_answers_of_its_own_all_forget_within_a_second(tmp_path: Path) -> None:
    expert = Counting()
    async with serving(expert), on_one_file(2, tmp_path, [expert_record("math", expert)]) as (one, two):
        kept = [await said(client, model="math") for client in (one, one, two, two)]
        count, begun = await forgotten(one), time.monotonic()
        while outcomes(await said(two, model="math")) == ["hit"]:
            assert time.monotonic() < begun + 4  # on a busy machine
        again = [await said(client, model="math") for client in (one, two)]

    assert ["miss", "hit", "miss", "hit"] == outcomes(*kept)
    assert 1 == count
    assert ["miss", "hit"] == outcomes(*again)
