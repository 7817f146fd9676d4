"""Answers given again, over real sockets: who gets one, when it is the same answer, and when it must not be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from gateway.cli import app
from gateway.settings import Settings
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving
from tests.integration.test_key_limits import PRICE, usage
from tests.integration.test_keys import BOSS, LAW, MATH, ask, bearer, chat, made
from tests.integration.test_shared_limits import gateways
from tests.redis_server import redis_server

ON = {"x-consilium-cache": "on"}


class Counting(FakeExpert):
    """An expert whose answers differ from one another."""

    def __init__(self, name: str = "") -> None:
        super().__init__(reply=lambda body: f"{name}{len(self.requests)}: {body['messages'][-1]['content']}")


@asynccontextmanager
async def team(*, settings: Settings | None = None, **sections: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    """Run a mathematician and a lawyer behind a gateway; both are yielded with a client of it."""
    math, law = Counting("m"), Counting("l")
    async with serving(math, law):
        records = [expert_record("math", math, **MATH, **PRICE), expert_record("law", law, **LAW, **PRICE)]
        used = settings or Settings(keep_alive_seconds=0.5, admin_key=SecretStr("boss"))
        async with gateway_over(records, settings=used, **sections) as client:
            yield client, (math, law)


async def said(client: httpx.AsyncClient, headers: dict[str, str] = ON, **body: Any) -> httpx.Response:
    answer = await client.post("/v1/chat/completions", json=ask(**body), headers=headers)
    assert 200 == answer.status_code, answer.text
    return answer


def outcomes(*answers: httpx.Response) -> list[str | None]:
    return [answer.headers.get("x-consilium-cache") for answer in answers]


def content(answer: httpx.Response) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


async def test_only_who_asks_is_given_an_answer_again() -> None:
    async with team() as (client, (math, _)):
        answers = [await said(client, headers, model="math") for headers in (ON, {}, ON, {"x-consilium-cache": "off"})]

    assert ["miss", None, "hit", None] == outcomes(*answers)
    assert content(answers[0]) == content(answers[2])
    assert 3 == len({content(each) for each in answers}) == len(math.requests)


async def test_an_answer_given_again_is_the_same_but_for_its_id_costs_nothing_and_says_its_age() -> None:
    async with team() as (client, _):
        first, again = await said(client), await said(client)
        old, new = first.json(), again.json()

    for each in (old, new):
        del each["id"], each["created"]
    assert old == new
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    assert (None, "0") == (first.headers.get("age"), again.headers["age"])
    assert float(first.headers["x-consilium-cost-usd"]) > 0 == float(again.headers["x-consilium-cost-usd"])
    assert first.headers["x-consilium-experts"] == again.headers["x-consilium-experts"] == "math"


async def test_an_answer_is_given_again_as_a_stream_and_the_other_way_round() -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    async with team() as (client, (math, law)):
        sdk: Any = openai.AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key="x")
        whole = await said(client, model="math")
        chunks = [each async for each in await sdk.chat.completions.create(**ask(), extra_headers=ON, **options)]
        fresh = [each async for each in await sdk.chat.completions.create(**ask("law?"), extra_headers=ON, **options)]
        after = await said(client, text="law?")
        named = [e async for e in await sdk.chat.completions.create(**ask(model="math"), extra_headers=ON, **options)]
        await sdk.close()

    written = "".join(c.choices[0].delta.content or "" for c in named if c.choices)
    assert content(whole) == written
    assert "stop" == named[-2].choices[0].finish_reason
    assert whole.json()["usage"]["total_tokens"] == named[-1].usage.total_tokens
    assert content(after) == "".join(c.choices[0].delta.content or "" for c in fresh if c.choices)
    assert "hit" == after.headers["x-consilium-cache"]
    assert 3 == len(math.requests) + len(law.requests), "auto and the expert's name are two questions"
    assert chunks


async def test_anything_that_could_make_the_answer_another_is_another_question() -> None:
    changes: list[dict[str, Any]] = [
        {"text": "What is 2 + 3?"},
        {"max_tokens": 9},
        {"temperature": 0.5},
        {"seed": 1},
        {"tools": [{"type": "function", "function": {"name": "add"}}]},
        {"routing": {"cost_quality": 0.1}},
        {"model": "law"},
        {"messages": [{"role": "system", "content": "Be brief."}, *ask()["messages"]]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is 2 + 2?"}]}]},
    ]
    async with team() as (client, _):
        first = await said(client, model="math")
        others = [await said(client, **{"model": "math", **change}) for change in changes]
        again = await said(client, model="math")

    assert ["miss"] * (1 + len(changes)) + ["hit"] == outcomes(first, *others, again)


async def test_what_is_not_about_the_answer_does_not_matter() -> None:
    async with team() as (client, _):
        await said(client, model="math")
        routing = {"explain": True, "priority": 3, "deadline_ms": 9000}
        again = await said(client, model="math", routing=routing)

    assert ["hit"] == outcomes(again)
    assert "named" == again.json()["routing"]["policy"]


async def test_the_body_says_it_too_and_refresh_makes_a_new_answer_that_takes_the_place_of_the_old() -> None:
    async with team() as (client, _):
        words = [
            await said(client, {}, model="math", routing={"cache": wish}) for wish in ("on", "refresh", "on", "off")
        ]
        wrong = await client.post("/v1/chat/completions", json=ask(), headers={"x-consilium-cache": "maybe"})

    assert ["miss", "miss", "hit", None] == outcomes(*words)
    assert [0, 1, 1, 2] == [int(content(each)[1]) - 1 for each in words]
    assert (400, "routing.cache") == (wrong.status_code, wrong.json()["error"]["param"])


async def test_nobody_is_given_what_another_key_was_answered() -> None:
    async with team() as (client, (math, _)):
        keys = [await made(client) for _ in range(2)]
        answers = [await said(client, {**ON, **bearer(key)}, model="math") for key in (*keys, *keys)]

    assert ["miss", "miss", "hit", "hit"] == outcomes(*answers)
    assert content(answers[0]) == content(answers[2]) != content(answers[1]) == content(answers[3])
    assert 2 == len(math.requests)


async def test_a_keys_setting_holds_for_requests_that_leave_nothing_to_chance() -> None:
    async with team() as (client, (math, _)):
        key = await made(client, cache=True)
        exact = [await chat(client, key, model="math", temperature=0) for _ in range(2)]
        sampled = [await chat(client, key, model="math", **more) for more in ({}, {"temperature": 0.3}) for _ in "ab"]
        off = await chat(client, key, model="math", temperature=0, routing={"cache": "off"})

    assert ["miss", "hit"] == outcomes(*exact)
    assert ["bypass"] * 4 == outcomes(*sampled)
    assert [None] == outcomes(off)
    assert 6 == len(math.requests)
    assert key["cache"] is True


async def test_a_key_that_may_use_other_experts_now_asks_anew() -> None:
    async with team() as (client, _):
        key = await made(client, cache=True)
        before = [await chat(client, key, model="math", temperature=0) for _ in range(2)]
        changed = await client.patch(f"/admin/keys/{key['id']}", json={"experts": ["math"]}, headers=BOSS)
        after = await chat(client, key, model="math", temperature=0)
        switched = await client.patch(f"/admin/keys/{key['id']}", json={"cache": False}, headers=BOSS)
        off = await chat(client, key, model="math", temperature=0)

    assert (200, 200) == (changed.status_code, switched.status_code)
    assert ["miss", "hit", "miss", None] == outcomes(*before, after, off)


async def test_the_command_line_gives_out_a_key_with_the_setting() -> None:
    async with team() as (client, _):
        words = ("keys", "create", "ann", "--cache", "--json", "--url", str(client.base_url))
        done = await asyncio.to_thread(CliRunner(env={"CONSILIUM_ADMIN_KEY": "boss"}).invoke, app, words)
        key = json.loads(done.stdout)
        answers = [await chat(client, key, model="math", temperature=0) for _ in range(2)]

    assert (0, True) == (done.exit_code, key["cache"])
    assert ["miss", "hit"] == outcomes(*answers)


async def test_several_choices_that_are_drawn_by_chance_are_drawn_each_time() -> None:
    async with team() as (client, _):
        drawn = [await said(client, model="math", n=2, temperature=0.7) for _ in range(2)]
        fixed = [await said(client, model="math", n=2, temperature=0) for _ in range(2)]

    assert ["bypass", "bypass", "miss", "hit"] == outcomes(*drawn, *fixed)


async def test_a_failed_or_cut_answer_is_not_kept() -> None:
    async with team() as (client, (math, _)):
        math.status = 500
        failed = await client.post("/v1/chat/completions", json=ask(model="math"), headers=ON)
        math.status, math.hang_up_after = 200, 1
        cut = await client.post("/v1/chat/completions", json=ask(model="math", stream=True), headers=ON)
        math.hang_up_after = None
        await asyncio.sleep(1)  # it rests after its faults
        whole = await said(client, model="math")

    assert (503, 200) == (failed.status_code, cut.status_code)
    assert "error" in cut.text
    assert ["miss"] == outcomes(whole)


async def test_a_stream_whose_reader_left_is_not_kept() -> None:
    async with team() as (client, (math, _)):
        math.word_delay = 0.1
        body = ask(model="math", stream=True)
        async with client.stream("POST", "/v1/chat/completions", json=body, headers=ON) as left:
            await anext(left.aiter_bytes())
        math.word_delay = 0
        again = await said(client, model="math")

    assert ["miss"] == outcomes(again)


@pytest.mark.parametrize(("more", "outcome"), [({}, "miss"), ({"max_tokens": 1}, "hit")])
async def test_an_answer_that_ran_into_a_limit_is_kept_only_where_the_client_set_it(
    more: dict[str, Any], outcome: str
) -> None:
    async with team() as (client, (math, _)):
        choice = {"index": 0, "delta": {"role": "assistant", "content": "law"}, "finish_reason": "length"}
        math.chunks = [{"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}]
        await said(client, model="math", **more)
        again = await said(client, model="math", **more)

    assert [outcome] == outcomes(again)


async def test_a_stand_ins_answer_is_not_kept_under_the_name_of_the_one_that_was_asked() -> None:
    math, base = Counting("m"), Counting("b")
    async with serving(math, base):
        records = [expert_record("math", math, fallback=["base"]), expert_record("base", base)]
        async with gateway_over(records) as client:
            math.status = 500
            stood_in = await said(client, model="math")
            math.status = 200
            await asyncio.sleep(1)
            own = await said(client, model="math")

    assert ("base", "math") == (stood_in.json()["model"], own.json()["model"])
    assert ["miss"] == outcomes(own)


async def test_a_changed_expert_is_asked_anew() -> None:
    async with team() as (client, _):
        await said(client, model="math")
        before = await said(client, model="math")
        changed = await client.patch("/admin/experts/math", json={"description": "It was trained again."}, headers=BOSS)
        after = await said(client, model="math")
        law = [await said(client, model="law") for _ in range(2)]

    assert 200 == changed.status_code, changed.text
    assert ["hit", "miss", "miss", "hit"] == outcomes(before, after, *law)


async def test_a_fused_answer_is_given_again_with_how_it_came_about() -> None:
    fused: dict[str, Any] = {
        "model": "council",
        "routing": {"fusion": "synthesize", "max_experts": 2, "experts": {"allow": ["math", "law"]}},
    }
    async with team() as (client, (math, law)):
        first, again = await said(client, **fused), await said(client, **fused)
        asked = len(math.requests) + len(law.requests)
        other = await said(client, **{**fused, "routing": {**fused["routing"], "fusion": "vote"}})

    old, new = first.json(), again.json()
    assert ["miss", "hit", "miss"] == outcomes(first, again, other)
    assert old["fusion"] == new["fusion"]
    assert (old["choices"], old["usage"], old["model"]) == (new["choices"], new["usage"], new["model"])
    assert 3 == asked, "two candidates and a writer, once"


async def test_a_tool_call_is_given_again_whole_and_streamed() -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    parts = [({"role": "assistant", "tool_calls": [call]}, None), ({}, "tool_calls")]
    async with team() as (client, (math, _)):
        math.chunks = [
            {
                **{"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"},
                "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
            }
            for delta, reason in parts
        ]
        tools = [{"type": "function", "function": {"name": "add"}}]
        first, again = [await said(client, model="math", tools=tools) for _ in range(2)]
        streamed = await said(client, model="math", tools=tools, stream=True)

    assert first.json()["choices"] == again.json()["choices"]
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in streamed.text.split("\n\n") if '"delta"' in line]
    assert call == deltas[0]["tool_calls"][0]
    assert ["hit", "hit"] == outcomes(again, streamed)


async def test_the_ledger_counts_the_request_and_no_token_and_the_metrics_no_token_twice() -> None:
    async with team() as (client, _):
        key = await made(client, budget_usd=1000, requests_per_minute=10, tokens_per_minute=100_000)
        first = await said(client, {**ON, **bearer(key)}, model="math")
        paid = (await usage(client, by="key"))[0]
        again = await said(client, {**ON, **bearer(key)}, model="math")
        after = (await usage(client, by="key"))[0]
        metrics = (await client.get("/metrics")).text

    used = first.json()["usage"]
    assert (1, used["prompt_tokens"], used["completion_tokens"]) == tuple(
        paid[name] for name in ("requests", "prompt_tokens", "completion_tokens")
    )
    assert {**paid, "requests": 2} == after
    assert "8" == again.headers["x-ratelimit-remaining-requests"]
    remaining = "x-ratelimit-remaining-tokens"
    assert first.headers[remaining] >= again.headers[remaining]
    assert f'consilium_tokens_total{{expert="math",kind="prompt"}} {used["prompt_tokens"]:.1f}' in metrics
    assert 'consilium_cache_total{outcome="hit"} 1.0' in metrics
    assert 'consilium_cache_total{outcome="miss"} 1.0' in metrics


async def test_the_log_line_of_an_answer_given_again_says_hit_and_no_tokens(caplog: pytest.LogCaptureFixture) -> None:
    async with team() as (client, _):
        with caplog.at_level("INFO", "gateway"):
            for _ in range(2):
                await said(client, model="math")

    lines = [vars(each)["facts"] for each in caplog.records if each.getMessage() == "request"]
    made, again = (line for line in lines if "cache" in line)
    assert made["prompt_tokens"] > 0 < made["completion_tokens"]
    assert ("miss", "hit", 0, 0) == (made["cache"], again["cache"], again["prompt_tokens"], again["completion_tokens"])
    assert "math" == again["answered_by"]


async def test_answers_are_forgotten_after_their_time_and_none_is_kept_that_is_too_large() -> None:
    async with team(cache={"ttl_seconds": 1, "max_entry_bytes": 1500}) as (client, _):
        short = [await said(client, model="math")]
        short.append(await said(client, model="math"))
        await asyncio.sleep(1.1)
        short.append(await said(client, model="math"))
        long = [await said(client, model="math", text="word " * 400) for _ in range(2)]

    assert ["miss", "hit", "miss"] == outcomes(*short)
    assert ["miss", "miss"] == outcomes(*long)


async def test_an_operator_may_turn_it_off_for_everybody() -> None:
    async with team(cache={"enabled": False}) as (client, (math, _)):
        answers = [await said(client, model="math") for _ in range(2)]

    assert [None, None] == outcomes(*answers)
    assert 2 == len(math.requests)


@pytest.mark.redis
@pytest.mark.slow
async def test_gateways_on_one_redis_share_answers_and_without_it_each_is_a_miss(tmp_path: Path) -> None:
    expert = Counting()
    with redis_server() as redis:
        async with serving(expert), gateways(2, tmp_path, redis, expert) as (one, two):
            first, shared = await said(one, model="math"), await said(two, model="math")
            redis.kill()
            away = [await said(one, model="math") for _ in range(3)]
            metrics = (await one.get("/metrics")).text
            redis.start()
            await asyncio.sleep(1.2)
            back = await said(one, model="math")

    assert ["miss", "hit", "miss", "miss", "miss", "hit"] == outcomes(first, shared, *away, back)
    assert content(first) == content(shared)
    assert 4 == len(expert.requests)
    assert 'consilium_cache_total{outcome="unavailable"}' in metrics
