"""Cascades that check, and samples of one expert, through the gateway over real sockets."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving

QUESTION = "What is 3 + 4? Give the final answer."


async def answered(client: httpx.AsyncClient, fusion: str, **routing: Any) -> dict[str, Any]:
    options = {"fusion": fusion, "policy": "uniform", "max_experts": 2, **routing}
    body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}], "routing": options}
    response = await client.post("/v1/chat/completions", json=body)
    assert 200 == response.status_code, response.text
    found: dict[str, Any] = response.json()
    return found


@pytest.mark.parametrize(("verdict", "asked"), [("yes", 1), ("no", 2), ("Answer: 7", 2)])
async def test_a_judges_word_decides_whether_a_second_expert_is_asked(verdict: str, asked: int) -> None:
    experts = [FakeExpert(reply=lambda _: "Answer: 7"), FakeExpert(reply=lambda _: "Answer: 7")]
    judge = FakeExpert(reply=lambda _: verdict)
    async with serving(*experts, judge):
        records = [expert_record(f"e{place}", expert) for place, expert in enumerate(experts)]
        records.append(expert_record("judge", judge, routed=False))
        checking = {"verifier": "judge", "judge": "judge", "judge_tokens": 4}
        async with gateway_over(records, fusion={"cascade": checking}, routing={"default": "e0"}) as client:
            body = await answered(client, "cascade")

    assert (asked, 1) == (sum(len(expert.requests) for expert in experts), len(judge.requests))
    assert ("|Answer: 7", 4) == (
        judge.requests[0]["messages"][0]["content"].splitlines()[3],
        judge.requests[0]["max_tokens"],
    )
    assert (asked > 1) == ("is in doubt" in (body["fusion"]["note"] or ""))
    assert 2 * asked + len(verdict.split()) == body["usage"]["completion_tokens"]


async def test_self_asks_one_expert_three_times_and_the_others_never() -> None:
    experts = [FakeExpert(reply=lambda _: "Answer: 7"), FakeExpert(reply=lambda _: "Answer: 7")]
    async with serving(*experts):
        records = [expert_record(f"e{place}", expert, fallback=[]) for place, expert in enumerate(experts)]
        async with gateway_over(records, fusion={"sampling": {"samples": 4}}, routing={"default": "e0"}) as client:
            body = await answered(client, "self")

    asked = sorted(len(expert.requests) for expert in experts)
    assert (0, "self") == (asked[0], body["fusion"]["strategy"])
    assert 3 <= asked[1] <= 4
    assert body["fusion"]["note"].endswith("samples agree")
