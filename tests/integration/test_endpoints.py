"""Text completions, embeddings, responses and messages through the gateway: chat's way, byte for byte."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from experts.types import Endpoint
from gateway.settings import Settings
from tests.conftest import expert_record, gateway_over
from tests.fakes.endpoints import FakeEndpoints
from tests.fakes.expert import FakeExpert, serving

MATH = {"domains": ["math"], "examples": ["Calculate 3 + 4.", "Solve 2 x = 8."]}
LAW = {"domains": ["law"], "examples": ["Is a verbal contract binding?", "Can my landlord end the lease?"]}
SUM, LEASE = "Calculate 10 - 3.", "Can my landlord end the lease early?"
STREAMED: list[Endpoint] = ["completions", "responses", "messages"]
EVERY: list[Endpoint] = [*STREAMED, "embeddings"]


def ask(endpoint: Endpoint, text: str = SUM, **more: Any) -> dict[str, Any]:
    said: dict[Endpoint, dict[str, Any]] = {
        "completions": {"prompt": text},
        "embeddings": {"input": text, "model": "math"},
        "responses": {"input": text},
        "messages": {"messages": [{"role": "user", "content": text}], "max_tokens": 50},
    }
    return {**said[endpoint], **more}


def shown_model(answer: dict[str, Any]) -> str:
    return str(answer["model"])


async def post(client: httpx.AsyncClient, endpoint: Endpoint, body: dict[str, Any], **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(f"/v1/{endpoint}", json=body, headers=named)


@pytest.mark.parametrize("endpoint", STREAMED)
async def test_auto_picks_the_expert_by_what_the_text_says(endpoint: Endpoint) -> None:
    math, law = FakeExpert(), FakeExpert()
    async with serving(math, law):
        records = [expert_record("math", math, **MATH), expert_record("law", law, **LAW)]
        async with gateway_over(records) as client:
            first = await post(client, endpoint, ask(endpoint, SUM), x_request_id="req-1")
            second = await post(client, endpoint, ask(endpoint, LEASE, routing={"explain": True, "cache": "on"}))

    assert ["math", "law"] == [shown_model(answer.json()) for answer in (first, second)]
    assert ["math", "law"] == [answer.headers["x-consilium-experts"] for answer in (first, second)]
    assert ("req-1", "1") == (first.headers["x-request-id"], first.headers["x-consilium-attempts"])
    assert first.headers["x-consilium-domains"].startswith("math=")
    assert "routing.explain,routing.cache" == second.headers["x-consilium-ignored"]
    assert (1, 1) == (len(math.endpoints.bodies), len(law.endpoints.bodies))


@pytest.mark.parametrize("endpoint", EVERY)
async def test_every_byte_but_the_models_name_passes_both_ways(endpoint: Endpoint) -> None:
    answer = (
        b'{ "model":"hub/math-7b" , "n": 1.50e0, "text": "\\u00e9", "usage":{"prompt_tokens":2,"input_tokens":2} }\n'
    )
    fake = FakeExpert(endpoints=FakeEndpoints(answer=answer))
    said = json.dumps(ask(endpoint, "caf\u00e9")).encode()[1:-1].replace(b'"model": "math"', b'"user": "x"')
    sent = b'{ "model" :  "math", "routing": {"priority": 1},' + said + b', "seed" : 12345678901234567890 }'
    async with serving(fake), gateway_over([expert_record("math", fake, model="hub/math-7b")]) as client:
        came = await client.post(f"/v1/{endpoint}", content=sent)

    sent = sent.replace(b'"math"', b'"hub/math-7b"', 1).replace(b'"routing": {"priority": 1},', b"")
    assert [sent] == fake.endpoints.bodies
    assert answer.replace(b"hub/math-7b", b"math") == came.content


@pytest.mark.parametrize("endpoint", STREAMED)
async def test_events_come_as_they_are_under_the_experts_name(endpoint: Endpoint) -> None:
    fake = FakeExpert()
    async with serving(fake), gateway_over([expert_record("math", fake, model="fake")]) as client:
        came = await post(client, endpoint, ask(endpoint, "one two three", stream=True))
        async with httpx.AsyncClient() as direct:
            body = ask(endpoint, "one two three", stream=True, model="fake")
            original = await direct.post(f"{fake.url}/{endpoint}", json=body)

    assert original.content.replace(b'"model": "fake"', b'"model": "math"') == came.content
    assert came.headers["content-type"].startswith("text/event-stream")
    assert "math" == came.headers["x-consilium-experts"]


@pytest.mark.parametrize("endpoint", EVERY)
async def test_tokens_are_counted_wherever_the_server_tells_them(endpoint: Endpoint) -> None:
    fake = FakeExpert()
    price = {"input_per_million": 1000000, "output_per_million": 1000000}
    async with serving(fake), gateway_over([expert_record("math", fake, price=price)]) as client:
        whole = await post(client, endpoint, ask(endpoint, "one two three"))
        if endpoint in STREAMED:
            asked = {"stream": True, "stream_options": {"include_usage": True}}
            await post(client, endpoint, ask(endpoint, "one two three", **asked))
        metrics = (await client.get("/metrics")).text

    times, written = (2, 3) if endpoint in STREAMED else (1, 0)
    assert float(whole.headers["x-consilium-cost-usd"]) == 7 + written
    assert f'consilium_tokens_total{{expert="math",kind="prompt"}} {7 * times}.0' in metrics
    assert f'consilium_tokens_total{{expert="math",kind="completion"}} {written * times}.0' in metrics
    assert (
        f'consilium_requests_total{{model="{"math" if endpoint == "embeddings" else "auto"}",status="200"}}' in metrics
    )


@pytest.mark.parametrize("endpoint", STREAMED)
async def test_another_replica_and_then_a_stand_in_take_over_before_the_first_byte(endpoint: Endpoint) -> None:
    broken, mute, alive = FakeExpert(status=500), FakeExpert(hang_up_after=0), FakeExpert()
    async with serving(broken, mute, alive):
        dead = expert_record("math", broken, fallback=["base"])
        dead["replicas"].append({"base_url": mute.url})
        async with gateway_over([dead, expert_record("base", alive)]) as client:
            whole = await post(client, endpoint, ask(endpoint, "a b", model="math"))
            streamed = await post(client, endpoint, ask(endpoint, "a b", model="math", stream=True))

    assert ["200 base"] * 2 == [
        f"{each.status_code} {each.headers['x-consilium-experts']}" for each in (whole, streamed)
    ]
    assert int(streamed.headers["x-consilium-attempts"]) >= 2


@pytest.mark.parametrize("endpoint", STREAMED)
async def test_a_stream_that_breaks_ends_with_an_error_event_and_nobody_begins_it_again(endpoint: Endpoint) -> None:
    fake, base = FakeExpert(hang_up_after=2), FakeExpert()
    async with serving(fake, base):
        records = [expert_record("math", fake, fallback=["base"]), expert_record("base", base)]
        async with gateway_over(records, routing={"continue_on_failure": True}) as client:
            came = await post(client, endpoint, ask(endpoint, "one two three", model="math", stream=True))

    last = came.text.rstrip("\n").rpartition("data: ")[2]
    assert (200, []) == (came.status_code, base.endpoints.bodies)
    assert "expert_unavailable" == json.loads(last)["error"]["code"]
    assert "[DONE]" not in came.text


@pytest.mark.parametrize("endpoint", EVERY)
async def test_a_refusal_is_passed_on_once_in_the_endpoints_shape(endpoint: Endpoint) -> None:
    fake = FakeExpert(status=422)
    async with serving(fake), gateway_over([expert_record("math", fake)]) as client:
        came = await post(client, endpoint, ask(endpoint))

    assert (422, 1) == (came.status_code, len(fake.endpoints.bodies))
    assert "refused with 422" in came.json()["error"]["message"]
    assert ("error" if endpoint == "messages" else None) == came.json().get("type")


async def test_the_clients_own_mistakes_have_the_endpoints_shape() -> None:
    fake = FakeExpert()
    async with serving(fake), gateway_over([expert_record("math", fake)]) as client:
        council = await post(client, "messages", ask("messages", model="council"))
        unknown = await post(client, "messages", ask("messages", model="gpt-9"))
        method = await client.get("/v1/messages")
        plain = await post(client, "responses", ask("responses", model="council"))

    assert [400, 404, 405] == [each.status_code for each in (council, unknown, method)]
    assert ["invalid_request_error", "not_found_error", "invalid_request_error"] == [
        each.json()["error"]["type"] for each in (council, unknown, method)
    ]
    assert {"error"} == {each.json()["type"] for each in (council, unknown, method)}
    assert council.headers["x-request-id"] == council.json()["request_id"]
    assert ("model", {"error"}) == (plain.json()["error"]["param"], set(plain.json()))


async def test_a_client_that_leaves_aborts_the_experts_work() -> None:
    fake = FakeExpert(word_delay=0.05)
    async with serving(fake), gateway_over([expert_record("math", fake)]) as client:
        text = " ".join(["word"] * 200)
        async with client.stream("POST", "/v1/messages", json=ask("messages", text, stream=True)) as stream:
            await anext(stream.aiter_bytes())
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/responses", json=ask("responses", text), timeout=0.5)
        for _ in range(100):
            metrics = (await client.get("/metrics")).text
            if not fake.running and 'consilium_expert_in_flight{expert="math"} 0.0' in metrics:
                break
            await asyncio.sleep(0.02)

    assert (0, 1) == (fake.running, fake.aborted)
    assert 'consilium_expert_in_flight{expert="math"} 0.0' in metrics


async def test_deadlines_hold_for_whole_answers_and_streams() -> None:
    slow = FakeExpert(first_token_delay=5)
    async with serving(slow), gateway_over([expert_record("math", slow)]) as client:
        options = {"deadline_ms": 300}
        whole = await post(client, "messages", ask("messages", routing=options))
        streamed = await post(client, "responses", ask("responses", stream=True, routing=options))

    assert [504, 504] == [whole.status_code, streamed.status_code]
    assert "timeout_error" == whole.json()["error"]["type"]


async def test_a_whole_answer_may_take_longer_than_a_first_token_may() -> None:
    slow = FakeExpert(first_token_delay=0.8)
    limits = {"first_token_timeout_seconds": 0.3}
    async with serving(slow), gateway_over([expert_record("math", slow, limits=limits)]) as client:
        whole = await post(client, "completions", ask("completions"))

    assert 200 == whole.status_code


async def test_auto_goes_to_who_speaks_the_endpoint() -> None:
    mute, law, base = FakeExpert(endpoints=FakeEndpoints(spoken=())), FakeExpert(), FakeExpert()
    async with serving(mute, law, base):
        experts = [
            expert_record("math", mute, **MATH),
            expert_record("law", law, endpoints=["chat", "completions"], **LAW),
            expert_record("base", base),
        ]
        async with gateway_over(experts) as client:
            found = [await post(client, "messages", ask("messages", SUM)) for _ in range(3)]
            declared = await post(client, "messages", ask("messages", LEASE))
            named = await post(client, "messages", ask("messages", model="math"))
            refused = await post(client, "messages", ask("messages", model="law"))
            chat = await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": SUM}]})

    assert ["base"] * 3 == [shown_model(each.json()) for each in found]
    assert ["2", "1", "1"] == [each.headers["x-consilium-attempts"] for each in found]
    assert "base" == shown_model(declared.json())
    assert (404, "not_found_error") == (named.status_code, named.json()["error"]["type"])
    assert "does not speak /v1/messages" in named.json()["error"]["message"]
    assert (400, "model") == (refused.status_code, refused.json()["error"]["param"])
    assert "math" == chat.json()["model"]


async def test_embeddings_come_from_one_expert_only() -> None:
    math, vectors, down = FakeExpert(), FakeExpert(), FakeExpert(status=500)
    async with serving(math, vectors, down):
        experts = [
            expert_record("math", math, **MATH),
            expert_record("vectors", vectors, endpoints=["embeddings"]),
            expert_record("down", down, endpoints=["embeddings"], fallback=["vectors"]),
        ]
        async with gateway_over(experts[:2]) as client:
            alone = await post(client, "embeddings", {"model": "auto", "input": ["a", "b"]})
            chat = await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]})
            council = await client.post(
                "/v1/chat/completions", json={"model": "vectors", "messages": [{"role": "user", "content": "hi"}]}
            )
        async with gateway_over(experts) as client:
            several = await post(client, "embeddings", {"input": "a"})
            allowed = await post(client, "embeddings", {"input": "a"}, x_consilium_experts="math,vectors")
            broken = await post(client, "embeddings", {"input": "a", "model": "down"})
        async with gateway_over(experts[:1]) as client:
            none = await post(client, "embeddings", {"input": "a"})
            named = await post(client, "embeddings", {"input": "a", "model": "math"})

    assert ("vectors", 2) == (alone.json()["model"], len(alone.json()["data"]))
    assert "math" == chat.json()["model"]
    assert (400, "model") == (council.status_code, council.json()["error"]["param"])
    assert [400, 400] == [several.status_code, none.status_code]
    assert "vectors" == allowed.json()["model"]
    assert "vectors, down do" in several.json()["error"]["message"]
    assert (503, "math") == (broken.status_code, named.json()["model"])


async def test_keys_limits_and_the_ledger_count_every_endpoint() -> None:
    fake = FakeExpert()
    settings = Settings(keep_alive_seconds=0.5, admin_key=SecretStr("admin"), store=":memory:")
    async with serving(fake), gateway_over([expert_record("math", fake)], settings=settings) as client:
        admin = {"authorization": "Bearer admin"}
        limited = {"name": "limited", "requests_per_minute": 4}
        key = (await client.post("/admin/keys", json=limited, headers=admin)).json()["key"]
        answers = [await post(client, endpoint, ask(endpoint, "a b c"), x_api_key=key) for endpoint in EVERY]
        fifth = await post(client, "messages", ask("messages"), x_api_key=key)
        stranger = await post(client, "messages", ask("messages"), x_api_key="wrong")
        usage = (await client.get("/admin/usage?by=key", headers=admin)).json()
        decisions = (await client.get("/admin/decisions", headers=admin)).json()

    assert [200] * 4 == [answer.status_code for answer in answers]
    assert "0" == answers[-1].headers["x-ratelimit-remaining-requests"]
    assert (429, "rate_limit_error") == (fifth.status_code, fifth.json()["error"]["type"])
    assert int(fifth.headers["retry-after"]) >= 1
    assert (401, "authentication_error") == (stranger.status_code, stranger.json()["error"]["type"])
    assert 4 == sum(row["requests"] for row in usage["data"])
    assert 4 * 7 == sum(row["prompt_tokens"] for row in usage["data"])
    assert 4 == len(decisions["data"])
    assert all("authorization" not in sent and "x-api-key" not in sent for sent in fake.endpoints.headers)
