"""Feedback over real sockets: what users say moves the routing, a little, and can be taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.settings import Settings
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving

EXAMPLES = {"examples": ["What is 2 + 2?", "Calculate 10 - 3.", "Solve for x."]}
SKILLS = {"first": 0.62, "second": 0.6}
ADMIN = {"authorization": "Bearer boss"}
FAST: dict[str, Any] = {"step": 1.0, "daily_shift": 10.0, "checkpoint_every": 1}


def settings(store: Path | str = ":memory:", **more: Any) -> Settings:
    return Settings.model_validate({"keep_alive_seconds": 0.5, "admin_key": "boss", "store": str(store), **more})


def peers(fake: FakeExpert) -> list[dict[str, Any]]:
    """Return two experts that are nearly as good at mathematics, the first a little better."""
    return [
        expert_record(
            name,
            fake,
            domains=["math"],
            skills={"math": {"accuracy": accuracy, "count": 500}},
            price={"input_per_million": 1.0, "output_per_million": 2.0},
            **EXAMPLES,
        )
        for name, accuracy in SKILLS.items()
    ]


def ask(text: str = "What is 2 + 2?", model: str = "auto", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def answered(client: httpx.AsyncClient, **more: Any) -> tuple[str, str]:
    """Ask, and return who answered and the request's id."""
    response = await client.post("/v1/chat/completions", json=ask(**more))
    response.raise_for_status()
    return response.json()["model"], response.headers["x-request-id"]


