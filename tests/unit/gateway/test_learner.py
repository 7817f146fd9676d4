"""The state of what was learnt, shared by processes, kept in versions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from experts.profile import SkillProfile
from experts.store import SqliteStore, StoreError
from gateway.errors import InvalidRequest
from gateway.learning import STATE, Learner
from router.learning import LearningConfig, Mark

ABOUT = {"math": 1.0}
POOL = (SkillProfile("a"), SkillProfile("b"))


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(":memory:", poll_seconds=0.02)
    yield opened
    await opened.aclose()


def learner(store: SqliteStore, **settings: float | str | bool) -> Learner:
    return Learner(store, LearningConfig.model_validate({"daily_shift": 100, **settings}))


async def praise(who: Learner, expert: str = "a", score: float = 1.0, times: int = 1) -> None:
    for _ in range(times):
        await who.learn(ABOUT, {expert: Mark(score, 0.0)}, "anna")


async def test_a_hundred_lessons_at_once_are_all_learnt(store: SqliteStore) -> None:
    who = learner(store)

    await asyncio.gather(*(praise(who, f"expert{number}") for number in range(100)))

    assert (100, 100) == (who.state.version, len(who.state.offsets))


async def test_two_processes_lose_none_of_each_others_lessons(store: SqliteStore) -> None:
    one, two = learner(store), learner(store)

    await asyncio.gather(praise(one, "a", times=10), praise(two, "b", times=10))
    fresh = learner(store)
    await fresh.load()

    assert 20 == fresh.state.version
    assert fresh.state.offsets["a"] == pytest.approx(fresh.state.offsets["b"])


async def test_what_another_process_learns_is_followed(store: SqliteStore) -> None:
    one, two = learner(store), learner(store)
    following = asyncio.create_task(two.follow())
    await praise(one)
    async with asyncio.timeout(5):
        while two.state.version < 1:
            await asyncio.sleep(0.01)
    following.cancel()

    assert one.overlaid(POOL) == two.overlaid(POOL)
    assert two.overlaid(POOL)[0].shift("math") > 0


async def test_profiles_stay_the_very_same_until_something_is_learnt(store: SqliteStore) -> None:
    who = learner(store)
    assert POOL is who.overlaid(POOL)

    await praise(who)
    before = who.overlaid(POOL)
    assert before is who.overlaid(tuple(POOL))
    await praise(who)

    assert before is not who.overlaid(POOL)


async def test_versions_are_kept_up_to_their_number_and_returned_to_exactly(store: SqliteStore) -> None:
    who = learner(store, checkpoint_every=10, checkpoints=3)
    await praise(who, times=20)
    twentieth = who.overlaid(POOL)
    await praise(who, score=0.0, times=25)

    assert [0, 20, 30, 40] == await who.versions()
    await who.rollback(20)

    assert twentieth == who.overlaid(POOL)
    assert (46, 1) == (who.state.version, who.state.epoch)
    assert [0, 20] == await who.versions()


async def test_without_a_version_the_newest_before_now_is_returned_to(store: SqliteStore) -> None:
    who = learner(store, checkpoint_every=10)
    with pytest.raises(InvalidRequest, match="no version"):
        await who.rollback()
    await praise(who, times=15)
    tenth = await store.get("learning/checkpoint/000000000010")

    await who.rollback()

    assert tenth is not None
    assert tenth.body["offsets"] == who.state.offsets


async def test_a_store_that_fails_teaches_nothing_and_says_so(store: SqliteStore) -> None:
    who = learner(store)
    await praise(who)
    await store.aclose()

    with pytest.raises(StoreError):
        await praise(who)
    assert 1 == who.state.version


async def test_a_state_of_another_format_is_refused_at_start(store: SqliteStore) -> None:
    await store.put(STATE, {"format": 99})

    with pytest.raises(StoreError, match="format 99"):
        await learner(store).load()


async def test_switched_off_nothing_is_laid_over_the_profiles(store: SqliteStore) -> None:
    await praise(learner(store))
    off = learner(store, enabled=False)
    await off.load()

    assert POOL is off.overlaid(POOL)
    assert 0.0 == off.shift("a", ABOUT)
