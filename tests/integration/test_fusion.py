"""Fusion over real sockets: what `auto` picks, what caps and waiting do to the experts, who may see whose words."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from aggregator import STRATEGIES
from gateway.settings import Settings
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving

SKILLED = {"domains": ["math"], "examples": ["What is 2 + 2?", "Calculate 10 - 3."]}
CLOSED = "What is 2 + 2? Reply with only the number."
OPEN = "Tell me about sums such as 2 + 2."


def ask(text: str = CLOSED, *, stream: bool = False, more: dict[str, Any] | None = None, **routing: Any) -> Any:
    body = {"model": "council", "messages": [{"role": "user", "content": text}], "stream": stream, **(more or {})}
    return {**body, "routing": {"explain": True, "policy": "uniform", **routing}}


def skilled(name: str, expert: FakeExpert, accuracy: float, **more: Any) -> dict[str, Any]:
    skills = {"math": {"accuracy": accuracy, "count": 100_000}}
    return expert_record(name, expert, **SKILLED, skills=skills, **more)


def events(text: str) -> list[dict[str, Any]]:
    frames = [frame.removeprefix("data: ") for frame in text.split("\n\n") if frame.startswith("data: ")]
    return [json.loads(frame) for frame in frames if frame != "[DONE]"]


@asynccontextmanager
async def council(
    records: list[dict[str, Any]], *, staged: bool = False, **fusion: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Run a gateway and yield a client of it once every expert is ready."""
    async with gateway_over(records, fusion=fusion, routing={"staged": staged}) as client:
        for _ in range(500):
            states = (await client.get("/health")).json()["experts"]
            if {"ready"} == set(states.values()):
                break
            await asyncio.sleep(0.01)
        yield client


async def answered(client: httpx.AsyncClient, body: Any) -> dict[str, Any]:
    response = await client.post("/v1/chat/completions", json=body)
    assert 200 == response.status_code, response.text
    found: dict[str, Any] = response.json()
    return found


async def until(condition: Any, seconds: float = 5.0) -> float:
    """Return the seconds until something was so."""
    begun = time.monotonic()
    while not condition() and time.monotonic() - begun < seconds:
        await asyncio.sleep(0.005)
    assert condition()
    return time.monotonic() - begun


@pytest.mark.parametrize(
    ("text", "skills", "shown", "calls"),
    [
        (CLOSED, (0.7, 0.69, 0.68), "auto: vote", 3),
        (CLOSED, (0.99, 0.3, 0.2), "auto: single", 1),
        (OPEN, (0.7, 0.65, 0.6), "auto: single", 1),
    ],
)
async def test_auto_votes_where_answers_can_be_compared_and_one_expert_does_not_outweigh_the_rest(
    text: str, skills: tuple[float, ...], shown: str, calls: int
) -> None:
    experts = [FakeExpert(reply=lambda _: "Answer: 4") for _ in range(3)]
    experts[0].reply = lambda _: "Answer: 5"
    async with serving(*experts):
        records = [skilled(f"e{n}", expert, skills[n]) for n, expert in enumerate(experts)]
        async with council(records) as client:
            body = await answered(client, ask(text, policy="profile"))
            decision = (await client.post("/v1/route", json=ask(text, policy="profile"))).json()

    assert (shown, shown) == (body["routing"]["fusion"], decision["fusion"])
    assert body["routing"]["fusion_reason"]
    assert calls == sum(len(expert.requests) for expert in experts)
    assert (calls == 3) == ("fusion" in body)


