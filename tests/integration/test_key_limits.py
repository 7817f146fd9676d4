"""Limits, budgets and usage of keys over real sockets."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import SecretStr

from gateway.settings import Settings
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving
from tests.integration.test_batches import ended, line, lines_of
from tests.integration.test_keys import BOSS, ask, bearer, chat, made

PRICE = {"price": {"input_per_million": 1_000_000, "output_per_million": 2_000_000}}
"""A dollar a token read, two a token written: sums that can be seen."""


@asynccontextmanager
async def one_expert(expert: FakeExpert, **sections: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(expert):
        settings = Settings(keep_alive_seconds=0.5, admin_key=SecretStr("boss"))
        async with gateway_over([expert_record("math", expert, **PRICE)], settings=settings, **sections) as client:
            yield client


def remaining(answer: httpx.Response) -> tuple[int, int]:
    left = [answer.headers[f"x-ratelimit-remaining-{what}"] for what in ("requests", "tokens")]
    return int(left[0]), int(left[1])


async def usage(client: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    answer = await client.get("/admin/usage", params=query, headers=BOSS)
    assert 200 == answer.status_code, answer.text
    return list(answer.json()["data"])


async def test_every_answer_of_a_limited_key_says_what_is_left_and_the_last_says_when_to_come_back() -> None:
    async with one_expert(FakeExpert()) as client:
        key = await made(client, requests_per_minute=3)
        answers = [
            await chat(client, key),
            await chat(client, key, model="nobody"),
            await chat(client, key, stream=True),
        ]
        refused = await chat(client, key)

    assert [200, 404, 200, 429] == [each.status_code for each in (*answers, refused)]
    assert ["2", "1", "0", "0"] == [each.headers["x-ratelimit-remaining-requests"] for each in (*answers, refused)]
    assert {"3"} == {each.headers["x-ratelimit-limit-requests"] for each in (*answers, refused)}
    assert "x-ratelimit-limit-tokens" not in refused.headers
    assert "rate_limit_exceeded" == refused.json()["error"]["code"]
    assert 1 <= int(refused.headers["retry-after"]) <= 61


async def test_the_openai_sdk_knows_the_refusal_for_what_it_is() -> None:
    async with one_expert(FakeExpert()) as client:
        key = await made(client, requests_per_minute=1)
        sdk = openai.AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key=key["key"], max_retries=0)
        async with sdk:
            await sdk.chat.completions.create(model="auto", messages=[{"role": "user", "content": "one"}])
            with pytest.raises(openai.RateLimitError) as refused:
                await sdk.chat.completions.create(model="auto", messages=[{"role": "user", "content": "two"}])

    assert "rate_limit_exceeded" == refused.value.code


async def test_tokens_are_reserved_and_put_right_by_what_the_answer_took() -> None:
    expert = FakeExpert(reply=lambda _: "one two three")
    async with one_expert(expert) as client:
        key = await made(client, requests_per_minute=10, tokens_per_minute=1000)
        first = await chat(client, key, max_tokens=400)
        streamed = await chat(client, key, max_tokens=400, stream=True)
        last = await chat(client, key, max_tokens=400)
        too_large = await chat(client, key, max_tokens=1001)

    reserved = 400 + round(len("What is 2 + 2?") / 4)
    took = 5 + 3
    assert [1000 - reserved, 1000 - reserved - took, 1000 - reserved - 2 * took] == [
        remaining(each)[1] for each in (first, streamed, last)
    ]
    assert (429, "false") == (too_large.status_code, too_large.headers["x-should-retry"])
    assert "max_tokens" in too_large.json()["error"]["message"]


async def test_an_answer_that_its_reader_leaves_is_charged_for_what_was_written() -> None:
    expert = FakeExpert(reply=lambda _: "word " * 500, word_delay=0.01)
    async with one_expert(expert) as client:
        key = await made(client, tokens_per_minute=1000)
        request = client.stream("POST", "/v1/chat/completions", json=ask(stream=True), headers=bearer(key))
        async with request as answer:
            lines = answer.aiter_lines()
            for _ in range(40):
                await anext(lines)
        while expert.running:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        (row,) = await usage(client, by="key")
        after = await chat(client, key, max_tokens=1)

    assert 15 <= row["completion_tokens"] <= 200
    assert 0 < row["prompt_tokens"] < 10
    left = int(after.headers["x-ratelimit-remaining-tokens"])
    assert 1000 - row["completion_tokens"] - row["prompt_tokens"] - 5 == left


async def test_a_request_that_fails_before_anybody_is_asked_takes_no_tokens() -> None:
    async with one_expert(FakeExpert()) as client:
        key = await made(client, tokens_per_minute=1000)
        for body in ({"model": "nobody"}, {"routing": {"policy": "nonsense"}}):
            assert 400 <= (await chat(client, key, **body)).status_code < 500
        answer = await chat(client, key, max_tokens=96)

    assert "900" == answer.headers["x-ratelimit-remaining-tokens"]


async def test_a_spent_budget_is_insufficient_quota_and_not_tried_again() -> None:
    expert = FakeExpert(reply=lambda _: "one two three")
    async with one_expert(expert) as client:
        forever, daily = await made(client, budget_usd=20), await made(client, budget_usd=20, budget_period="day")
        codes = [[(await chat(client, key)).status_code for _ in range(3)] for key in (forever, daily)]
        refused, until_midnight = await chat(client, forever), await chat(client, daily)
        rows = await usage(client, by="key")

    assert [[200, 200, 429]] * 2 == codes
    assert "insufficient_quota" == refused.json()["error"]["code"] == refused.json()["error"]["type"]
    assert ("false", None) == (refused.headers.get("x-should-retry"), refused.headers.get("retry-after"))
    assert 0 < int(until_midnight.headers["retry-after"]) <= 86_400
    assert [22.0, 22.0] == [row["cost_usd"] for row in rows]
    assert 4 == len(expert.requests)


async def test_a_budget_is_still_spent_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_STORE", str(tmp_path / "kept.db"))
    expert = FakeExpert(reply=lambda _: "one two three")
    async with one_expert(expert) as client:
        key = await made(client, budget_usd=10)
        first = await chat(client, key)
    async with one_expert(FakeExpert()) as client:
        again = await chat(client, key)
        rows = await usage(client, by="key,expert")

    assert [200, 429] == [first.status_code, again.status_code]
    assert [(key["id"], "ann", "math", 1, 11.0)] == [
        (row["key"], row["key_name"], row["expert"], row["requests"], row["cost_usd"]) for row in rows
    ]


async def test_a_council_counts_once_for_its_key_and_once_for_each_expert_that_took_part() -> None:
    one, two = FakeExpert(reply=lambda _: "Answer: 4"), FakeExpert(reply=lambda _: "Answer: 5")
    async with serving(one, two):
        records = [expert_record("one", one, **PRICE), expert_record("two", two)]
        settings = Settings(keep_alive_seconds=0.5, admin_key=SecretStr("boss"))
        async with gateway_over(records, settings=settings) as client:
            key = await made(client)
            fused = await chat(client, key, model="council", routing={"fusion": "vote", "max_experts": 2})
            by_key, by_expert = await usage(client, by="key"), await usage(client, by="expert")
            sheet = await client.get("/admin/usage?format=csv&by=day,expert", headers=BOSS)
            wrong = [await client.get(f"/admin/usage?{query}", headers=BOSS) for query in ("by=moon", "since=x")]

    said = fused.json()["usage"]
    assert [(1, said["prompt_tokens"], said["completion_tokens"])] == [
        (row["requests"], row["prompt_tokens"], row["completion_tokens"]) for row in by_key
    ]
    assert {"one": 1, "two": 1} == {row["expert"]: row["requests"] for row in by_expert}
    assert by_key[0]["cost_usd"] == sum(row["cost_usd"] for row in by_expert) > 0
    table = list(csv.DictReader(sheet.text.splitlines()))
    assert ["one", "two"] == [row["expert"] for row in table]
    assert "text/csv" in sheet.headers["content-type"]
    assert [400, 400] == [each.status_code for each in wrong]


async def test_a_batch_runs_under_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path))
    math, law = FakeExpert(reply=lambda _: "one two three"), FakeExpert()
    async with serving(math, law):
        records = [
            expert_record("math", math, fallback=["law"], limits={"max_in_flight": 1}, **PRICE),
            expert_record("law", law),
        ]
        settings = Settings(keep_alive_seconds=0.5, admin_key=SecretStr("boss"))
        async with gateway_over(records, settings=settings) as client:
            key = await made(client, experts=["math"], budget_usd=25, requests_per_minute=1)
            other = await made(client)
            lines = [line("named", "Hello", model="law"), *(line(f"n{n}", f"say {n}") for n in range(6))]
            content = b"".join(json.dumps(each).encode() + b"\n" for each in lines)
            mine = httpx.AsyncClient(base_url=client.base_url, headers=bearer(key), timeout=30)
            async with mine:
                sent = await mine.post("/v1/files", files={"file": ("in", content)}, data={"purpose": "batch"})
                file_id = sent.json()["id"]
                order = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
                batch = (await mine.post("/v1/batches", json=order)).json()["id"]
                whole = await ended(mine, batch)
                out = {each["custom_id"]: each["response"] for each in await lines_of(mine, whole["output_file_id"])}
            foreign = await client.get(f"/v1/files/{file_id}", headers=bearer(other))
            (row,) = await usage(client, by="key")

    codes = sorted(response["status_code"] for response in out.values())
    assert 403 == out["named"]["status_code"]
    assert 0 == len(law.requests)
    assert 404 == foreign.status_code
    assert codes.count(200) >= 3
    assert codes.count(429) >= 1
    assert {"insufficient_quota"} == {
        each["body"]["error"]["code"] for each in out.values() if each["status_code"] == 429
    }
    assert codes.count(200) == row["requests"]


async def test_a_key_revoked_in_the_middle_of_its_batch_ends_the_rest_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("CONSILIUM_API_KEYS", "old")
    expert = FakeExpert(first_token_delay=0.2)
    async with serving(expert):
        settings = Settings(keep_alive_seconds=0.5, admin_key=SecretStr("boss"))
        records = [expert_record("math", expert, limits={"max_in_flight": 1})]
        async with gateway_over(records, settings=settings) as client:
            key = await made(client)
            content = b"".join(json.dumps(line(f"n{n}", f"say {n}")).encode() + b"\n" for n in range(20))
            headers = bearer(key)
            sent = await client.post(
                "/v1/files", files={"file": ("in", content)}, data={"purpose": "batch"}, headers=headers
            )
            order = {"input_file_id": sent.json()["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
            await client.post("/v1/batches", json=order, headers=headers)
            while len(expert.requests) < 3:
                await asyncio.sleep(0.02)
            await client.delete(f"/admin/keys/{key['id']}", headers=BOSS)
            asked = len(expert.requests)
            for _ in range(200):
                (job,) = (await client.get("/admin/jobs", headers=BOSS)).json()["data"]
                if job["state"] == "done":
                    break
                await asyncio.sleep(0.05)

    assert "done" == job["state"]
    assert len(expert.requests) <= asked + 1 < 20
