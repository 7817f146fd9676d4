"""Promises 9, 10, 12 and 13: every wait ends, and who waits is told how it stands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import httpx
import pytest
from pydantic import SecretStr

from gateway.settings import Settings
from router.encoder import Vectors
from router.errors import ClassifierUnavailable
from tests.conftest import expert_record, gateway_over
from tests.fakes.encoder import FakeEncoder
from tests.fakes.expert import FakeExpert, serving
from tests.integration.promises.asking import CHAT, ask, gauges, until

DOMAINS = {"math": {"domains": ["math"], "examples": ["What is 2 + 2?"]}}


class Troubled(FakeEncoder):
    """Works until it is told what goes wrong."""

    trouble = ""

    async def encode(self, texts: Sequence[str]) -> Vectors:
        if self.trouble == "slow":
            await asyncio.sleep(5)
        if self.trouble == "broken":
            raise ClassifierUnavailable("The encoder failed: boom")
        return await super().encode(texts)


@pytest.mark.parametrize("trouble", ["slow", "broken"])
async def test_9_the_default_expert_answers_in_time_when_routing_cannot(trouble: str) -> None:
    math, base, encoder = FakeExpert(), FakeExpert(reply=lambda _: "ok"), Troubled()
    async with serving(math, base):
        records = [expert_record("math", math, **DOMAINS["math"]), expert_record("base", base)]
        async with gateway_over(records, encoder=encoder, routing={"budget_ms": 250}) as client:
            encoder.trouble = trouble
            begun = time.monotonic()
            answer = await client.post(CHAT, json=ask("auto", routing={"explain": True}))
            took = time.monotonic() - begun
            metrics = (await client.get("/metrics")).text

    assert (200, "base") == (answer.status_code, answer.json()["model"])
    assert (trouble, "0.000") == (
        answer.headers["x-consilium-failed-open"],
        answer.headers["x-consilium-confidence"],
    )
    assert answer.json()["routing"]["reason"].startswith("routing failed open: ")
    assert f'consilium_routing_failed_open_total{{cause="{trouble}"}} 1.0' in metrics
    assert took < 1.5


async def test_10_a_full_queue_refuses_within_a_second_and_takes_requests_again() -> None:
    fake = FakeExpert(first_token_delay=0.5)
    limits = {"max_in_flight": 1, "max_queue": 2}
    async with serving(fake), gateway_over([expert_record("math", fake, limits=limits)]) as client:
        tasks = [asyncio.create_task(client.post(CHAT, json=ask())) for _ in range(30)]
        done, _ = await asyncio.wait(tasks, timeout=1)
        refused_in_time = [task.result() for task in done if task.result().status_code != 200]
        await asyncio.gather(*tasks)
        after = await client.post(CHAT, json=ask())
        left = await gauges(client)

    assert 27 == len(refused_in_time)
    for answer in refused_in_time:
        assert (429, "expert_overloaded") == (answer.status_code, answer.json()["error"]["code"])
        assert int(answer.headers["retry-after"]) >= 1
    assert (200, {}) == (after.status_code, left)
    assert 4 == len(fake.requests)


async def test_10_a_key_that_floods_delays_another_keys_request_by_one_turn_at_most() -> None:
    fake = FakeExpert(first_token_delay=0.2)
    limits = {"max_in_flight": 1, "max_queue": 8}
    settings = Settings(api_keys=SecretStr("flood,single"))

    async def call(client: httpx.AsyncClient, key: str) -> int:
        answer = await client.post(CHAT, json=ask(text=key), headers={"authorization": f"Bearer {key}"})
        return answer.status_code

    async with serving(fake), gateway_over([expert_record("math", fake, limits=limits)], settings=settings) as client:
        flood = [asyncio.create_task(call(client, "flood")) for _ in range(30)]
        await until(lambda: len(fake.requests) == 2, 5)
        status = await call(client, "single")
        statuses = await asyncio.gather(*flood)

    order = [body["messages"][0]["content"] for body in fake.requests]
    assert 200 == status
    assert order.index("single") <= 4, "two ran, one turn of the other's, and one for a slow machine"
    assert {200, 429} == set(statuses)


async def test_12_first_token_idle_and_total_time_end_a_request_by_the_experts_limits_or_its_own() -> None:
    mute, stalls = FakeExpert(first_token_delay=60), FakeExpert(reply=lambda _: "one two", stall_after=1)
    endless = FakeExpert(reply=lambda _: " ".join(["word"] * 999), word_delay=0.05)
    fakes = {"mute": mute, "stalls": stalls, "endless": endless}
    short = {"first_token_timeout_seconds": 0.3, "idle_timeout_seconds": 0.3, "timeout_seconds": 0.6}
    asked = {"mute": {"first_token_ms": 300}, "stalls": {"idle_ms": 300}, "endless": {"deadline_ms": 600}}
    async with serving(*fakes.values()):
        records = [expert_record(name, fake, limits=short) for name, fake in fakes.items()]
        patient = [expert_record(f"patient-{name}", fake) for name, fake in fakes.items()]
        async with gateway_over([*records, *patient]) as client:
            begun = time.monotonic()
            own = [await client.post(CHAT, json=ask(name)) for name in fakes]
            requests = [await client.post(CHAT, json=ask(f"patient-{n}", routing=asked[n])) for n in fakes]
            took = time.monotonic() - begun
            left = await gauges(client)

    assert [(504, "expert_timeout")] * 6 == [(a.status_code, a.json()["error"]["code"]) for a in (*own, *requests)]
    what = ["its first token", "the rest of its answer", "the rest of its answer"] * 2
    assert all(words in a.json()["error"]["message"] for words, a in zip(what, (*own, *requests), strict=True))
    assert 2.2 < took < 5
    assert {} == left


async def test_12_what_a_request_does_not_wait_for_is_tried_nowhere_else() -> None:
    mute, base = FakeExpert(first_token_delay=60), FakeExpert()
    async with serving(mute, base):
        records = [expert_record("math", mute, fallback=["base"]), expert_record("base", base)]
        async with gateway_over(records) as client:
            answer = await client.post(CHAT, json=ask(routing={"first_token_ms": 200}))

    assert (504, []) == (answer.status_code, base.requests)


async def test_13_attempts_are_bounded_shown_and_share_one_deadline() -> None:
    broken = [FakeExpert(status=500) for _ in range(4)]
    slow = [FakeExpert(first_token_delay=60) for _ in range(2)]
    async with serving(*broken, *slow):
        failing, slowly = expert_record("failing", broken[0]), expert_record("slowly", slow[0])
        failing["replicas"] += [{"base_url": fake.url} for fake in broken[1:]]
        slowly["replicas"].append({"base_url": slow[1].url})
        slowly["limits"] = {"first_token_timeout_seconds": 0.4}
        async with gateway_over([failing, slowly]) as client:
            refused = await client.post(CHAT, json=ask("failing"))
            begun = time.monotonic()
            late = await client.post(CHAT, json=ask("slowly", routing={"deadline_ms": 600}))
            took = time.monotonic() - begun

    assert (503, "3") == (refused.status_code, refused.headers["x-consilium-attempts"])
    assert 3 == sum(len(fake.requests) for fake in broken)
    assert (504, "2") == (late.status_code, late.headers["x-consilium-attempts"])
    assert 0.55 < took < 1.5


async def test_10_a_council_does_without_an_expert_whose_queue_is_full() -> None:
    busy, free = FakeExpert(first_token_delay=2), FakeExpert(reply=lambda _: "not json")
    form = {"type": "json_object"}
    both = {"experts": {"allow": ["busy", "free"]}, "fusion": "vote"}
    async with serving(busy, free):
        limits = {"max_in_flight": 1, "max_queue": 0}
        records = [expert_record("busy", busy, limits=limits), expert_record("free", free)]
        async with gateway_over(records) as client:
            first = asyncio.create_task(client.post(CHAT, json=ask("busy")))
            await until(lambda: busy.running, 5)
            answer = await client.post(CHAT, json=ask("council", routing=both, response_format=form))
            await first

    assert (200, "free") == (answer.status_code, answer.json()["model"])
    assert 1 == len(busy.requests)