async def candidates(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return how the experts score; without the measured latency, which is another each time."""
    shown = (await client.post("/v1/route", json=ask())).json()["candidates"]
    return [{key: value for key, value in each.items() if key != "latency_ms"} for each in shown]


async def rate(client: httpx.AsyncClient, request_id: str, score: float, **more: Any) -> httpx.Response:
    return await client.post("/v1/feedback", json={"request_id": request_id, "score": score, **more})


async def test_a_bad_answer_sends_the_next_question_to_the_peer() -> None:
    fake = FakeExpert()
    async with serving(fake), gateway_over(peers(fake), settings=settings(), routing={"learning": FAST}) as client:
        expert, request_id = await answered(client)
        heard = (await rate(client, request_id, 0.0)).json()
        after = (await client.post("/v1/route", json=ask())).json()

    assert "first" == expert
    assert "learned" == heard["outcome"]
    assert [{"expert": "first", "score": 0.0, "trust": 1.0}] == heard["credited"]
    assert "second" == after["experts"][0]["expert"]
    assert any("feedback -" in each["reason"] for each in after["candidates"] if each["expert"] == "first")


async def test_one_comment_with_the_usual_settings_moves_little() -> None:
    fake = FakeExpert()
    async with serving(fake), gateway_over(peers(fake), settings=settings()) as client:
        before = (await client.post("/v1/route", json=ask())).json()
        _, request_id = await answered(client)
        await rate(client, request_id, 0.0)
        after = (await client.post("/v1/route", json=ask())).json()

    quality = [
        next(each["quality"] for each in decision["candidates"] if each["expert"] == "first")
        for decision in (before, after)
    ]
    assert 0 < quality[0] - quality[1] < 0.02


async def test_the_same_request_rated_twice_counts_once_with_the_later_score() -> None:
    fake = FakeExpert()
    async with serving(fake), gateway_over(peers(fake), settings=settings(), routing={"learning": FAST}) as client:
        _, request_id = await answered(client)
        first = (await rate(client, request_id, 0.0)).json()
        for _ in range(5):
            second = (await rate(client, request_id, 0.9)).json()
        shown = (await client.get("/admin/router", headers=ADMIN)).json()["learning"]

    assert (False, True) == (first["replaced"], second["replaced"])
    assert 0 < shown["shifts"]["first"]["math"] < 0.5


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"score": 0.5}, "request_id"),
        ({"request_id": "x", "score": 1.5}, "score"),
        ({"request_id": "x", "score": -0.1}, "score"),
        ({"request_id": "x", "score": "good"}, "score"),
        ({"request_id": "x", "score": True}, "score"),
        ({"request_id": "x", "score": 1, "stars": 5}, "stars"),
    ],
)
async def test_feedback_that_makes_no_sense_is_refused(body: dict[str, Any], param: str) -> None:
    fake = FakeExpert()
    async with serving(fake), gateway_over(peers(fake), settings=settings()) as client:
        response = await client.post("/v1/feedback", json=body)

    assert (400, "invalid_request", param) == (
        response.status_code,
        response.json()["error"]["code"],
        response.json()["error"]["param"],
    )


async def test_feedback_on_nothing_is_refused() -> None:
    fake = FakeExpert()
    async with serving(fake), gateway_over(peers(fake), settings=settings()) as client:
        unknown = await rate(client, "nobody-asked", 1.0)
        _, request_id = await answered(client)
        stranger = await rate(client, request_id, 1.0, expert="second")
        broken = await client.post("/v1/feedback", content=b"{")
        fake.status = 500
        await client.post("/v1/chat/completions", json=ask(), headers={"x-request-id": "failed"})
        unanswered = await rate(client, "failed", 1.0)

    assert (404, "request_not_found") == (unknown.status_code, unknown.json()["error"]["code"])
    assert (400, "expert") == (stranger.status_code, stranger.json()["error"]["param"])
    assert 400 == broken.status_code
    assert (400, "request_id") == (unanswered.status_code, unanswered.json()["error"]["param"])


async def test_nobody_rates_the_answer_of_another_key() -> None:
    fake = FakeExpert()
    anna, ben = {"x-api-key": "anna"}, {"x-api-key": "ben"}
    used = settings(api_keys="anna,ben")
    async with serving(fake), gateway_over(peers(fake), settings=used) as client:
        await client.post("/v1/chat/completions", json=ask(), headers={**anna, "x-request-id": "mine"})
        body = {"request_id": "mine", "score": 0.0}
        codes = [(await client.post("/v1/feedback", json=body, headers=key)).status_code for key in ({}, ben, anna)]

    assert [401, 404, 200] == codes


async def test_the_oldest_decisions_are_forgotten() -> None:
    fake = FakeExpert()
    learning = {"learning": {"remember": 2}}
    async with serving(fake), gateway_over(peers(fake), settings=settings(), routing=learning) as client:
        ids = [(await answered(client))[1] for _ in range(3)]
        codes = [(await rate(client, each, 1.0)).status_code for each in ids]

    assert [404, 200, 200] == codes


async def test_a_council_is_credited_by_weight_or_by_name() -> None:
    fake = FakeExpert(reply=lambda body: "The answer is 4.")
    fused = {"strategy": "synthesize", "fuser": "second"}
    async with serving(fake), gateway_over(peers(fake), settings=settings(), fusion=fused) as client:
        _, one = await answered(client, model="council")
        by_weight = (await rate(client, one, 1.0)).json()["credited"]
        _, two = await answered(client, model="council")
        by_name = (await rate(client, two, 1.0, expert="second")).json()["credited"]

    assert {"first", "second"} == {each["expert"] for each in by_weight}
    assert 1.0 == pytest.approx(sum(each["trust"] for each in by_weight), abs=1e-3)
    assert [{"expert": "second", "score": 1.0, "trust": 1.0}] == by_name


async def test_a_vote_makes_right_who_agreed_and_wrong_who_did_not() -> None:
    right = FakeExpert(reply=lambda _: "The answer is 4.", first_token_delay=0.3)
    wrong = FakeExpert(reply=lambda _: "The answer is 5.")
    async with serving(right, wrong):
        level = {"math": {"accuracy": 0.61, "count": 500}}
        records = [*peers(right), expert_record("odd", wrong, domains=["math"], skills=level, **EXAMPLES)]
        async with gateway_over(records, settings=settings(), fusion={"strategy": "vote"}) as client:
            _, request_id = await answered(client, model="council")
            credited = (await rate(client, request_id, 1.0)).json()["credited"]

    assert {"first": 1.0, "second": 1.0, "odd": 0.0} == {each["expert"]: each["score"] for each in credited}


@pytest.mark.parametrize("chosen", [{"model": "second"}, {"routing": {"policy": "uniform"}}])
async def test_answers_that_no_reading_of_the_question_led_to_teach_too(chosen: dict[str, Any]) -> None:
    fake = FakeExpert(first_token_delay=0.2)
    async with serving(fake), gateway_over(peers(fake), settings=settings()) as client:
        expert, request_id = await answered(client, **chosen)
        heard = (await rate(client, request_id, 0.0)).json()
        learning = (await client.get("/admin/router", headers=ADMIN)).json()["learning"]

    assert "learned" == heard["outcome"]
    assert [expert] == list(learning["shifts"])
    assert learning["shifts"][expert]["math"] < 0


async def test_an_expert_that_is_never_routed_to_is_counted_and_teaches_nothing() -> None:
    fake = FakeExpert()
    async with serving(fake):
        records = [*peers(fake), expert_record("fuser", fake, routed=False)]
        async with gateway_over(records, settings=settings()) as client:
            _, request_id = await answered(client, model="fuser")
            heard = (await rate(client, request_id, 0.0)).json()
            learning = (await client.get("/admin/router", headers=ADMIN)).json()["learning"]

    assert "counted" == heard["outcome"]
    assert (0, {}) == (learning["version"], learning["shifts"])


async def test_with_learning_off_feedback_is_counted_and_changes_nothing() -> None:
    fake = FakeExpert()
    off = {"learning": {**FAST, "enabled": False}}
    async with serving(fake), gateway_over(peers(fake), settings=settings(), routing=off) as client:
        _, request_id = await answered(client)
        heard = (await rate(client, request_id, 0.0)).json()
        after, _ = await answered(client)

    assert ("counted", "first") == (heard["outcome"], after)


async def test_a_rollback_restores_the_decisions() -> None:
    fake = FakeExpert()
    async with serving(fake), gateway_over(peers(fake), settings=settings(), routing={"learning": FAST}) as client:
        before = await candidates(client)
        _, request_id = await answered(client)
        await rate(client, request_id, 0.0)
        moved = await candidates(client)
        back = await client.post("/admin/router/rollback", json={"version": 0}, headers=ADMIN)
        after = await candidates(client)
        nowhere = await client.post("/admin/router/rollback", json={"version": 77}, headers=ADMIN)

    assert 200 == back.status_code
    assert before != moved
    assert before == after
    assert {} == back.json()["shifts"]
    assert (400, "version") == (nowhere.status_code, nowhere.json()["error"]["param"])


async def test_what_was_learnt_survives_a_restart(tmp_path: Path) -> None:
    fake = FakeExpert()
    used, routing = settings(tmp_path / "kept.db"), {"learning": FAST}
    async with serving(fake):
        async with gateway_over(peers(fake), settings=used, routing=routing) as client:
            _, request_id = await answered(client)
            await rate(client, request_id, 0.0)
            before = await candidates(client)
        async with gateway_over(peers(fake), settings=used, routing=routing) as client:
            after = await candidates(client)
            expert, _ = await answered(client)

    assert before == after
    assert "second" == expert


async def test_two_gateways_on_one_store_learn_together(tmp_path: Path) -> None:
    fake = FakeExpert()
    used, routing = settings(tmp_path / "kept.db"), {"learning": {**FAST, "step": 0.3}}
    async with (
        serving(fake),
        gateway_over(peers(fake), settings=used, routing=routing) as one,
        gateway_over(peers(fake), settings=used, routing=routing) as two,
    ):
        for client in (one, two, one, two):
            _, request_id = await answered(client)
            await rate(client, request_id, 0.0)
        shown = [(await client.get("/admin/router", headers=ADMIN)).json()["learning"] for client in (one, two)]

    assert 4 == shown[1]["version"]


async def test_a_store_that_cannot_be_written_refuses_feedback_and_answers_go_on(tmp_path: Path) -> None:
    fake = FakeExpert()
    used, routing = settings(tmp_path / "gone" / "kept.db"), {"shadow": {"policy": "fixed"}, "learning": FAST}
    async with serving(fake), gateway_over(peers(fake), settings=used, routing=routing) as client:
        _, request_id = await answered(client)
        refused = await rate(client, request_id, 0.0)
        expert, _ = await answered(client)

    assert (503, "store_unavailable") == (refused.status_code, refused.json()["error"]["code"])
    assert "retry-after" in refused.headers
    assert "first" == expert


async def test_the_admin_api_needs_the_admin_key() -> None:
    fake = FakeExpert()
    used = settings(api_keys="anna")
    async with serving(fake), gateway_over(peers(fake), settings=used) as client:
        headers: list[dict[str, str]] = [{}, {"x-api-key": "wrong"}, {"x-api-key": "anna"}, ADMIN]
        codes = [(await client.get("/admin/decisions", headers=each)).status_code for each in headers]

    assert [401, 401, 403, 200] == codes


async def test_without_an_admin_key_nobody_administers() -> None:
    fake = FakeExpert()
    async with serving(fake), gateway_over(peers(fake), settings=settings(admin_key="")) as client:
        codes = [(await client.get("/admin/router", headers=each)).status_code for each in ({}, {"x-api-key": ""})]

    assert [401, 401] == codes


async def test_decisions_are_shown_with_reasons_and_prompts_only_when_switched_on() -> None:
    fake = FakeExpert()
    shown = []
    for keep in (False, True):
        routing = {"learning": {"keep_prompts": keep}}
        async with serving(fake), gateway_over(peers(fake), settings=settings(), routing=routing) as client:
            _, request_id = await answered(client, text="What is 417 plus 268?")
            await rate(client, request_id, 0.25, comment="secret thoughts")
            await answered(client)
            listed = await client.get("/admin/decisions", headers=ADMIN)
            shown.append((listed.text, listed.json()["data"][1], request_id))

    text, entry, request_id = shown[0]
    assert request_id == entry["request_id"]
    assert entry["routing"]["reason"]
    assert ("first", 0.25) == (entry["outcome"]["answered_by"], entry["feedback"]["score"])
    assert entry["outcome"]["cost_usd"] > 0
    assert "plus 268" not in text
    assert "secret" not in text
    assert ("What is 417 plus 268?", "secret thoughts") == (shown[1][1]["prompt"], shown[1][1]["feedback"]["comment"])


@pytest.mark.parametrize("limit", ["0", "501", "-1", "many", "1e2", "9" * 30])
async def test_a_limit_that_makes_no_sense_is_refused_in_openais_shape(limit: str) -> None:
    fake = FakeExpert()
    async with serving(fake), gateway_over(peers(fake), settings=settings()) as client:
        response = await client.get(f"/admin/decisions?limit={limit}", headers=ADMIN)

    assert (400, "limit") == (response.status_code, response.json()["error"]["param"])


async def test_reload_swaps_the_router_and_answers_go_on() -> None:
    fake = FakeExpert()
    async with serving(fake), gateway_over(peers(fake), settings=settings()) as client:
        loaded = await client.post("/admin/router/reload", headers=ADMIN)
        expert, _ = await answered(client)

    assert (200, "centroid") == (loaded.status_code, loaded.json()["classifier"])
    assert "first" == expert


async def test_feedback_shows_in_the_metrics() -> None:
    fake = FakeExpert()
    async with serving(fake), gateway_over(peers(fake), settings=settings()) as client:
        _, request_id = await answered(client)
        await rate(client, request_id, 1.0)
        text = (await client.get("/metrics")).text

    assert 'consilium_feedback_total{arm="a",outcome="learned"} 1.0' in text
    assert 'consilium_arm_requests_total{arm="a"} 1.0' in text
