"""What only a store on a network can suffer: the server dies under its watchers, comes back, or comes back poorer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from redis import Redis

from experts.store import Change, StoreError, VersionConflict
from experts.store.redis import TOMBSTONES_SECONDS, RedisStore, where
from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.processes import free_port, started, wait_for
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.redis


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@asynccontextmanager
async def opened(url: str, *, poll_seconds: float = 2.0) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, poll_seconds=poll_seconds)
    try:
        yield store
    finally:
        await store.aclose()


async def next_of(changes: AsyncIterator[Change], seconds: float = 10) -> Change:
    async with asyncio.timeout(seconds):
        return await anext(changes)


async def test_watchers_outlive_a_killed_server_and_see_each_change_once(server: RedisServer) -> None:
    async with opened(server.url) as ours, opened(server.url) as theirs, aclosing(theirs.watch("a/")) as changes:
        await ours.put("a/1", {"n": 1})
        before = await next_of(changes)
        waiting = asyncio.create_task(next_of(changes, 30))
        await asyncio.sleep(0.1)
        server.kill()
        begun = time.monotonic()
        with pytest.raises(StoreError, match=r"127\.0\.0\.1"):
            await ours.put("a/2", {"n": 0})
        took = time.monotonic() - begun
        assert not waiting.done()
        server.start()
        await ours.put("a/2", {"n": 2})
        after = await waiting
        await ours.delete("a/1")
        removed = await next_of(changes)

    assert took < 6
    assert ["a/1", "a/2", "a/1"] == [before.key, after.key, removed.key]
    assert after.document is not None
    assert ({"n": 2}, None) == (after.document.body, removed.document)


async def test_a_change_of_another_process_is_heard_long_before_the_next_look(server: RedisServer) -> None:
    async with opened(server.url) as ours, opened(server.url, poll_seconds=60) as theirs:
        waiting = asyncio.create_task(next_of(theirs.watch()))
        await asyncio.sleep(0.2)
        begun = time.monotonic()
        await ours.put("a", {})
        await waiting
        took = time.monotonic() - begun

    assert took < 1


async def test_a_connection_that_was_cut_while_idle_is_not_noticed(server: RedisServer) -> None:
    async with opened(server.url) as store:
        put = await store.put("a", {"n": 1})
        server.kill()
        server.start()

        assert put == await store.get("a")
        assert put.version + 1 == (await store.put("a", {"n": 2}, expected=put.version)).version


async def test_a_write_that_is_sent_twice_is_done_once(server: RedisServer) -> None:
    async with opened(server.url) as store:
        put = await store.put("a", {"n": 1})
        sent = {"keys": store._keys, "args": ["a", str(put.version), "abc", '{"n":2}']}
        gone = {"keys": store._keys, "args": ["a", str(put.version + 1), "def", "60"]}

        assert [[1, 2], [1, 2]] == [await store._put(**sent), await store._put(**sent)]  # type: ignore[arg-type]
        assert [[1, 3], [1, 3]] == [await store._remove(**gone), await store._remove(**gone)]  # type: ignore[arg-type]
        assert None is await store.get("a")


async def test_a_server_that_lost_its_writes_is_read_from_the_beginning(server: RedisServer) -> None:
    async with opened(server.url, poll_seconds=0.1) as store, aclosing(store.watch()) as changes:
        for number in range(5):
            await store.put("a", {"n": number})
        await next_of(changes)
        with Redis(port=server.port) as client:
            client.flushall()
        await store.put("b", {"n": 1})

        found = await next_of(changes)

    assert ("b", 1) == (found.key, found.version)


async def test_removals_are_remembered_for_a_day(server: RedisServer) -> None:
    async with opened(server.url) as store:
        for key in ("old", "new"):
            await store.put(key, {})
            await store.delete(key)
        with Redis(port=server.port, decode_responses=True) as client:
            client.zadd("{consilium}:gone", {"old": time.time() - TOMBSTONES_SECONDS - 60})
            await store.put("last", {})
            await store.delete("last")
            kept = client.zrange("{consilium}:changes", 0, -1)
            entries = client.hkeys("{consilium}:documents")

    assert ["new", "last"] == kept
    assert {"new", "last"} == set(entries)


async def test_thousands_are_found_and_watched_in_order(server: RedisServer) -> None:
    async with opened(server.url) as store:
        for first in range(0, 3000, 100):
            numbers = range(first, first + 100)
            await asyncio.gather(*[store.put(f"k/{number:05d}", {"n": number}) for number in numbers])
        await store.put("l", {})

        found = await store.find("k/")
        async with aclosing(store.watch("k/")) as changes:
            seen = [(await next_of(changes)).version for _ in range(3000)]

    assert [*range(3000)] == [document.body["n"] for document in found]
    assert sorted(seen) == seen


async def test_only_who_writes_leaves_keys_and_all_of_them_are_in_the_namespace(server: RedisServer) -> None:
    with Redis(port=server.port, decode_responses=True) as client:
        async with opened(server.url) as store:
            await store.get("a")
            await store.find()
            before = client.dbsize()
            await store.put("a", {})
            await store.delete("a")
        keys = client.keys("*")

    assert 0 == before
    assert all(key.startswith("{consilium}:") for key in keys)


async def test_messages_never_show_the_password() -> None:
    url = f"redis://user:secret@127.0.0.1:{free_port()}/0"
    async with opened(url) as store:
        with pytest.raises(StoreError) as caught:
            await store.get("a")

    assert "secret" not in str(caught.value)
    assert "redis://10.0.0.1:1/2" == where("redis://user:secret@10.0.0.1:1/2")
    with pytest.raises(StoreError, match="no address of a Redis"):
        RedisStore("http://example.org")


async def test_of_two_gateways_that_count_up_none_loses_an_update(server: RedisServer) -> None:
    async with opened(server.url) as ours, opened(server.url) as theirs:

        async def count(store: RedisStore) -> None:
            done = 0
            while done < 50:
                found = await store.get("n")
                number, version = (found.body["n"], found.version) if found else (0, 0)
                try:
                    await store.put("n", {"n": number + 1}, expected=version)
                except VersionConflict:
                    continue
                done += 1

        await asyncio.gather(count(ours), count(theirs))
        found = await ours.get("n")

    assert found is not None
    assert 100 == found.body["n"]


def ask(text: str) -> dict[str, object]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}]}


async def quality(client: httpx.AsyncClient) -> float:
    shown = (await client.post("/v1/route", json=ask("Solve for x."))).json()["candidates"]
    return float(next(each["quality"] for each in shown if each["expert"] == "first"))


async def taught(client: httpx.AsyncClient, number: int) -> httpx.Response:
    """Ask something and say that the answer was bad."""
    chat = await client.post("/v1/chat/completions", json=ask(f"Solve for x. {number}"))
    assert 200 == chat.status_code, chat.text
    return await client.post("/v1/feedback", json={"request_id": chat.headers["x-request-id"], "score": 0.0})


async def until_it_is(wanted: float, client: httpx.AsyncClient) -> float:
    """Return the seconds until a gateway sees the same quality as another."""
    begun = time.monotonic()
    while abs(await quality(client) - wanted) > 1e-9:
        assert time.monotonic() - begun < 20, "it never saw the lesson"
        await asyncio.sleep(0.02)
    return time.monotonic() - begun


async def test_two_gateways_learn_together_and_chat_goes_on_while_redis_is_away(
    server: RedisServer, tmp_path: Path
) -> None:
    fake, ports = FakeExpert(), (free_port(), free_port())
    environment = {"CONSILIUM_REDIS_URL": server.url, "CONSILIUM_STORE": ""}
    async with serving(fake), AsyncExitStack() as stack:
        more = {"domains": ["math"], "examples": ["Solve for x."]}
        skills = {"first": 0.9, "second": 0.5}
        records = [
            expert_record(name, fake, **more, skills={"math": {"accuracy": accuracy, "count": 500}})
            for name, accuracy in skills.items()
        ]
        learning = {"step": 0.2, "daily_shift": 5}
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"experts": records, "routing": {"learning": learning}}))
        clients = []
        for port in ports:
            url, log = f"http://127.0.0.1:{port}", tmp_path / f"{port}.log"
            process = stack.enter_context(
                started("tests.integration.one_gateway", str(config), str(port), log=log, **environment)
            )
            await asyncio.to_thread(wait_for, f"{url}/health", process, log)
            clients.append(await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30)))
        ours, theirs = clients
        before = await quality(ours)
        assert "learned" == (await taught(ours, 1)).json()["outcome"]
        lower = await quality(ours)
        seen_after = await until_it_is(lower, theirs)

        server.kill()
        away = await taught(theirs, 2)
        server.start()
        assert "learned" == (await taught(theirs, 3)).json()["outcome"]
        lowest = await quality(theirs)
        await until_it_is(lowest, ours)

    assert lowest < lower < before
    assert seen_after < 1
    assert (503, "store_unavailable") == (away.status_code, away.json()["error"]["code"])
