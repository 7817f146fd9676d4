"""Experts that sleep and wake, behind the real dispatcher over real sockets; only the bed is a fake with delays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from experts.backends import BACKENDS, make_client
from experts.config import ExpertConfig
from experts.dispatcher import Dispatcher
from experts.errors import ExpertOverloaded, ExpertTimeout, ExpertUnavailable, LaunchError
from experts.health import HealthBoard
from experts.registry import Expert, Registry, static_replicas
from experts.residency.keeper import Keeper
from experts.residency.policy import Bounds, ResidencyPolicy
from experts.residency.standing import Server
from experts.types import BATCH_PRIORITY, ExpertAnswer, ExpertCall
from tests.fakes.expert import FakeExpert, serving

HELLO = ({"role": "user", "content": "hello"},)


class FakeBed:
    """Servers that take their time. Notes what it was told, and who was awake together."""

    def __init__(self, wake_seconds: float = 0.05, broken: tuple[str, ...] = ()) -> None:
        self.wake_seconds, self.broken = wake_seconds, broken
        self.awake: set[str] = set()
        self.most_awake = 0
        self.told: list[str] = []
        self.fallen: dict[str, str] = {}

    async def wake(self, server: str) -> None:
        self.told.append(f"wake {server}")
        self.awake.add(server)
        self.most_awake = max(self.most_awake, len(self.awake))
        await asyncio.sleep(self.wake_seconds)
        if server in self.broken:
            self.awake.discard(server)
            raise LaunchError(server, "it has no weights")

    async def put_to_sleep(self, server: str) -> None:
        self.told.append(f"sleep {server}")
        await asyncio.sleep(self.wake_seconds / 2)
        self.awake.discard(server)

    def fell(self, server: str) -> str | None:
        return self.fallen.pop(server, None)


@asynccontextmanager
async def keeper_over(bed: FakeBed, *names: str, max_waiting: int = 100) -> AsyncIterator[Keeper]:
    """Yield a keeper of servers of which one may be awake at a time."""
    policy = ResidencyPolicy([], Bounds(1, max_wait_seconds=0.5, min_dwell_seconds=0, prefetch=False))
    async with Keeper(policy, bed, max_waiting=max_waiting) as keeper:
        keeper.settle([Server(name) for name in names], {name: name for name in names})
        yield keeper


@asynccontextmanager
async def sleeping(
    bed: FakeBed, *, limits: dict[str, Any] | None = None, max_waiting: int = 100, **fakes: FakeExpert
) -> AsyncIterator[Dispatcher]:
    """Yield a dispatcher over experts of which one may be awake at a time; each is a server of its own."""

    def built(name: str, fake: FakeExpert) -> Expert:
        record = {"name": name, "replicas": [{"base_url": fake.url}], "limits": limits or {}}
        config = ExpertConfig.model_validate(record)
        return Expert(config, config.profile(), static_replicas(config))

    async with (
        serving(*fakes.values()),
        make_client() as client,
        keeper_over(bed, *fakes, max_waiting=max_waiting) as keeper,
    ):
        registry = Registry(built(name, fake) for name, fake in fakes.items())
        backends = {name: kind(client) for name, kind in BACKENDS.items()}
        yield Dispatcher(registry, backends, HealthBoard(), residency=keeper)


async def ask(dispatcher: Dispatcher, expert: str, *fallbacks: str, deadline: float | None = None) -> ExpertAnswer:
    return await dispatcher.open(ExpertCall(expert, HELLO, deadline_seconds=deadline), fallbacks).read()


def named(name: str, **knobs: Any) -> FakeExpert:
    return FakeExpert(models=(name,), reply=lambda _: name, **knobs)


async def test_the_first_request_wakes_the_expert_and_is_answered() -> None:
    bed = FakeBed()
    async with sleeping(bed, a=named("a"), b=named("b")) as dispatcher:
        assert "asleep" == dispatcher.residency.state("a")
        answer = await ask(dispatcher, "a")

        assert ("a", ["wake a"]) == (answer.text, bed.told)
        assert None is dispatcher.residency.state("a")
        assert "asleep" == dispatcher.residency.state("b")


async def test_interleaved_requests_are_grouped_and_never_two_are_awake() -> None:
    bed = FakeBed()
    async with sleeping(bed, a=named("a"), b=named("b"), c=named("c")) as dispatcher:
        names = ["a", "b", "c"] * 10
        answers = await asyncio.gather(*(ask(dispatcher, name) for name in names))

    assert names == [answer.text for answer in answers]
    assert 1 == bed.most_awake
    assert 3 == len([told for told in bed.told if told.startswith("wake")])


async def test_an_expert_that_answers_is_not_put_to_sleep_under_its_requests() -> None:
    bed = FakeBed(wake_seconds=0.01)
    slow = named("a", first_token_delay=1.0)
    async with sleeping(bed, a=slow, b=named("b")) as dispatcher:
        first = asyncio.create_task(ask(dispatcher, "a"))
        await asyncio.sleep(0.1)
        assert "b" == (await ask(dispatcher, "b")).text
        assert first.done(), "b has waited too long, and still a's answer comes first"

    assert ["wake a", "sleep a", "wake b"] == bed.told
    assert 0 == slow.aborted


async def test_the_first_token_counts_from_when_the_expert_is_awake() -> None:
    bed = FakeBed(wake_seconds=0.6)
    limits = {"first_token_timeout_seconds": 0.3}
    async with sleeping(bed, limits=limits, a=named("a")) as dispatcher:
        answer = await ask(dispatcher, "a")

    assert ("a", 1) == (answer.text, answer.facts.attempts)


async def test_the_deadline_includes_the_wait() -> None:
    async with sleeping(FakeBed(wake_seconds=5), a=named("a")) as dispatcher:
        begun = time.monotonic()
        with pytest.raises(ExpertTimeout, match="not in memory in time"):
            await ask(dispatcher, "a", deadline=0.2)

    assert time.monotonic() - begun < 2


async def test_a_stand_in_answers_for_an_expert_that_cannot_be_woken() -> None:
    bed = FakeBed(broken=("a",))
    async with sleeping(bed, a=named("a"), b=named("b")) as dispatcher:
        answer = await ask(dispatcher, "a", "b")
        assert ("b", ["a: ExpertUnavailable"]) == (answer.expert, answer.facts.failures)
        assert "failed" == dispatcher.residency.state("a")
        begun = time.monotonic()
        with pytest.raises(ExpertUnavailable, match="it has no weights"):
            await ask(dispatcher, "a")

    assert time.monotonic() - begun < 0.5, "while it rests nobody waits for it"
    assert 1 == bed.told.count("wake a")


async def test_a_client_that_leaves_while_waiting_leaves_nothing_behind() -> None:
    bed = FakeBed(wake_seconds=0.2)
    async with sleeping(bed, a=named("a"), b=named("b")) as dispatcher:
        gone = asyncio.create_task(ask(dispatcher, "b"))
        await asyncio.sleep(0.05)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert "a" == (await ask(dispatcher, "a")).text

    assert ["wake b", "sleep b", "wake a"] == bed.told


async def test_too_many_that_wait_for_one_sleeping_expert_are_told_to_come_back() -> None:
    async with sleeping(FakeBed(wake_seconds=0.3), max_waiting=2, a=named("a")) as dispatcher:
        background = ExpertCall("a", HELLO, priority=BATCH_PRIORITY)
        calls = [*(ExpertCall("a", HELLO) for _ in range(3)), background]
        outcomes = await asyncio.gather(*(dispatcher.open(call).read() for call in calls), return_exceptions=True)

    assert [False, False, True, False] == [isinstance(outcome, ExpertOverloaded) for outcome in outcomes]


async def test_a_server_that_somebody_stopped_is_woken_again() -> None:
    bed = FakeBed()
    async with sleeping(bed, a=named("a")) as dispatcher:
        await ask(dispatcher, "a")
        bed.fallen["a"] = "stopped"
        assert "a" == (await ask(dispatcher, "a")).text

    assert ["wake a", "wake a"] == bed.told


async def test_the_operator_wakes_and_puts_to_sleep() -> None:
    bed = FakeBed(wake_seconds=0.02)
    async with sleeping(bed, a=named("a")) as dispatcher:
        keeper = dispatcher.residency
        await keeper.wake("a")
        assert "waking" == keeper.state("a")
        await asyncio.sleep(0.1)
        await keeper.sleep("a")
        await asyncio.sleep(0.1)

        assert "asleep" == keeper.state("a")
        assert keeper.keeps("a")
        assert not keeper.keeps("somebody else")