@pytest.mark.parametrize(
    "experts", [{"deny": ["fuser"]}, {"allow": ["one", "two"]}, {"require_tags": ["tenant:a"]}], ids=str
)
async def test_a_fuser_outside_of_what_the_request_allows_is_never_called(experts: dict[str, Any]) -> None:
    one, two = FakeExpert(reply=lambda _: "It is one."), FakeExpert(reply=lambda _: "It may be two, or more than that.")
    fuser = FakeExpert(reply=lambda _: "fused")
    ours = {"tags": ["tenant:a"]}
    async with serving(one, two, fuser):
        records = [
            expert_record("one", one, **ours),
            expert_record("two", two, **ours),
            expert_record("fuser", fuser, routed=False, tags=["tenant:b"]),
        ]
        roles = [{"name": "a", "instructions": "b"}, {"name": "x", "instructions": "y", "expert": "fuser"}]
        fusion = {"fuser": "fuser", "panel": {"roles": roles}, "decompose": {"planner": "fuser"}}
        async with gateway_over(records, fusion=fusion, routing={"default": "fuser"}) as client:
            bodies = {
                name: await answered(client, ask(OPEN, fusion=name, experts=experts)) for name in sorted(STRATEGIES)
            }
            allowed = await answered(client, ask(OPEN, fusion="synthesize"))

    assert {"one", "two"} >= {body["model"] for body in bodies.values()}
    assert ("fuser", 1) == (allowed["model"], len(fuser.requests))


async def test_the_fuser_is_the_best_candidate_where_the_configured_one_is_not_allowed() -> None:
    one, two, fuser = FakeExpert(), FakeExpert(), FakeExpert()
    async with serving(one, two, fuser):
        records = [expert_record("one", one), expert_record("two", two), expert_record("fuser", fuser, routed=False)]
        async with gateway_over(records, fusion={"fuser": "fuser"}, routing={"default": "fuser"}) as client:
            body = await answered(client, ask(fusion="synthesize", experts={"deny": ["fuser"]}))

    assert ("one", []) == (body["fusion"]["fuser"], fuser.requests)
    assert "|" in one.requests[-1]["messages"][0]["content"]


async def test_the_cap_on_calls_holds_for_every_request_and_the_fuser_is_left_out_first() -> None:
    one, two, fuser = FakeExpert(reply=lambda _: "one it is"), FakeExpert(), FakeExpert()
    async with serving(one, two, fuser):
        records = [expert_record("one", one), expert_record("two", two), expert_record("fuser", fuser, routed=False)]
        async with gateway_over(records, fusion={"fuser": "fuser", "max_calls": 2}) as client:
            body = await answered(client, ask(fusion="synthesize"))

    assert (1, 1, 0) == tuple(len(expert.requests) for expert in (one, two, fuser))
    assert "one it is" == body["choices"][0]["message"]["content"]
    assert "fuser: The request has made the 2 calls" in json.dumps(body["fusion"])


async def test_a_request_that_would_cost_too_much_is_refused_in_words_and_a_smaller_one_is_answered() -> None:
    dear = FakeExpert(reply=lambda _: "four")
    price = {"input_per_million": 1.0, "output_per_million": 1000.0}
    async with (
        serving(dear),
        gateway_over([expert_record("dear", dear, price=price)], fusion={"max_cost_usd": 0.1}) as c,
    ):
        large = await c.post("/v1/chat/completions", json=ask(more={"max_tokens": 1000}))
        small = await c.post("/v1/chat/completions", json=ask(more={"max_tokens": 50}))

    assert (400, "call_refused") == (large.status_code, large.json()["error"]["code"])
    assert "of 0.1 USD that the request may cost" in large.json()["error"]["message"]
    assert (200, 1) == (small.status_code, len(dear.requests))


