"""Promises of every store, whatever keeps its documents. A new twin is one line in `OPENERS`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from experts.store import ABSENT, Change, SqliteStore, Store, StoreError, VersionConflict
from experts.store.redis import RedisStore
from tests.redis_server import redis_server

ROOT = Path(__file__).parent.parent.parent
URL = "REDIS_OF_THE_TESTS"
"""Where the tests' own Redis is told to the processes that they start."""


def in_redis(folder: Path) -> Store:
    """Return a store of the tests' Redis; a folder is a namespace there."""
    return RedisStore(os.environ[URL], hashlib.sha256(str(folder).encode()).hexdigest()[:16])


Opener = Callable[[Path], Store]
OPENERS: dict[str, Opener] = {
    "sqlite": lambda folder: SqliteStore(folder / "store.db", poll_seconds=0.05),
    "redis": in_redis,
}
ALONE: dict[str, Opener] = {"sqlite in memory": lambda _: SqliteStore(":memory:")}
"""Stores that no second process can open."""


@pytest.fixture(scope="module")
def redis_there() -> Iterator[None]:
    with redis_server() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv(URL, server.url)
        yield


def kinds(*names: str) -> list[Any]:
    """Return names as parameters; those that need a Redis are marked."""
    return [pytest.param(name, marks=[pytest.mark.redis] if name == "redis" else []) for name in names]


