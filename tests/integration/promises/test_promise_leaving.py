"""Promise 7: a client that goes away stops every server that writes for it within a second, on every path."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving
from tests.integration.promises.asking import CHAT, ask, begin, gauges, leave, until

LONG = " ".join(["word"] * 2000)
EVERYBODY = {"experts": {"allow": ["math", "law"]}, "max_experts": 2}
PATHS: dict[str, tuple[str, dict[str, Any], int]] = {
    "whole": (CHAT, ask(), 1),
    "streaming": (CHAT, ask(stream=True), 1),
    "fused": (CHAT, ask("council", routing={**EVERYBODY, "fusion": "vote"}), 2),
    "fused, streaming": (CHAT, ask("council", stream=True, routing={**EVERYBODY, "fusion": "synthesize"}), 2),
    "completions": ("/v1/completions", {"model": "math", "prompt": LONG, "stream": True}, 1),
    "messages": (
        "/v1/messages",
        {"model": "math", "max_tokens": 99, "stream": True, "messages": [{"role": "user", "content": LONG}]},
        1,
    ),
    "waiting for a first token": (CHAT, ask("mute"), 1),
    "waiting for a first token, streaming": (CHAT, ask("mute", stream=True), 1),
}


def chatty(**more: Any) -> FakeExpert:
    return FakeExpert(reply=lambda _: LONG, **{"word_delay": 0.01, **more})


async def test_7_whoever_writes_for_a_client_that_has_gone_is_stopped_within_a_second() -> None:
    math, law, mute = chatty(), chatty(), chatty(first_token_delay=60)
    fakes = (math, law, mute)
    async with serving(*fakes):
        records = [expert_record("math", math), expert_record("law", law), expert_record("mute", mute)]
        async with gateway_over(records) as client:
            for name, (path, body, servers) in PATHS.items():
                task = asyncio.create_task(begin(client, body, path))
                await until(lambda n=servers: n == sum(fake.running for fake in fakes), 5)  # type: ignore[misc]
                await asyncio.sleep(0.1)
                await leave(task)
                await until(lambda: not any(fake.running for fake in fakes), 1)
                assert {} == await gauges(client), name


async def test_7_a_client_that_leaves_the_queue_gives_its_turn_to_the_next() -> None:
    fake = FakeExpert(reply=lambda body: f"you said: {body['messages'][0]['content']}", word_delay=0.1)
    limits = {"max_in_flight": 1}
    async with serving(fake), gateway_over([expert_record("math", fake, limits=limits)]) as client:
        tasks = [asyncio.create_task(client.post(CHAT, json=ask(text=str(number)))) for number in range(3)]
        await until(lambda: fake.running == 1, 5)
        await asyncio.sleep(0.1)
        tasks[1].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        left = await gauges(client)

    assert [str(number) for number in (0, 2)] == [each["messages"][0]["content"] for each in fake.requests]
    assert isinstance(done[1], asyncio.CancelledError)
    assert {} == left


@pytest.mark.parametrize("hedged", [False, True])
async def test_7_also_where_two_replicas_race_for_the_first_token(hedged: bool) -> None:
    slow = [chatty(first_token_delay=60) for _ in range(2)]
    async with serving(*slow):
        record = expert_record("math", slow[0], hedge={"share": 0.2, "after_seconds": 0.05})
        if hedged:
            record["replicas"].append({"base_url": slow[1].url})
            slow[1].models = ("math",)
        async with gateway_over([record]) as client:
            for _ in range(5):  # five calls earn one hedge
                task = asyncio.create_task(begin(client, ask(stream=True)))
                await until(lambda: any(fake.running for fake in slow), 5)
                await asyncio.sleep(0.1)
                both = sum(fake.running for fake in slow)
                await leave(task)
                await until(lambda: not any(fake.running for fake in slow), 1)

    assert 1 + hedged == both