async def test_an_arm_that_is_not_waited_for_stops_upstream_within_a_second() -> None:
    fast, also = FakeExpert(reply=lambda _: "Answer: 4"), FakeExpert(reply=lambda _: "Answer: 4")
    slow = FakeExpert(reply=lambda _: "word " * 10_000, word_delay=0.02)
    async with serving(fast, also, slow):
        records = [expert_record(n, e) for n, e in (("fast", fast), ("also", also), ("slow", slow))]
        async with council(records) as client:
            begun = time.monotonic()
            body = await answered(client, ask(fusion="vote"))
            decided = time.monotonic() - begun
            assert await until(lambda: slow.aborted == 1 and slow.running == 0) < 1

    assert "Answer: 4" == body["choices"][0]["message"]["content"]
    assert {"slow": "not needed any more"} == {
        each["expert"]: each["error"] for each in body["fusion"]["candidates"] if each["error"]
    }
    assert decided < 2


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"grace_seconds": 0.1, "quorum": 2}, "not done 0.1 s after the quorum was"),
        ({"arm_deadline_seconds": 0.4}, "not done within 0.4 s"),
        ({"deadline_seconds": 0.4}, "not done within 0.4 s"),
    ],
    ids=str,
)
async def test_stragglers_are_left_out_stopped_and_told_and_the_fuser_streams(limits: dict[str, Any], why: str) -> None:
    one, two = FakeExpert(reply=lambda _: "one"), FakeExpert(reply=lambda _: "two")
    slow, fuser = FakeExpert(reply=lambda _: "word " * 10_000, word_delay=0.02), FakeExpert(reply=lambda _: "fused")
    async with serving(one, two, slow, fuser):
        records = [expert_record(n, e) for n, e in (("one", one), ("two", two), ("slow", slow))]
        records.append(expert_record("fuser", fuser, routed=False))
        async with council(records, fuser="fuser", **limits) as client:
            begun = time.monotonic()
            response = await client.post("/v1/chat/completions", json=ask(stream=True, fusion="synthesize"))
            took = time.monotonic() - begun
            assert await until(lambda: slow.aborted == 1 and slow.running == 0) < 1
    chunks = events(response.text)
    facts = chunks[-1]["fusion"]

    assert "fused" == "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert [("slow", why)] == [(each["expert"], each["error"]) for each in facts["candidates"] if each["error"]]
    assert took < 2


async def test_comments_keep_a_fused_stream_alive_while_candidates_are_awaited() -> None:
    one, two = (FakeExpert(reply=lambda _: "word", first_token_delay=1.6) for _ in range(2))
    fuser = FakeExpert(reply=lambda _: "fused at last")
    async with serving(one, two, fuser):
        records = [expert_record("one", one), expert_record("two", two), expert_record("fuser", fuser, routed=False)]
        async with gateway_over(records, fusion={"fuser": "fuser"}) as client:
            text = (await client.post("/v1/chat/completions", json=ask(stream=True, fusion="synthesize"))).text

    before, _, after = text.partition("data: ")
    assert before.count(": keep-alive\n\n") >= 2
    assert "fused at last" == "".join(c["choices"][0]["delta"].get("content") or "" for c in events("data: " + after))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["council", "e0"])
async def test_a_client_that_leaves_before_the_first_token_stops_all_who_were_asked(model: str, stream: bool) -> None:
    slow = [FakeExpert(reply=lambda _: "word " * 10_000, word_delay=0.02) for _ in range(3)]
    if model != "council":
        slow = [FakeExpert(first_token_delay=60)]
    async with serving(*slow):
        records = [expert_record(f"e{n}", expert) for n, expert in enumerate(slow)]
        async with gateway_over(records, settings=Settings(keep_alive_seconds=20)) as client:
            with pytest.raises(httpx.ReadTimeout):
                body = {**ask(fusion="synthesize", stream=stream), "model": model}
                await client.post("/v1/chat/completions", json=body, timeout=0.5)
            took = await until(lambda: not any(expert.running for expert in slow))

    assert all(expert.requests for expert in slow)
    assert took < 1


def choices(*texts: str) -> list[dict[str, Any]]:
    """Return the chunks of an answer with several choices."""
    said = [{"index": n, "delta": {"role": "assistant", "content": text}} for n, text in enumerate(texts)]
    ends = [{"index": n, "delta": {}, "finish_reason": "stop"} for n, _ in enumerate(texts)]
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return [*({"choices": [choice]} for choice in (*said, *ends)), {"choices": [], "usage": usage}]


