"""The dispatcher against servers with knobs: attempts, stand-ins, deadlines, places. Real sockets, no gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from experts.backends import BACKENDS, make_client
from experts.config import ExpertConfig, HedgeConfig
from experts.dispatcher import Dispatcher
from experts.errors import ExpertOverloaded, ExpertRejected, ExpertTimeout, ExpertUnavailable
from experts.health import HealthBoard
from experts.registry import Expert, Registry, static_replicas
from experts.types import ExpertCall
from tests.fakes.expert import FakeExpert, serving

HELLO = ({"role": "user", "content": "hello"},)


@asynccontextmanager
async def dispatching(**experts: Any) -> AsyncIterator[Dispatcher]:
    """Yield a dispatcher over experts given as name=(fakes, more config)."""

    def built(name: str, fakes: list[FakeExpert], **more: Any) -> Expert:
        record = {"name": name, "replicas": [{"base_url": fake.url} for fake in fakes], **more}
        config = ExpertConfig.model_validate(record)
        return Expert(config, config.profile(), static_replicas(config))

    registry = Registry(built(name, fakes, **more) for name, (fakes, more) in experts.items())
    async with make_client() as client:
        yield Dispatcher(registry, {name: kind(client) for name, kind in BACKENDS.items()}, HealthBoard())


async def test_a_stand_in_gets_its_turn_even_when_every_replica_is_dead() -> None:
    dead, alive = [FakeExpert(status=500) for _ in range(4)], FakeExpert(reply=lambda _: "ok")
    async with serving(*dead, alive), dispatching(math=(dead, {}), base=([alive], {})) as dispatcher:
        answer = await dispatcher.open(ExpertCall("math", HELLO), ["base"]).read()

    assert ("ok", "base", 3) == (answer.text, answer.expert, answer.facts.attempts)
    assert ["math: ExpertUnavailable"] * 2 == answer.facts.failures


async def test_attempts_are_bounded() -> None:
    dead = [FakeExpert(status=500) for _ in range(6)]
    async with serving(*dead), dispatching(math=(dead, {})) as dispatcher:
        stream = dispatcher.open(ExpertCall("math", HELLO))
        with pytest.raises(ExpertUnavailable):
            await stream.read()

    assert 3 == stream.facts.attempts == sum(len(fake.requests) for fake in dead)


async def test_hedges_are_attempts_too() -> None:
    dead = [FakeExpert(first_token_delay=0.2, hang_up_after=0) for _ in range(6)]
    hedge = {"share": 0.2, "after_seconds": 0.05}
    async with serving(*dead), dispatching(math=(dead, {"hedge": hedge})) as dispatcher:
        for _ in range(20):
            dispatcher.hedges.patience("math", HedgeConfig(share=0.2))
        stream = dispatcher.open(ExpertCall("math", HELLO))
        with pytest.raises(ExpertUnavailable):
            await stream.read()

    assert (3, 1) == (stream.facts.attempts, stream.facts.hedges)
    assert 3 == sum(len(fake.requests) for fake in dead)


async def test_a_hedge_has_a_place_of_its_own_until_the_race_is_over() -> None:
    fakes = [FakeExpert(first_token_delay=0.3) for _ in range(3)]
    extra = {"hedge": {"share": 0.2, "after_seconds": 0.05}, "limits": {"max_in_flight": 2}}
    most = 0
    async with serving(*fakes), dispatching(math=(fakes, extra)) as dispatcher:
        for _ in range(20):
            dispatcher.hedges.patience("math", HedgeConfig(share=0.2))
        first = dispatcher.open(ExpertCall("math", HELLO))
        calls = [asyncio.create_task(first.read())]
        await asyncio.sleep(0.15)
        raced = dispatcher.admission.running["math"]
        calls += [asyncio.create_task(dispatcher.open(ExpertCall("math", HELLO)).read()) for _ in range(3)]
        while not all(call.done() for call in calls):
            most = max(most, sum(fake.running for fake in fakes))
            await asyncio.sleep(0.005)
        left = dispatcher.admission.running["math"]

    assert 1 == first.facts.hedges
    assert (2, 2, 0) == (raced, most, left)


async def test_a_whole_answer_that_breaks_off_is_asked_of_another_replica() -> None:
    breaks, whole = FakeExpert(reply=lambda _: "one two", hang_up_after=1), FakeExpert(reply=lambda _: "one two")
    async with serving(breaks, whole), dispatching(math=([breaks, whole], {})) as dispatcher:
        dispatcher.health.of(whole.url).in_flight = 1
        answer = await dispatcher.open(ExpertCall("math", HELLO, joined=True)).read()

    assert ("one two", 2) == (answer.text, answer.facts.attempts)


async def test_a_refused_request_is_tried_once() -> None:
    fakes = [FakeExpert(status=422), FakeExpert(status=422)]
    async with serving(*fakes), dispatching(math=(fakes, {})) as dispatcher:
        stream = dispatcher.open(ExpertCall("math", HELLO))
        with pytest.raises(ExpertRejected):
            await stream.read()

    assert 1 == stream.facts.attempts
    assert not any(dispatcher.health.rests(fake.url) for fake in fakes)


async def test_an_overloaded_replica_rests_as_long_as_it_asks_while_another_serves() -> None:
    busy, free = FakeExpert(status=429, retry_after="30"), FakeExpert(reply=lambda _: "ok")
    async with serving(busy, free), dispatching(math=([busy, free], {})) as dispatcher:
        texts = [(await dispatcher.open(ExpertCall("math", HELLO)).read()).text for _ in range(6)]

    assert ["ok"] * 6 == texts
    assert len(busy.requests) <= 1
    assert 0 == dispatcher.health.of(busy.url).faults_in_a_row


async def test_a_role_alone_is_not_yet_an_answer_so_another_replica_takes_over() -> None:
    mute, alive = FakeExpert(reply=lambda _: "lost", hang_up_after=0), FakeExpert(reply=lambda _: "ok")
    async with serving(mute, alive), dispatching(math=([mute, alive], {})) as dispatcher:
        answers = [await dispatcher.open(ExpertCall("math", HELLO)).read() for _ in range(3)]

    assert ["ok"] * 3 == [answer.text for answer in answers]


async def test_the_first_token_has_its_own_deadline_and_the_next_replica_is_asked() -> None:
    slow, quick = FakeExpert(first_token_delay=5), FakeExpert(reply=lambda _: "ok")
    limits = {"limits": {"first_token_timeout_seconds": 0.3}}
    async with serving(slow, quick), dispatching(math=([slow, quick], limits)) as dispatcher:
        dispatcher.health.of(quick.url).in_flight = 1
        answer = await dispatcher.open(ExpertCall("math", HELLO)).read()

    assert ("ok", 2) == (answer.text, answer.facts.attempts)


async def test_a_stall_between_tokens_ends_in_time() -> None:
    stalls = FakeExpert(reply=lambda _: "one two", word_delay=5)
    async with serving(stalls), dispatching(math=([stalls], {"limits": {"idle_timeout_seconds": 0.3}})) as dispatcher:
        begun = time.monotonic()
        with pytest.raises(ExpertTimeout, match="rest of its answer"):
            await dispatcher.open(ExpertCall("math", HELLO)).read()

    assert time.monotonic() - begun < 2


async def test_all_attempts_share_one_deadline() -> None:
    slow = [FakeExpert(first_token_delay=5) for _ in range(3)]
    async with serving(*slow), dispatching(math=(slow, {})) as dispatcher:
        begun = time.monotonic()
        with pytest.raises(ExpertTimeout):
            await dispatcher.open(ExpertCall("math", HELLO, deadline_seconds=0.4)).read()

    assert time.monotonic() - begun < 2


async def test_a_full_queue_refuses_while_what_runs_goes_on() -> None:
    fake = FakeExpert(reply=lambda _: "one two three", word_delay=0.1)
    limits = {"limits": {"max_in_flight": 1, "max_queue": 1}}
    async with serving(fake), dispatching(math=([fake], limits)) as dispatcher:
        reads = [asyncio.create_task(dispatcher.open(ExpertCall("math", HELLO)).read()) for _ in range(3)]
        outcomes = await asyncio.gather(*reads, return_exceptions=True)

    refused = [outcome for outcome in outcomes if isinstance(outcome, ExpertOverloaded)]
    assert 1 == len(refused)
    assert 2 == len(fake.requests)
    assert 0 == dispatcher.admission.running["math"]


async def test_an_expert_that_left_the_registry_is_unavailable_not_a_bug() -> None:
    fake = FakeExpert()
    async with serving(fake), dispatching(math=([fake], {})) as dispatcher:
        with pytest.raises(ExpertUnavailable, match="not registered any more"):
            await dispatcher.open(ExpertCall("gone", HELLO)).read()


async def test_a_stream_that_is_never_awaited_sends_nothing() -> None:
    fake = FakeExpert()
    async with serving(fake), dispatching(math=([fake], {})) as dispatcher:
        await dispatcher.open(ExpertCall("math", HELLO)).aclose()

    assert [] == fake.requests
