"""Places at an expert are bounded, and so is the queue for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.admission import Admission, background_places
from experts.config import LimitsConfig
from experts.errors import ExpertOverloaded, ExpertTimeout
from experts.types import BATCH_PRIORITY

LIMITS = LimitsConfig(max_in_flight=1, max_queue=1)


async def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    admission, release = Admission(), asyncio.Event()

    async def hold() -> None:
        async with admission.place("math", LIMITS, 5):
            await release.wait()

    holders = [asyncio.create_task(hold()), asyncio.create_task(hold())]
    await asyncio.sleep(0.01)
    with pytest.raises(ExpertOverloaded, match="1 requests waiting"):
        async with admission.place("math", LIMITS, 5):
            pass
    assert (1, 1) == (admission.running["math"], admission.waiting["math"])
    release.set()
    await asyncio.gather(*holders)
    async with admission.place("math", LIMITS, 5):
        assert 1 == admission.running["math"]
    assert (0, 0) == (admission.running["math"], admission.waiting["math"])


async def test_waiting_for_a_place_ends_in_time() -> None:
    admission = Admission()
    async with admission.place("math", LIMITS, 5):
        with pytest.raises(ExpertTimeout, match="no free place in 0.05 s"):
            async with admission.place("math", LIMITS, 0.05):
                pass
    assert 0 == admission.waiting["math"]


async def test_a_spare_place_is_one_that_is_free_and_that_nobody_waits_for() -> None:
    admission, three = Admission(), LimitsConfig(max_in_flight=3)
    async with admission.place("math", three, 5), admission.place("math", three, 5):
        give_back = admission.spare("math", three)
        assert give_back is not None
        assert 3 == admission.running["math"]
        assert None is admission.spare("math", three)
        waiting = asyncio.create_task(admission.place("math", three, 5).__aenter__())
        await asyncio.sleep(0)
        give_back()
        await waiting
        assert (3, 0) == (admission.running["math"], admission.waiting["math"])
        assert None is admission.spare("math", three)


async def test_experts_do_not_share_places() -> None:
    admission = Admission()
    async with admission.place("math", LIMITS, 5), admission.place("law", LIMITS, 0.05):
        assert {"math": 1, "law": 1} == admission.running


def steps() -> st.SearchStrategy[list[tuple[str, int, int]]]:
    come = st.tuples(st.just("come"), st.sampled_from([-100, -5, 0, 0, 7]), st.integers(0, 2))
    go = st.tuples(st.sampled_from(["done", "cancel"]), st.just(0), st.integers(0, 30))
    resize = st.tuples(st.just("resize"), st.integers(1, 9), st.just(0))
    return st.lists(st.one_of(come, come, go, go, resize), max_size=60)


@dataclass
class Caller:
    """One call and what became of it; `came` is its rank of arrival."""

    priority: int
    came: int
    client: str
    task: asyncio.Task[None] | None = None
    inside: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, admission: Admission, places: int) -> None:
        limits = LimitsConfig(max_in_flight=places, max_queue=4)
        async with admission.place("math", limits, 60, self.priority, self.client):
            self.inside = True
            try:
                await self.done.wait()
            finally:
                self.inside = False


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def first_in_line(waiting: list[Caller]) -> Caller:
    return min(waiting, key=lambda caller: (-caller.priority, caller.came))


@given(steps())
async def test_no_place_is_lost_whoever_comes_goes_or_gives_up(script: list[tuple[str, int, int]]) -> None:
    admission, callers, places = Admission(), list[Caller](), 3
    for came, (what, value, which) in enumerate(script):
        inside = [caller for caller in callers if caller.inside]
        if what == "resize":
            places = value
        elif what == "come":
            caller = Caller(value, came, f"client {which}")
            caller.task = asyncio.create_task(caller.call(admission, places))
            callers.append(caller)
        elif what == "done" and inside:
            inside[which % len(inside)].done.set()
        elif what == "cancel" and (live := [c for c in callers if c.task and not c.task.done()]):
            task = live[which % len(live)].task
            assert task
            task.cancel()
        await settle()
        applied = admission._lanes["math"].places if "math" in admission._lanes else places
        inside = [caller for caller in callers if caller.inside]
        waiting = [c for c in callers if c.task and not c.task.done() and not c.inside]
        assert len(inside) == admission.running.get("math", 0)
        assert sum(c.priority > -100 for c in waiting) == admission.waiting.get("math", 0)
        if waiting and len(inside) < applied:
            assert -100 == first_in_line(waiting).priority
            assert any(c.priority == -100 for c in inside)
            assert len(inside) >= background_places(applied)
    for caller in callers:
        caller.done.set()
    await asyncio.gather(*(c.task for c in callers if c.task), return_exceptions=True)
    assert 0 == admission.running.get("math", 0) == admission.waiting.get("math", 0)


async def served(priorities: list[int], places: int = 1) -> list[int]:
    """Let calls queue behind one that holds all places, and return in which order they were served."""
    admission, order, limits = Admission(), list[int](), LimitsConfig(max_in_flight=places)

    async def call(rank: int, priority: int) -> None:
        async with admission.place("math", limits, 5, priority):
            order.append(rank)

    async with AsyncExitStack() as stack:
        for _ in range(places):
            await stack.enter_async_context(admission.place("math", limits, 5))
        tasks = [asyncio.create_task(call(rank, priority)) for rank, priority in enumerate(priorities)]
        await settle()
    await asyncio.gather(*tasks)
    return order


async def test_higher_priority_goes_first_and_equals_in_the_order_they_came() -> None:
    assert [2, 4, 0, 3, 1, 5] == await served([0, -100, 10, 0, 10, -100])


async def test_background_work_leaves_places_free() -> None:
    admission, limits = Admission(), LimitsConfig(max_in_flight=16, max_queue=64)
    async with AsyncExitStack() as stack:
        for _ in range(background_places(16)):
            await stack.enter_async_context(admission.place("math", limits, 0.05, BATCH_PRIORITY))
        with pytest.raises(ExpertTimeout):
            async with admission.place("math", limits, 0.05, BATCH_PRIORITY):
                pass
        async with admission.place("math", limits, 0), admission.place("math", limits, 0):
            assert 16 == admission.running["math"]


async def test_what_others_hold_counts_too_but_one_batch_call_always_gets_on() -> None:
    admission, limits = Admission(), LimitsConfig(max_in_flight=8)
    async with AsyncExitStack() as stack:
        for _ in range(7):
            await stack.enter_async_context(admission.place("math", limits, 0))
        async with admission.place("math", limits, 0, BATCH_PRIORITY):
            assert 8 == admission.running["math"]
    async with AsyncExitStack() as stack:
        for priority in (0, 0, 0, 0, 0, BATCH_PRIORITY, BATCH_PRIORITY):
            await stack.enter_async_context(admission.place("math", limits, 0, priority))
        with pytest.raises(ExpertTimeout):
            async with admission.place("math", limits, 0, BATCH_PRIORITY):
                pass


@pytest.mark.parametrize(("places", "background"), [(1, 1), (2, 1), (3, 2), (8, 7), (16, 14), (64, 56)])
def test_an_eighth_of_the_places_stays_free(places: int, background: int) -> None:
    assert background == background_places(places)


async def test_waiting_background_work_fills_nobody_elses_queue() -> None:
    admission, limits = Admission(), LimitsConfig(max_in_flight=1, max_queue=1)

    async def call(priority: int) -> None:
        async with admission.place("math", limits, 5, priority):
            pass

    async with admission.place("math", limits, 5):
        tasks = [asyncio.create_task(call(BATCH_PRIORITY)), asyncio.create_task(call(0))]
        await settle()
        assert 1 == admission.waiting["math"]
    await asyncio.gather(*tasks)


async def test_more_places_serve_at_once_who_waits() -> None:
    admission = Admission()
    one, two = LimitsConfig(max_in_flight=1), LimitsConfig(max_in_flight=2)
    async with admission.place("math", one, 5), admission.place("math", two, 0):
        assert 2 == admission.running["math"]


async def crowd(
    clients: list[str], limits: LimitsConfig, shares: Mapping[str, int] = MappingProxyType({})
) -> tuple[list[str], list[str]]:
    """Let calls queue up behind one that holds the only place; return who was served, in order, and who was not."""
    admission, served, refused = Admission(), list[str](), list[str]()

    async def call(client: str) -> None:
        try:
            async with admission.place("math", limits, 5, client=client, share=shares.get(client, 1)):
                served.append(client)
        except ExpertOverloaded:
            refused.append(client)

    async with admission.place("math", limits, 5, client="first"):
        tasks = [asyncio.create_task(call(client)) for client in clients]
        await settle()
    await asyncio.gather(*tasks)
    assert (0, 0) == (admission.running["math"], admission.waiting["math"])
    return served, refused


async def test_one_client_floods_and_another_waits_for_one_turn_at_most() -> None:
    served, _ = await crowd([*["flood"] * 50, "one", *["flood"] * 50, "two", "two"], LimitsConfig(max_in_flight=1))

    assert ["flood", "one", "two", "flood", "two", *["flood"] * 98] == served


async def test_a_client_with_a_larger_share_has_as_many_more_turns() -> None:
    shares = {"team": 3, "one": 1}
    served, _ = await crowd([*["team"] * 8, *["one"] * 4], LimitsConfig(max_in_flight=1), shares)

    assert [*["team"] * 3, "one", *["team"] * 3, "one", *["team"] * 2, "one", "one"] == served


async def test_in_a_full_queue_the_newest_call_of_who_has_most_makes_room() -> None:
    served, refused = await crowd([*["flood"] * 6, "one", "two"], LimitsConfig(max_in_flight=1, max_queue=4))

    assert ["flood", "one", "two", "flood"] == served
    assert ["flood"] * 4 == refused


async def test_in_a_full_queue_a_higher_priority_takes_the_place_of_the_newest_of_the_lowest() -> None:
    assert ([3, 0, 1], [2]) == await of_full_queue([0, 0, 0, 7])
    assert ([0, 1, 2], [3]) == await of_full_queue([7, 0, 0, 0])


async def of_full_queue(priorities: list[int]) -> tuple[list[int], list[int]]:
    """Return who is served, in order, and who is not, of calls that find three places in the queue."""
    admission, served, refused = Admission(), list[int](), list[int]()
    limits = LimitsConfig(max_in_flight=1, max_queue=3)

    async def call(rank: int, priority: int) -> None:
        try:
            async with admission.place("math", limits, 5, priority):
                served.append(rank)
        except ExpertOverloaded:
            refused.append(rank)

    async with admission.place("math", limits, 5):
        tasks = [asyncio.create_task(call(rank, priority)) for rank, priority in enumerate(priorities)]
        await settle()
    await asyncio.gather(*tasks)
    return served, refused


async def test_who_has_most_in_a_full_queue_is_told_to_come_back() -> None:
    served, refused = await crowd(["one", "two", "one"], LimitsConfig(max_in_flight=1, max_queue=2))

    assert (["one", "two"], ["one"]) == (served, refused)
