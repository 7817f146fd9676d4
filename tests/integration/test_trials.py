"""Policies on trial over real sockets: shadows decide and nobody acts, arms stick, judges work beside the requests."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from experts.errors import ConfigError
from gateway.cli.learning import show_report
from gateway.settings import Settings
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving

ADMIN = {"authorization": "Bearer boss"}
MATH = {"domains": ["math"], "examples": ["What is 2 + 2?", "Calculate 10 - 3.", "Solve for x."]}
LAW = {"domains": ["law"], "examples": ["Is this contract valid?", "What does the law say about theft?"]}


def settings(store: Path | str = ":memory:") -> Settings:
    return Settings.model_validate({"keep_alive_seconds": 0.5, "admin_key": "boss", "store": str(store)})


def ask(text: str = "What is 2 + 2?", **more: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **more}


def pool(math: FakeExpert, law: FakeExpert) -> list[dict[str, Any]]:
    return [expert_record("law", law, **LAW), expert_record("math", math, **MATH)]


async def report(client: httpx.AsyncClient) -> dict[str, Any]:
    shown: dict[str, Any] = (await client.get("/admin/router/report", headers=ADMIN)).json()
    return shown


async def until(client: httpx.AsyncClient, path: str, *keys: str, least: float) -> Any:
    """Return what an admin page says under these keys once it is at least so much."""
    for _ in range(100):
        found: Any = (await client.get(path, headers=ADMIN)).json()
        for key in keys:
            found = found[key]
        if found >= least:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{path} {keys} stayed at {found}")


async def test_a_shadow_decides_on_every_request_and_asks_nobody() -> None:
    math, law = FakeExpert(), FakeExpert()
    routing = {"shadow": {"policy": "fixed"}, "default": "law"}
    async with serving(math, law), gateway_over(pool(math, law), settings=settings(), routing=routing) as client:
        for number in range(4):
            text = f"What is {number} + 2?" if number else "What does the law say about theft?"
            answer = await client.post("/v1/chat/completions", json=ask(text))
            await client.post(
                "/v1/feedback", json={"request_id": answer.headers["x-request-id"], "score": float(number > 0)}
            )
        await until(client, "/admin/router/report", "shadow", "requests", least=4)
        shadow = (await report(client))["shadow"]
        shown = (await client.get("/admin/decisions", headers=ADMIN)).json()["data"]

    assert (3, 1) == (len(math.requests), len(law.requests))
    assert ("fixed", 4, 0.25, {"law": 1.0}) == (
        shadow["policy"],
        shadow["requests"],
        shadow["agreement"],
        shadow["experts"],
    )
    assert (0.0, 1.0) == (shadow["feedback_where_agreed"]["mean"], shadow["feedback_where_differed"]["mean"])
    assert ["law"] * 4 == [entry["shadow"] for entry in shown]


async def test_an_arm_gets_its_share_and_a_conversation_stays_in_it() -> None:
    math, law = FakeExpert(), FakeExpert()
    routing = {"split": {"policy": "fixed", "share": 0.5}, "default": "law"}
    async with serving(math, law), gateway_over(pool(math, law), settings=settings(), routing=routing) as client:
        policies: dict[int, list[str]] = {}
        for number in range(40):
            first = {"role": "user", "content": f"What is {number} + 2?"}
            turns = [first, {"role": "assistant", "content": "4"}, {"role": "user", "content": "And plus 3?"}]
            for messages in ([first], turns):
                response = await client.post("/v1/route", json={"messages": messages})
                policies.setdefault(number, []).append(response.json()["policy"])
            sessions = [
                (await client.post("/v1/route", json=ask(text), headers={"x-consilium-session": f"s{number}"})).json()
                for text in ("What is 1 + 1?", "Is this contract valid?")
            ]
            assert sessions[0]["policy"] == sessions[1]["policy"]
        named = (await client.post("/v1/route", json=ask(routing={"policy": "uniform"}))).json()

    assert all(before == after for before, after in policies.values())
    assert 10 <= sum(policy[0] == "fixed" for policy in policies.values()) <= 30
    assert "uniform" == named["policy"]


async def test_the_report_compares_arms_and_says_what_the_difference_is_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    math, law = FakeExpert(), FakeExpert()
    routing = {"split": {"policy": "fixed", "share": 0.5}, "default": "law"}
    used = settings(tmp_path / "kept.db")
    async with serving(math, law):
        async with gateway_over(pool(math, law), settings=used, routing=routing) as client:
            for number in range(6):
                await rated(client, number)
            few = await report(client)
            for number in range(6, 120):
                await rated(client, number)
            many = await report(client)
        async with gateway_over(pool(math, law), settings=used, routing=routing) as client:
            restarted = await report(client)

    arms = many["arms"]
    assert "too little feedback" in few["verdict"]
    assert ("auto", "fixed") == (arms["a"]["policy"], arms["b"]["policy"])
    assert 120 == arms["a"]["requests"] + arms["b"]["requests"]
    assert ({"math": 1.0}, {"law": 1.0}) == (arms["a"]["experts"], arms["b"]["experts"])
    assert (1.0, 0.0) == (arms["a"]["feedback"]["mean"], arms["b"]["feedback"]["mean"])
    assert many["difference"]["significant"]
    assert many["verdict"].startswith("arm a is better")
    assert restarted == many
    show_report(many)
    printed = capsys.readouterr().out
    assert "arm a is better" in printed
    assert "math 100%" in printed


async def rated(client: httpx.AsyncClient, number: int) -> None:
    """Ask a question of arithmetic; the mathematician's answer is praised, any other blamed."""
    answer = await client.post("/v1/chat/completions", json=ask(f"What is {number} + 2?"))
    score = float(answer.json()["model"] == "math")
    await client.post("/v1/feedback", json={"request_id": answer.headers["x-request-id"], "score": score})