@pytest.fixture(autouse=True)
def _redis_where_it_is_needed(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("redis"):
        request.getfixturevalue("redis_there")


@pytest.fixture(params=kinds(*OPENERS, *ALONE))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = {**OPENERS, **ALONE}[request.param](tmp_path)
    yield opened
    await opened.aclose()


@pytest.fixture(params=kinds(*OPENERS))
def opener(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


async def first(count: int, changes: AsyncIterator[Change]) -> list[Change]:
    found: list[Change] = []
    async with asyncio.timeout(10):
        async for change in changes:
            found.append(change)
            if len(found) == count:
                break
    return found


async def test_what_was_put_is_got(store: Store) -> None:
    body = {"text": "größer \u2028 \U0001f600", "deep": [1, 2.5, None, {"x": True}]}

    put = await store.put("a/b", body)

    assert put == await store.get("a/b")
    assert body == put.body


async def test_nothing_is_none(store: Store) -> None:
    assert None is await store.get("nobody")
    assert [] == await store.find()


async def test_every_change_anywhere_gets_a_higher_version(store: Store) -> None:
    versions = [(await store.put(key, {})).version for key in ("a", "b", "a")]

    assert ABSENT < versions[0] < versions[1] < versions[2]


async def test_an_expected_version_guards_against_lost_updates(store: Store) -> None:
    mine = await store.put("a", {"n": 1})
    theirs = await store.put("a", {"n": 2}, expected=mine.version)

    with pytest.raises(VersionConflict) as caught:
        await store.put("a", {"n": 3}, expected=mine.version)

    assert (mine.version, theirs.version) == (caught.value.expected, caught.value.found)
    assert theirs == await store.get("a")


async def test_absent_means_it_must_be_new(store: Store) -> None:
    await store.put("a", {"n": 1}, expected=ABSENT)

    with pytest.raises(VersionConflict):
        await store.put("a", {"n": 2}, expected=ABSENT)

    assert await store.delete("a")
    await store.put("a", {"n": 3}, expected=ABSENT)


async def test_of_many_who_write_at_once_with_the_same_version_one_wins(store: Store) -> None:
    begun = await store.put("a", {"by": None})

    async def write(name: int) -> bool:
        try:
            await store.put("a", {"by": name}, expected=begun.version)
        except VersionConflict:
            return False
        return True

    won = await asyncio.gather(*[write(name) for name in range(20)])

    found = await store.get("a")
    assert 1 == sum(won)
    assert found is not None
    assert won.index(True) == found.body["by"]


async def test_a_removed_document_is_gone_and_removing_it_twice_says_so(store: Store) -> None:
    put = await store.put("a", {})
    with pytest.raises(VersionConflict):
        await store.delete("a", expected=put.version + 5)

    assert (True, False) == (await store.delete("a", expected=put.version), await store.delete("a"))
    assert None is await store.get("a")
    assert [] == await store.find()


async def test_a_list_is_by_prefix_and_sorted(store: Store) -> None:
    for key in ("b/2", "a/1", "b/10", "B/1", "b", "b%", "b_"):
        await store.put(key, {"key": key})

    assert ["b/10", "b/2"] == [document.key for document in await store.find("b/")]
    assert 7 == len(await store.find())
    assert ["b%"] == [document.key for document in await store.find("b%")]


async def test_a_watcher_sees_what_was_there_then_what_comes(store: Store) -> None:
    await store.put("x/old", {"n": 1})
    async with aclosing(store.watch("x/")) as changes:
        assert ["x/old"] == [change.key for change in await first(1, changes)]
        waiting = asyncio.create_task(anext(changes))
        await asyncio.sleep(0.05)
        await store.put("elsewhere", {})
        put = await store.put("x/new", {"n": 2})
        async with asyncio.timeout(10):
            change = await waiting

    assert ("x/new", put.version, put) == (change.key, change.version, change.document)


async def test_a_watcher_begins_where_it_left_off_and_sees_removals(store: Store) -> None:
    seen = await store.put("a", {})
    await store.put("b", {})
    await store.delete("a")

    found = await first(2, store.watch(after=seen.version))

    assert [("b", True), ("a", False)] == [(change.key, change.document is not None) for change in found]


async def test_watchers_end_when_the_store_is_closed(store: Store) -> None:
    async def drain() -> list[Change]:
        return [change async for change in store.watch()]

    waiting = asyncio.create_task(drain())
    await asyncio.sleep(0.05)
    await store.aclose()
    async with asyncio.timeout(5):
        assert [] == await waiting


async def test_a_closed_store_refuses_to_write(store: Store) -> None:
    before = store.closed
    await store.aclose()

    assert (False, True) == (before, store.closed)
    with pytest.raises(StoreError):
        await store.put("a", {})


async def test_what_is_not_json_is_refused_and_nothing_is_written(store: Store) -> None:
    with pytest.raises(TypeError):
        await store.put("a", {"x": object()})

    assert None is await store.get("a")


async def test_documents_survive_closing(opener: Opener, tmp_path: Path) -> None:
    before = opener(tmp_path)
    put = await before.put("a", {"n": 1})
    await before.aclose()

    after = opener(tmp_path)
    found: Any = await after.get("a")
    later = await after.put("b", {})
    await after.aclose()

    assert put == found
    assert later.version > put.version


async def test_two_who_share_a_store_see_each_others_changes_and_conflicts(opener: Opener, tmp_path: Path) -> None:
    ours, theirs = opener(tmp_path), opener(tmp_path)
    waiting = asyncio.create_task(first(1, theirs.watch("a")))
    await asyncio.sleep(0.05)

    put = await ours.put("a", {"n": 1})

    assert [put] == [change.document for change in await waiting]
    await theirs.put("a", {"n": 2}, expected=put.version)
    with pytest.raises(VersionConflict):
        await ours.put("a", {"n": 3}, expected=put.version)
    await ours.aclose()
    await theirs.aclose()


async def test_many_may_open_a_new_store_at_the_same_moment(opener: Opener, tmp_path: Path) -> None:
    stores = [opener(tmp_path) for _ in range(12)]

    put = await asyncio.gather(*[store.put(f"k{number}", {}) for number, store in enumerate(stores)])

    assert 12 == len({document.version for document in put}) == len(await stores[0].find())
    await asyncio.gather(*[store.aclose() for store in stores])


def test_a_store_nobody_wrote_to_leaves_no_trace(opener: Opener, tmp_path: Path) -> None:
    async def look() -> None:
        store = opener(tmp_path)
        await store.get("a")
        await store.aclose()

    asyncio.run(look())

    assert [] == list(tmp_path.iterdir())


WRITER = """
import asyncio, sys
from pathlib import Path
from tests.contracts.test_stores import OPENERS

async def main():
    store = OPENERS[sys.argv[1]](Path(sys.argv[2]))
    for number in range(10**9):
        await store.put("n", {"n": number})
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", kinds(*OPENERS))
def test_what_was_acknowledged_survives_kill_nine(kind: str, tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, kind, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    for _ in range(20):
        acknowledged = int(writer.stdout.readline())
    writer.kill()
    acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
    writer.stdout.close()
    writer.wait()

    async def read() -> int:
        store = OPENERS[kind](tmp_path)
        found = await store.get("n")
        await store.put("m", {})
        await store.aclose()
        return -1 if found is None else int(found.body["n"])

    assert acknowledged <= asyncio.run(read()) <= acknowledged + 1