@pytest.mark.parametrize("fusion", ["auto", "vote", "synthesize", "rank", "refine", "self"])
async def test_n_choices_are_n_of_the_expert_that_answers(fusion: str) -> None:
    one, two = FakeExpert(chunks=choices("Answer: 4", "Answer: 5")), FakeExpert(chunks=choices("It is 6.", "Or 7."))
    fuser = FakeExpert(chunks=choices("fused", "otherwise fused"))
    async with serving(one, two, fuser):
        records = [expert_record("one", one), expert_record("two", two), expert_record("fuser", fuser, routed=False)]
        async with gateway_over(records, fusion={"fuser": "fuser"}) as client:
            body = await answered(client, ask(fusion=fusion, more={"n": 2}))
            chunks = events((await client.post("/v1/chat/completions", json=ask(stream=True, more={"n": 2}))).text)

    assert 2 == len(body["choices"]) == len({choice["message"]["content"] for choice in body["choices"]})
    assert {0, 1} == {choice["index"] for chunk in chunks for choice in chunk["choices"]}


async def test_usage_is_summed_and_candidates_are_shown_with_weight_and_quality() -> None:
    experts = [FakeExpert(reply=lambda _: "It is four.") for _ in range(2)]
    fuser = FakeExpert(reply=lambda _: "fused answer here")
    async with serving(*experts, fuser):
        records = [skilled(f"e{n}", expert, 0.6) for n, expert in enumerate(experts)]
        records.append(expert_record("fuser", fuser, routed=False))
        async with council(records, fuser="fuser") as client:
            body = await answered(client, ask(OPEN, fusion="synthesize", policy="profile"))
    shown = body["fusion"]["candidates"]

    assert [(0.5, 0.6)] * 2 == [(each["weight"], each["quality"]) for each in shown]
    assert 3 * 2 + 3 == body["usage"]["completion_tokens"]
    assert body["usage"]["prompt_tokens"] > sum(each["usage"]["prompt_tokens"] for each in shown)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fused_answer_has_the_form_asked_for_also_in_a_stream(stream: bool) -> None:
    one, two = FakeExpert(reply=lambda _: '{"sum": 4}'), FakeExpert(reply=lambda _: "four")
    fuser = FakeExpert(reply=lambda _: "The experts agree that it is 4.")
    schema = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}
    form = {"response_format": {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}}
    async with serving(one, two, fuser):
        records = [expert_record("one", one), expert_record("two", two), expert_record("fuser", fuser, routed=False)]
        async with gateway_over(records, fusion={"fuser": "fuser"}) as client:
            response = await client.post(
                "/v1/chat/completions", json=ask(stream=stream, more=form, fusion="synthesize")
            )
    if stream:
        chunks = events(response.text)
        text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        facts, model = chunks[-1]["fusion"], chunks[0]["model"]
    else:
        body = response.json()
        text, facts, model = body["choices"][0]["message"]["content"], body["fusion"], body["model"]

    assert ('{"sum": 4}', "one", "one") == (text, facts["answered_by"], model)
    assert "not of the form asked for" in facts["note"]
    assert form["response_format"] == fuser.requests[0]["response_format"]


