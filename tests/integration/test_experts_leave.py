"""What the dispatcher does for a call whose expert was drained, removed or changed since it was decided on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from experts.backends import BACKENDS, make_client
from experts.config import ExpertConfig
from experts.dispatcher import Dispatcher
from experts.errors import ExpertDraining, ExpertUnavailable
from experts.health import HealthBoard
from experts.registry import Expert, Registry, static_replicas
from experts.types import ExpertCall
from tests.fakes.expert import FakeExpert, serving

HELLO = ({"role": "user", "content": "hello"},)


def expert(name: str, fake: FakeExpert, **more: Any) -> Expert:
    config = ExpertConfig.model_validate({"name": name, "replicas": [{"base_url": fake.url}], **more})
    return Expert(config, config.profile(), static_replicas(config))


@asynccontextmanager
async def dispatching(*experts: Expert) -> AsyncIterator[tuple[Dispatcher, Registry]]:
    registry = Registry(experts)
    async with make_client() as client:
        backends = {name: kind(client) for name, kind in BACKENDS.items()}
        yield Dispatcher(registry, backends, HealthBoard()), registry


@pytest.mark.parametrize("left", ["removed", "drained"])
async def test_who_was_in_service_when_a_call_was_decided_on_still_answers_it(left: str) -> None:
    fake = FakeExpert(models=("math",))
    async with serving(fake), dispatching(expert("math", fake)) as (dispatcher, registry):
        decided = registry.snapshot
        stream = dispatcher.open(ExpertCall("math", HELLO))
        registry.swap([] if left == "removed" else [replace(expert("math", fake), drained=True)])
        now = await stream.read()
        later = await dispatcher.open(ExpertCall("math", HELLO), decided=decided).read()

    assert ["you said: hello"] * 2 == [now.text, later.text]


async def test_a_call_goes_where_its_expert_is_now() -> None:
    old, new = FakeExpert(status=500), FakeExpert()
    async with serving(old, new), dispatching(expert("math", old)) as (dispatcher, registry):
        stream = dispatcher.open(ExpertCall("math", HELLO))
        registry.swap([expert("math", new)])
        answer = await stream.read()

    assert (1, 0, 1) == (answer.facts.attempts, len(old.requests), len(new.requests))


async def test_a_drained_expert_gives_way_to_its_stand_in_and_without_one_says_so() -> None:
    fake, other = FakeExpert(), FakeExpert()
    async with serving(fake, other):
        experts = [replace(expert("math", fake), drained=True), expert("base", other)]
        async with dispatching(*experts) as (dispatcher, _):
            answer = await dispatcher.open(ExpertCall("math", HELLO), ["base"]).read()
            with pytest.raises(ExpertDraining) as draining:
                await dispatcher.open(ExpertCall("math", HELLO)).read()
            with pytest.raises(ExpertUnavailable) as gone:
                await dispatcher.open(ExpertCall("nobody", HELLO)).read()

    assert ("base", 0) == (answer.expert, len(fake.requests))
    assert (10.0, "math") == (draining.value.retry_after, draining.value.expert)
    assert not isinstance(gone.value, ExpertDraining)


async def test_changed_limits_hold_at_once_and_cut_nobody_off() -> None:
    fake = FakeExpert(word_delay=0.1)
    async with serving(fake), dispatching(expert("math", fake, limits={"max_in_flight": 2})) as (dispatcher, registry):

        async def most_at_once(calls: int) -> int:
            tasks = [asyncio.create_task(dispatcher.open(ExpertCall("math", HELLO)).read()) for _ in range(calls)]
            most = 0
            while not all(task.done() for task in tasks):
                most = max(most, fake.running)
                await asyncio.sleep(0.01)
            assert ["you said: hello"] * calls == [task.result().text for task in tasks]
            return most

        first = asyncio.create_task(most_at_once(4))
        await asyncio.sleep(0.1)
        registry.swap([expert("math", fake, limits={"max_in_flight": 1})])
        during = await most_at_once(2)
        before = await first
        after = await most_at_once(3)
        registry.swap([expert("math", fake, limits={"max_in_flight": 3})])
        wide = await most_at_once(6)

    assert (2, 2, 1, 3) == (before, during, after, wide)
    assert {} == dict(dispatcher.under_way)
