"""How replicas share calls: least outstanding, affinity by session or prefix, a hedge for the slowest."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx

from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving
from tests.integration.promises.asking import CHAT, ask, gauges


def record(name: str, fakes: list[FakeExpert], **more: Any) -> dict[str, Any]:
    for fake in fakes:
        fake.models = (*fake.models, name)
    return {**expert_record(name, fakes[0], **more), "replicas": [{"base_url": fake.url} for fake in fakes]}


async def served(client: httpx.AsyncClient, fakes: list[FakeExpert], **request: Any) -> int:
    """Return the number of the replica that got one request."""
    before = [len(fake.requests) for fake in fakes]
    answer = await client.post(CHAT, **request)
    assert 200 == answer.status_code
    return next(number for number, fake in enumerate(fakes) if len(fake.requests) > before[number])


async def test_replicas_share_calls_sessions_and_prefixes_keep_theirs() -> None:
    fakes = [FakeExpert() for _ in range(3)]
    async with serving(*fakes):
        records = [record(name, fakes, affinity=name) for name in ("none", "session", "prefix")]
        async with gateway_over(records) as client:
            spread = Counter([await served(client, fakes, json=ask("none")) for _ in range(30)])
            sessions = {
                name: {
                    await served(client, fakes, json=ask("session"), headers={"x-consilium-session": name})
                    for _ in range(4)
                }
                for name in map(str, range(8))
            }
            grown = ask("prefix", "Hello")["messages"] + [{"role": "assistant", "content": "Hi"}]
            said = {"model": "prefix", "messages": [*grown, {"role": "user", "content": "And then?"}]}
            prefixes = [await served(client, fakes, json=body) for body in (ask("prefix", "Hello"), said)]

    assert 3 == len(spread)
    assert {1} == {len(replicas) for replicas in sessions.values()}
    assert len(set.union(*sessions.values())) > 1
    assert prefixes[0] == prefixes[1]


async def test_concurrent_calls_go_to_the_replica_with_least_outstanding() -> None:
    fakes = [FakeExpert(first_token_delay=0.5) for _ in range(3)]
    async with serving(*fakes), gateway_over([record("math", fakes)]) as client:
        await asyncio.gather(*(client.post(CHAT, json=ask()) for _ in range(9)))

    assert [3, 3, 3] == [len(fake.requests) for fake in fakes]


async def test_a_slow_call_is_answered_by_the_other_replica_and_the_loser_is_cancelled() -> None:
    quick, slow = FakeExpert(reply=lambda _: "ok"), FakeExpert(first_token_delay=30)
    async with serving(quick, slow):
        replicas = record("math", [quick, slow], hedge={"share": 0.2, "after_seconds": 0.1})
        replicas["replicas"][1]["weight"] = 1.5  # of two idle ones it comes first
        async with gateway_over([replicas]) as client:
            answers = []
            for deadline in (*[200] * 4, 5000):  # five calls earn one hedge
                routing = {"deadline_ms": deadline}
                answers.append(await client.post(CHAT, json=ask(routing=routing)))
            left = await gauges(client)

    assert [504] * 4 + [200] == [answer.status_code for answer in answers]
    assert "2" == answers[-1].headers["x-consilium-attempts"]
    assert (5, 5, 0, {}) == (len(slow.requests), slow.aborted, slow.running, left)