CALLS = [{"index": 0, "id": "c0", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 2}'}}]


def calling(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the chunks of an answer that calls tools."""
    said = {"index": 0, "delta": {"role": "assistant", "tool_calls": calls}}
    return [{"choices": [said]}, {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}]


@pytest.mark.parametrize("fusion", ["auto", "vote", "synthesize", "rank", "refine", "panel", "knowledge", "cascade"])
async def test_tool_calls_are_passed_through_and_no_fuser_is_asked(fusion: str) -> None:
    one, two, fuser = FakeExpert(chunks=calling(CALLS)), FakeExpert(chunks=calling(CALLS)), FakeExpert()
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    able = {"capabilities": ["tools"]}
    async with serving(one, two, fuser):
        records = [expert_record("one", one, **able), expert_record("two", two, **able)]
        records.append(expert_record("fuser", fuser, routed=False))
        async with gateway_over(records, fusion={"fuser": "fuser"}) as client:
            body = await answered(client, ask(fusion=fusion, more={"tools": tools}))
    (choice,) = body["choices"]

    assert ("tool_calls", "add") == (choice["finish_reason"], choice["message"]["tool_calls"][0]["function"]["name"])
    assert [] == fuser.requests


async def test_tool_calls_are_voted_by_function_and_arguments_however_spelled() -> None:
    spelled = [{**CALLS[0], "function": {"name": "add", "arguments": '{"b":2,  "a":2}'}}]
    other = [{**CALLS[0], "function": {"name": "add", "arguments": '{"a": 3, "b": 2}'}}]
    experts = [FakeExpert(chunks=calling(calls)) for calls in (other, CALLS, spelled)]
    able = {"capabilities": ["tools"]}
    async with serving(*experts):
        records = [expert_record(f"e{n}", expert, **able) for n, expert in enumerate(experts)]
        async with council(records) as client:
            body = await answered(client, ask(fusion="vote", more={"tools": [{"type": "function"}]}))

    assert body["model"] in {"e1", "e2"}


async def test_a_question_that_comes_up_is_read_by_nobody_whom_the_request_does_not_allow() -> None:
    plan = "1. How many legs has a spider?\n2. What is {1} plus 40?"
    one, two = (FakeExpert(reply=lambda _: "Answer: 8") for _ in range(2))
    planner, reader = FakeExpert(reply=lambda _: plan), FakeExpert(reply=lambda _: '{"domains": {"math": 1.0}}')
    async with serving(one, two, planner, reader):
        records = [
            expert_record("one", one, domains=["science"]),
            expert_record("two", two, domains=["math"]),
            expert_record("planner", planner, routed=False),
            expert_record("reader", reader, routed=False),
        ]
        routing = {"llm": {"expert": "reader", "below": 1.0, "alpha": 1.0}, "default": "one"}
        fusion = {"fuser": "planner", "decompose": {"planner": "planner"}}
        async with gateway_over(records, fusion=fusion, routing=routing) as client:
            asked = {"model": "auto", "messages": [{"role": "user", "content": "Spider legs plus 40?"}]}
            counts = []
            for experts in ({"deny": ["reader"]}, {}):
                body = await answered(client, {**asked, "routing": {"fusion": "decompose", "experts": experts}})
                counts.append(sum("What is 8 plus 40?" in str(sent["messages"]) for sent in reader.requests))
                assert 2 == len(body["fusion"]["steps"])

    assert counts[0] == 0 < counts[1]


@pytest.mark.parametrize("fusion", ["vote", "synthesize"])
async def test_arms_that_speak_nonsense_are_failures_with_a_reason_and_the_others_answer(fusion: str) -> None:
    sane, garbled = FakeExpert(reply=lambda _: "Answer: 4"), FakeExpert(garbage=True)
    huge = FakeExpert(chunks=[{"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 10**9}]}}]}])
    async with serving(sane, garbled, huge):
        named = {"sane": sane, "garbled": garbled, "huge": huge}
        records = [expert_record(name, expert) for name, expert in named.items()]
        async with council(records, fuser="sane") as client:
            body = await answered(client, ask(fusion=fusion))

    assert ("sane", "Answer: 4") == (body["model"], body["choices"][0]["message"]["content"])
    why = {each["expert"]: each["error"] for each in body["fusion"]["candidates"] if each["error"]}
    assert {"garbled", "huge"} == {*why}
    assert "not JSON" in why["garbled"]
    assert "not a chat completion" in why["huge"]