async def test_a_judge_marks_answers_beside_the_request_and_the_router_learns() -> None:
    math, judge = FakeExpert(reply=lambda _: "it is four"), FakeExpert(reply=lambda _: "2", first_token_delay=0.5)
    law = FakeExpert()
    learning = {"judge": {"expert": "judge", "share": 1.0, "concurrency": 2}}
    async with serving(math, law, judge):
        records = [*pool(math, law), expert_record("judge", judge, routed=False)]
        async with gateway_over(records, settings=settings(), routing={"learning": learning}) as client:
            begun = time.monotonic()
            await client.post("/v1/chat/completions", json=ask())
            stream = await client.post("/v1/chat/completions", json=ask("What is 3 + 2?", stream=True))
            waited = time.monotonic() - begun
            version = await until(client, "/admin/router", "learning", "version", least=2)
            learnt = (await client.get("/admin/router", headers=ADMIN)).json()["learning"]
            metrics = (await client.get("/metrics")).text

    assert waited < 0.5
    assert 200 == stream.status_code
    assert 2 == version
    assert learnt["shifts"]["math"]["math"] < 0
    assert all("| it is four" in request["messages"][1]["content"] for request in judge.requests)
    assert 'consilium_judgements_total{outcome="learned"} 2.0' in metrics


async def test_half_an_answer_is_not_judged() -> None:
    math = FakeExpert(reply=lambda _: "one two three four five six seven eight", word_delay=0.1)
    law, judge = FakeExpert(), FakeExpert(reply=lambda _: "0")
    learning = {"judge": {"expert": "judge", "share": 1.0}}
    async with serving(math, law, judge):
        records = [*pool(math, law), expert_record("judge", judge, routed=False)]
        async with gateway_over(records, settings=settings(), routing={"learning": learning}) as client:
            async with client.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as response:
                async for line in response.aiter_lines():
                    if "one" in line:
                        break
            for _ in range(100):
                if math.aborted:
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.2)

    assert (1, 0) == (math.aborted, len(judge.requests))


async def test_a_busy_judge_is_left_alone_and_a_broken_one_teaches_nothing() -> None:
    math, law = FakeExpert(), FakeExpert()
    slow = FakeExpert(reply=lambda _: "I think it is a fine answer", first_token_delay=0.5)
    learning = {"judge": {"expert": "judge", "share": 1.0, "concurrency": 1}}
    async with serving(math, law, slow):
        records = [*pool(math, law), expert_record("judge", slow, routed=False)]
        async with gateway_over(records, settings=settings(), routing={"learning": learning}) as client:
            for number in range(4):
                await client.post("/v1/chat/completions", json=ask(f"What is {number} + 2?"))
            for _ in range(100):
                metrics = (await client.get("/metrics")).text
                if 'outcome="unreadable"' in metrics:
                    break
                await asyncio.sleep(0.05)
            shown = (await client.get("/admin/router", headers=ADMIN)).json()

    assert 'consilium_judgements_total{outcome="dropped"} 3.0' in metrics
    assert 'consilium_judgements_total{outcome="unreadable"} 1.0' in metrics
    assert 0 == shown["learning"]["version"]


async def test_an_alarm_returns_to_before_the_drift_where_that_is_wanted() -> None:
    math, law = FakeExpert(), FakeExpert()
    learning = {"on_alarm": "rollback", "drift_threshold": 3.0, "checkpoint_every": 5, "step": 0.2, "daily_shift": 50}
    routing = {"learning": learning}
    async with serving(math, law), gateway_over(pool(math, law), settings=settings(), routing=routing) as client:
        for number in range(60):
            answer = await client.post("/v1/chat/completions", json=ask(f"What is {number} + 2?"))
            body = {"request_id": answer.headers["x-request-id"], "score": float(number < 45), "expert": "math"}
            await client.post("/v1/feedback", json=body)
            if alarms := (await client.get("/admin/router", headers=ADMIN)).json()["learning"]["alarms"]:
                break
        shown = (await client.get("/admin/router", headers=ADMIN)).json()["learning"]
        metrics = (await client.get("/metrics")).text

    assert ("math", "math", "fell") == (alarms[0]["expert"], alarms[0]["domain"], alarms[0]["direction"])
    assert 40 <= alarms[0]["rolled_back_to"] <= 45
    assert 1 == shown["rollbacks"]
    assert shown["shifts"]["math"]["math"] > 0
    assert 'consilium_drift_alarms_total{direction="fell",expert="math"} 1.0' in metrics
    assert 'consilium_rollbacks_total{cause="alarm"} 1.0' in metrics


@pytest.mark.parametrize(
    "routing",
    [
        {"split": {"policy": "nonsense"}},
        {"shadow": {"policy": "nonsense"}},
        {"learning": {"judge": {"expert": "nonsense"}}},
    ],
)
async def test_trials_that_name_nobody_are_refused_at_start(routing: dict[str, Any]) -> None:
    fake = FakeExpert()
    async with serving(fake):
        with pytest.raises(ConfigError, match="nonsense"):
            async with gateway_over([expert_record("math", fake)], settings=settings(), routing=routing):
                pass
