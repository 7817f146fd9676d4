"""What a client asks of routing reaches the experts: cost, time, thinking, sessions, votes and cascades in stages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving

SKILLED = {"domains": ["math"], "examples": ["What is 2 + 2?", "Calculate 10 - 3."]}
THINKING = {"gain": {"math": {"accuracy": 0.3, "count": 400}}}


def ask(text: str = "What is 2 + 2?", model: str = "auto", **routing: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], "routing": {"explain": True, **routing}}


@asynccontextmanager
async def all_ready(records: list[dict[str, Any]], **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Run a gateway and yield a client of it once every expert is ready, so that none is left out of routing."""
    async with gateway_over(records, **more) as client:
        for _ in range(500):
            states = (await client.get("/health")).json()["experts"]
            if {"ready"} == set(states.values()):
                break
            await asyncio.sleep(0.01)
        yield client


def skilled(name: str, expert: FakeExpert, accuracy: float, price: float, **more: Any) -> dict[str, Any]:
    skills = {"math": {"accuracy": accuracy, "count": 100_000}}
    rates = {"input_per_million": price, "output_per_million": price}
    return expert_record(name, expert, **SKILLED, skills=skills, price=rates, **more)


async def test_cost_quality_chooses_between_a_dear_and_a_cheap_expert() -> None:
    dear, cheap = FakeExpert(), FakeExpert()
    async with serving(dear, cheap):
        records = [skilled("dear", dear, 0.8, 10.0), skilled("cheap", cheap, 0.7, 0.1)]
        async with all_ready(records) as client:
            answers = [
                (await client.post("/v1/chat/completions", json=ask(cost_quality=c))).json() for c in (1, 0.5, 0)
            ]
            limited = (await client.post("/v1/route", json=ask(max_cost_usd=0.001))).json()
            nobody = await client.post("/v1/route", json=ask(max_cost_usd=1e-9))

    assert ["dear", "cheap", "cheap"] == [answer["model"] for answer in answers]
    assert all(each["cost_usd"] > 0 for each in answers[0]["routing"]["candidates"])
    assert [] == answers[0]["routing"]["ignored"]
    assert ("cheap", "dear") == (limited["experts"][0]["expert"], limited["excluded"][0]["expert"])
    assert "the limit is 0.001 USD" in limited["excluded"][0]["reason"]
    assert (404, "no_eligible_expert") == (nobody.status_code, nobody.json()["error"]["code"])
    assert "the limit is 1e-09 USD" in nobody.json()["error"]["message"]


async def test_measured_latency_is_shown_and_limits_who_may_answer() -> None:
    slow, fast = FakeExpert(first_token_delay=0.3), FakeExpert()
    async with serving(slow, fast):
        records = [skilled("slow", slow, 0.8, 1.0), skilled("fast", fast, 0.7, 1.0)]
        async with all_ready(records) as client:
            first = (await client.post("/v1/chat/completions", json=ask())).json()
            then = (await client.post("/v1/chat/completions", json=ask(max_latency_ms=200))).json()

    assert ("slow", "fast") == (first["model"], then["model"])
    assert [None, None] == [each["latency_ms"] for each in first["routing"]["candidates"]]
    assert "ms, the limit is 200 ms" in then["routing"]["excluded"][0]["reason"]


async def test_thinking_reaches_the_experts_that_can_and_no_others() -> None:
    thinker, plain = FakeExpert(), FakeExpert()
    async with serving(thinker, plain):
        records = [skilled("thinker", thinker, 0.6, 1.0, thinking=THINKING), skilled("plain", plain, 0.5, 1.0)]
        async with all_ready(records) as client:
            auto = (await client.post("/v1/chat/completions", json=ask())).json()
            for mode in ("off", "on"):
                await client.post("/v1/chat/completions", json=ask(thinking=mode))
                await client.post("/v1/chat/completions", json=ask(model="plain", thinking=mode))
            await client.post("/v1/chat/completions", json=ask(model="thinker", thinking="off"))
            own = {"chat_template_kwargs": {"enable_thinking": False, "x": 1}}
            await client.post("/v1/chat/completions", json={**ask(thinking="on"), **own})

    sent = [request.get("chat_template_kwargs") for request in thinker.requests]
    told = [None if each is None else each["enable_thinking"] for each in sent]
    assert ("on", "on") == (auto["routing"]["thinking"], auto["routing"]["experts"][0]["thinking"])
    assert [True, False, True, False, False] == told
    assert {"enable_thinking": False, "x": 1} == sent[-1]
    assert all("chat_template_kwargs" not in request for request in plain.requests)


