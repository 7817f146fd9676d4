"""Promises 1 to 6: whatever a server does before the first token, the client sees one answer, or one clear error."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from gateway.settings import Settings
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving
from tests.fakes.rude_expert import Manner, RudeExpert, rude
from tests.integration.promises.asking import CHAT, ask, events, gauges, said
from tests.processes import free_port


def ok(words: str = "ok") -> FakeExpert:
    return FakeExpert(reply=lambda _: words)


def rude_record(name: str, *servers: RudeExpert, **more: Any) -> dict[str, Any]:
    for server in servers:
        server.model = name
    return {"name": name, "replicas": [{"base_url": server.url} for server in servers], **more}


FAULTS: dict[str, dict[str, Any]] = {
    "errors": {"status": 500},
    "garbles": {"garbage": True},
    "hangs-up": {"hang_up_after": 0},
}


@pytest.mark.parametrize("stream", [False, True])
async def test_1_a_server_that_fails_before_the_first_token_is_replaced_at_once(stream: bool) -> None:
    broken, whole = [FakeExpert(**fault) for fault in FAULTS.values()], ok()
    async with serving(*broken, whole):
        records = [expert_record(name, server) for name, server in zip(FAULTS, broken, strict=True)]
        for record in records:
            record["replicas"].append({"base_url": whole.url, "weight": 0.5})
        whole.models = tuple(FAULTS)
        async with gateway_over(records) as client:
            begun = time.monotonic()
            answers = [await client.post(CHAT, json=ask(name, stream=stream)) for name in FAULTS]
            took = time.monotonic() - begun

    assert [(200, "2")] * 3 == [(each.status_code, each.headers["x-consilium-attempts"]) for each in answers]
    texts = [said(events(a.text)) if stream else a.json()["choices"][0]["message"]["content"] for a in answers]
    assert ["ok"] * 3 == texts
    assert [1, 1, 1] == [len(server.requests) for server in broken]
    assert took < 2


async def test_1_broken_connections_lead_to_another_replica_then_to_the_fallback() -> None:
    manners: tuple[Manner, ...] = ("deaf", "nonsense", "resets")
    pairs, base = {m: [RudeExpert(manner=m, words=0) for _ in range(2)] for m in manners}, ok()
    limits = {"first_token_timeout_seconds": 0.3}
    async with rude(*(server for pair in pairs.values() for server in pair)), serving(base):
        records = [rude_record(m, *pair, fallback=["base"], limits=limits) for m, pair in pairs.items()]
        async with gateway_over([*records, expert_record("base", base)]) as client:
            answers = [await client.post(CHAT, json=ask(manner)) for manner in manners]

    assert [(200, "base", "3")] * 3 == [
        (each.status_code, each.json().get("model"), each.headers["x-consilium-attempts"]) for each in answers
    ]


async def test_1_a_kept_connection_that_is_dead_costs_no_attempt() -> None:
    server = RudeExpert(manner="closes_reused")
    async with rude(server), gateway_over([rude_record("math", server)]) as client:
        answers = [await client.post(CHAT, json=ask()) for _ in range(3)]
        record = (await client.get("/metrics")).text

    assert [200] * 3 == [answer.status_code for answer in answers]
    assert ["1"] * 3 == [answer.headers["x-consilium-attempts"] for answer in answers]
    assert 5 == server.requests.count("/v1/chat/completions"), "each but the first was sent again, once"
    assert "consilium_expert_ready" in record


async def test_2_a_replica_that_answers_429_rests_as_long_as_it_asks_and_others_serve() -> None:
    busy, free = FakeExpert(status=429, retry_after="30"), ok()
    async with serving(busy, free):
        record = expert_record("math", busy)
        record["replicas"].append({"base_url": free.url})
        free.models = ("math",)
        async with gateway_over([record]) as client:
            answers = [await client.post(CHAT, json=ask()) for _ in range(8)]

    assert [200] * 8 == [answer.status_code for answer in answers]
    assert len(busy.requests) <= 1


async def test_2_where_every_replica_asked_for_a_pause_the_fallback_is_asked_first() -> None:
    busy, base = FakeExpert(status=429, retry_after="30"), ok()
    async with serving(busy, base):
        records = [expert_record("math", busy, fallback=["base"]), expert_record("base", base)]
        async with gateway_over(records) as client:
            answers = [await client.post(CHAT, json=ask()) for _ in range(4)]

    assert [(200, "base")] * 4 == [(answer.status_code, answer.json()["model"]) for answer in answers]
    assert (1, 4) == (len(busy.requests), len(base.requests))


async def test_3_a_refused_request_is_passed_on_once_and_held_against_nobody() -> None:
    statuses = (400, 404, 413, 422)
    servers, base = {status: [FakeExpert(status=status) for _ in range(2)] for status in statuses}, ok()
    async with serving(base, *(server for pair in servers.values() for server in pair)):
        records = [expert_record(f"e{status}", servers[status][0], fallback=["base"]) for status in statuses]
        for record, pair in zip(records, servers.values(), strict=True):
            record["replicas"].append({"base_url": pair[1].url})
        async with gateway_over([*records, expert_record("base", base)]) as client:
            asked = [(status, stream) for status in statuses for stream in (False, True)]
            answers = [await client.post(CHAT, json=ask(f"e{status}", stream=stream)) for status, stream in asked]

    assert [status for status, _ in asked] == [answer.status_code for answer in answers]
    assert ["knob"] * 8 == [answer.json()["error"]["code"] for answer in answers]
    assert [2] * 4 == [sum(len(server.requests) for server in pair) for pair in servers.values()]
    assert [] == base.requests


async def test_4_only_faults_open_a_breaker() -> None:
    slow = FakeExpert(first_token_delay=1)
    states = {"429": "closed", "503": "closed", "422": "closed", "500": "open", "slow": "closed"}
    servers = {what: FakeExpert(status=int(what), retry_after="0") for what in states if what != "slow"}
    settings = Settings(admin_key=SecretStr("admin"))
    async with serving(slow, *servers.values()):
        records = [expert_record(f"e{what}", server) for what, server in {**servers, "slow": slow}.items()]
        async with gateway_over(records, settings=settings) as client:
            for what in states:
                deadline = 40 if what == "slow" else 5000
                for _ in range(5):
                    await client.post(CHAT, json=ask(f"e{what}", routing={"deadline_ms": deadline}))
            found = {what: await breaker(client, f"e{what}") for what in states}

    assert states == found
    assert [5] * 4 == [len(server.requests) for server in servers.values()], "a breaker never refuses by itself"


async def breaker(client: httpx.AsyncClient, name: str) -> str:
    shown = await client.get(f"/admin/experts/{name}", headers={"authorization": "Bearer admin"})
    state: str = shown.json()["health"][0]["breaker"]
    return state


async def test_4_an_open_breaker_lets_the_fallback_answer_and_half_open_one_call_tries() -> None:
    server, base = FakeExpert(status=500, reply=lambda _: "back"), ok()
    async with serving(server, base):
        record = expert_record("math", server, fallback=["base"])
        async with gateway_over([record, expert_record("base", base)]) as client:
            for _ in range(3):
                await client.post(CHAT, json=ask())
            failed = len(server.requests)
            at_once = await client.post(CHAT, json=ask())
            open_meanwhile = len(server.requests)
            server.status = 200
            deadline = time.monotonic() + 8
            while (answer := await client.post(CHAT, json=ask())).json()["model"] != "math":
                assert time.monotonic() < deadline

    assert (3, 3) == (failed, open_meanwhile)
    assert ("base", "1") == (at_once.json()["model"], at_once.headers["x-consilium-attempts"])
    assert "back" == answer.json()["choices"][0]["message"]["content"]


async def test_5_with_nobody_left_a_503_says_when_to_come_back_and_nothing_hangs() -> None:
    nowhere = [{"base_url": f"http://127.0.0.1:{free_port()}/v1"} for _ in range(2)]
    record = {"name": "math", "replicas": nowhere, "fallback": ["base"]}
    base = {"name": "base", "replicas": nowhere[:1]}
    async with gateway_over([record, base]) as client:
        begun = time.monotonic()
        answers = [await client.post(CHAT, json=ask(stream=stream)) for stream in (False, True)]
        took = time.monotonic() - begun

    for answer in answers:
        assert (503, "expert_unavailable") == (answer.status_code, answer.json()["error"]["code"])
        assert int(answer.headers["retry-after"]) >= 1
        assert "3" == answer.headers["x-consilium-attempts"]
    assert took < 2


async def test_6_a_reset_in_mid_stream_is_an_error_event_but_a_whole_answer_is_asked_of_another() -> None:
    server, base = RudeExpert(manner="resets", words=2), ok()
    async with rude(server), serving(base):
        record = rude_record("math", server, fallback=["base"])
        async with gateway_over([record, expert_record("base", base)]) as client:
            chunks = events((await client.post(CHAT, json=ask(stream=True))).text)
            first = len(base.requests)
            whole = await client.post(CHAT, json=ask())

    assert "word word" == said(chunks[:-1])
    assert "expert_unavailable" == chunks[-1]["error"]["code"]
    assert (0, 1) == (first, len(base.requests)), "nobody has seen a whole answer before its end"
    assert (200, "base", "2") == (whole.status_code, whole.json()["model"], whole.headers["x-consilium-attempts"])


async def test_6_whatever_breaks_a_stream_its_client_can_parse_the_end() -> None:
    faults: dict[str, dict[str, Any]] = {
        "garbles": {"garbage_after": 2},
        "hangs-up": {"hang_up_after": 2},
        "stalls": {"stall_after": 2},
    }
    words: dict[str, Any] = {"reply": lambda _: "one two three four", "word_delay": 0.02}
    servers = [FakeExpert(**words, **fault) for fault in faults.values()]
    async with serving(*servers):
        limits = {"idle_timeout_seconds": 0.3}
        records = [expert_record(name, server, limits=limits) for name, server in zip(faults, servers, strict=True)]
        async with gateway_over(records) as client:
            streams = [events((await client.post(CHAT, json=ask(name, stream=True))).text) for name in faults]

    for name, chunks in zip(faults, streams, strict=True):
        assert "one two" == said(chunks[:-1]), name
        assert {"message", "type", "param", "code", "expert"} == set(chunks[-1]["error"])
        assert "[DONE]" not in chunks


async def test_6_where_it_is_configured_another_expert_continues_a_text_and_the_stream_says_so() -> None:
    breaks = FakeExpert(reply=lambda _: "one two three four", hang_up_after=2, word_delay=0.02)
    base = FakeExpert(reply=lambda _: " three four")
    async with serving(breaks, base):
        records = [expert_record("math", breaks, fallback=["base"]), expert_record("base", base)]
        async with gateway_over(records, routing={"continue_on_failure": True}) as client:
            text = events((await client.post(CHAT, json=ask(stream=True))).text)
            asked = base.requests[-1]["messages"]
            form = {"type": "json_object"}
            formed = events((await client.post(CHAT, json=ask(stream=True, response_format=form))).text)
            left, metrics = await gauges(client), (await client.get("/metrics")).text

    assert ("one two three four", "[DONE]") == (said(text), text[-1])
    marks = [chunk["continued"] for chunk in text[:-1] if "continued" in chunk]
    assert [{"by": "base", "after": "math: ExpertUnavailable"}] == marks
    assert ("assistant", "one two") == (asked[-2]["role"], asked[-2]["content"])
    assert "expert_unavailable" == formed[-1]["error"]["code"]
    for sample in ('tokens_total{expert="base",kind="completion"} 3.0', 'attempts_total{expert="base"} 1.0'):
        assert f"consilium_{sample}" in metrics, "what the continuation took is its expert's"
    assert {} == left
