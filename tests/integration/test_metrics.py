"""What a scrape says over real sockets, and that it goes back to nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.pipeline import Pipeline
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving
from tests.integration.test_key_limits import PRICE
from tests.integration.test_keys import ask


async def scraped(client: httpx.AsyncClient) -> dict[str, float]:
    """Return every sample as Prometheus writes it."""
    text = (await client.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {f"{s.name}{dict(sorted(s.labels.items())) or ''}": s.value for s in samples}


def total(found: dict[str, float], name: str, **labels: str) -> float:
    """Return the sum of the samples of a name that have these labels."""
    wanted = [f"'{key}': '{value}'" for key, value in labels.items()]
    return sum(value for key, value in found.items() if key.split("{")[0] == name and all(w in key for w in wanted))


async def test_one_answer_is_told_in_every_way_it_can_be_looked_at() -> None:
    expert = FakeExpert(reply=lambda _: "one two three four", word_delay=0.02, first_token_delay=0.05)
    async with serving(expert), gateway_over([expert_record("math", expert, **PRICE)]) as client:
        await client.post("/v1/chat/completions", json=ask())
        found = await scraped(client)

    assert 1 == total(found, "consilium_requests_total", model="auto", status="200")
    assert 1 == total(found, "consilium_queue_seconds_count", expert="math")
    assert 0 == total(found, "consilium_retries_total")
    assert 1 == total(found, "consilium_decision_confidence_count")
    assert 1 == total(found, "consilium_expert_replicas", expert="math", breaker="closed")
    assert 0 == total(found, "consilium_expert_replicas", breaker="open")
    between = total(found, "consilium_inter_token_seconds_sum", expert="math")
    assert 0.01 < between < 1
    used = [total(found, "consilium_tokens_total", expert="math", kind=kind) for kind in ("prompt", "completion")]
    assert used[0] + 2 * used[1] == total(found, "consilium_cost_usd_total", expert="math")
    assert total(found, "consilium_loop_lag_seconds_count") >= 0


async def test_requests_are_in_flight_until_their_last_byte_and_a_scrape_is_none_of_them() -> None:
    expert = FakeExpert(word_delay=0.1)
    async with serving(expert), gateway_over([expert_record("math", expert)]) as client:

        async def one(**more: Any) -> httpx.Response:
            return await client.post("/v1/chat/completions", json=ask(**more))

        running = [asyncio.create_task(one()), asyncio.create_task(one(stream=True))]
        await asyncio.sleep(0.2)
        during = await scraped(client)
        await asyncio.gather(*running)
        after = await scraped(client)

    assert 2 == total(during, "consilium_requests_in_flight")
    assert 2 == total(during, "consilium_expert_in_flight")
    assert 0 == total(after, "consilium_requests_in_flight") == total(after, "consilium_expert_in_flight")


async def test_a_replica_that_fails_call_after_call_shows_with_the_retries_it_cost() -> None:
    bad, good = FakeExpert(status=500), FakeExpert()
    async with serving(bad, good):
        bad.models = ("math",)
        record = expert_record("math", good) | {"replicas": [{"base_url": bad.url}, {"base_url": good.url}]}
        async with gateway_over([record]) as client:
            for _ in range(12):
                answer = await client.post("/v1/chat/completions", json=ask())
                assert 200 == answer.status_code
                await asyncio.sleep(0.2)
            found = await scraped(client)

    retries = total(found, "consilium_retries_total", expert="math")
    assert retries > 0
    assert retries == total(found, "consilium_attempt_failures_total", expert="math", error="ExpertUnavailable")
    assert 12 + retries == total(found, "consilium_attempts_total", expert="math")


async def test_a_bug_of_ours_counts_as_500_and_its_answer_has_the_id_that_its_log_line_has(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Pipeline, "answer", broken)
    expert = FakeExpert()
    async with serving(expert), gateway_over([expert_record("math", expert)]) as client:
        with caplog.at_level("ERROR", "gateway"):
            answer = await client.post("/v1/chat/completions", json=ask())
        found = await scraped(client)

    assert 500 == answer.status_code
    assert 1 == total(found, "consilium_requests_total", status="500")
    assert 0 == total(found, "consilium_requests_in_flight")
    (bug,) = [record for record in caplog.records if record.getMessage() == "bug"]
    assert {"request_id": answer.headers["x-request-id"]} == vars(bug)["facts"]