async def test_a_session_keeps_its_expert_while_the_topic_stays() -> None:
    math, law = FakeExpert(), FakeExpert()
    async with serving(math, law):
        records = [
            expert_record("math", math, **SKILLED),
            expert_record("law", law, domains=["law"], examples=["Is this contract valid?"]),
        ]
        async with all_ready(records, routing={"policy": "random"}) as client:
            headers = {"x-consilium-session": "s1"}
            kept = [
                (await client.post("/v1/chat/completions", json=ask(f"Question {n}"), headers=headers)).json()["model"]
                for n in range(12)
            ]
            free = [
                (await client.post("/v1/chat/completions", json=ask(f"Question {n}"))).json()["model"]
                for n in range(12)
            ]

    assert 1 == len(set(kept))
    assert 2 == len(set(free))


async def test_a_vote_asks_the_third_expert_only_on_disagreement() -> None:
    experts = [FakeExpert(reply=lambda _: "Answer: 4") for _ in range(3)]
    async with serving(*experts):
        records = [skilled(f"e{n}", expert, 0.6, 1.0) for n, expert in enumerate(experts)]
        async with all_ready(records) as client:
            agreed = (await client.post("/v1/chat/completions", json=ask(fusion="vote"))).json()
            calls = [len(expert.requests) for expert in experts]
            experts[1].reply = lambda _: "Answer: 5"
            split = (await client.post("/v1/chat/completions", json=ask(fusion="vote"))).json()

    assert ([2, 1], [1, 1, 0]) == (agreed["routing"]["stages"], calls)
    assert (["e2"], []) == (agreed["fusion"]["unasked"], split["fusion"]["unasked"])
    assert [2, 2, 1] == [len(expert.requests) for expert in experts]


async def test_a_cascade_asks_the_dear_expert_only_when_the_cheap_one_looks_weak() -> None:
    dear, cheap = FakeExpert(reply=lambda _: "It is 4."), FakeExpert(reply=lambda _: "It is 4.")
    async with serving(dear, cheap):
        records = [skilled("dear", dear, 0.62, 10.0), skilled("cheap", cheap, 0.55, 0.1)]
        async with all_ready(records, routing={"cascade": {"judge_error": 0.1}}) as client:
            kept = (await client.post("/v1/chat/completions", json=ask(policy="cascade"))).json()
            cheap.reply = lambda _: "I'm sorry, I cannot answer that."
            escalated = (await client.post("/v1/chat/completions", json=ask(fusion="cascade"))).json()

    assert ("cheap", "dear") == (kept["model"], escalated["model"])
    assert "cheap looks weak: refused" == escalated["fusion"]["note"]
    assert (1, 2) == (len(dear.requests), len(cheap.requests))
    assert "as good as dear alone while the check errs in less than" in kept["routing"]["reason"]


async def test_an_expert_reads_what_the_encoder_is_unsure_of() -> None:
    reads = '{"domains": {"law": 1.0}, "skills": ["wills"], "difficulty": 0.2}'
    general, law = FakeExpert(reply=lambda _: reads), FakeExpert()
    async with serving(general, law):
        records = [
            expert_record("general", general),
            expert_record("law", law, domains=["law"]),
            expert_record("math", FakeExpert(url=law.url), domains=["math"], model="law"),
        ]
        routing = {"llm": {"expert": "general", "below": 1.0, "alpha": 1.0}}
        async with all_ready(records, routing=routing) as client:
            answer = (await client.post("/v1/chat/completions", json=ask("Hm, what about that one?"))).json()

    assert ("law", ["wills"]) == (answer["model"], answer["routing"]["skills"])
    assert 0 == general.requests[0]["temperature"]


async def test_a_mean_number_of_experts_is_kept_over_many_requests() -> None:
    experts = [FakeExpert(reply=lambda _: "Answer: 4") for _ in range(3)]
    async with serving(*experts):
        records = [skilled(f"e{n}", expert, 0.5 + 0.05 * n, 1.0) for n, expert in enumerate(experts)]
        async with all_ready(records, routing={"mean_experts": 2, "staged": False}) as client:
            for n in range(3):
                await client.post("/v1/chat/completions", json=ask(f"What is 2 + {n}?", model="council", fusion="vote"))

    assert 6 == sum(len(expert.requests) for expert in experts)
