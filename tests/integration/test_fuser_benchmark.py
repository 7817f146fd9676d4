"""A whole gateway examines fake experts as fusers, and the next council is written by the one that fuses best."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from gateway.settings import Settings
from gateway.standing import Standing
from tests.conftest import gateway_over
from tests.fakes.expert import FakeExpert, serving
from tests.integration.fusing_world import begun, ended, examined, fusing, questions, records, world, written_by

KEY = "admin"
ADMIN = {"authorization": f"Bearer {KEY}"}
SETTINGS = Settings(admin_key=SecretStr(KEY), keep_alive_seconds=0.5)
ROUTING = {"classifier": "centroid", "default": "ann"}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is answered meanwhile out of this machine's own state folder."""
    folder = tmp_path / "state"
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(folder))
    return folder


@asynccontextmanager
async def gateway(
    fakes: dict[str, FakeExpert], settings: Settings = SETTINGS, **sections: Any
) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(*fakes.values()):
        merged = {"routing": ROUTING, **sections}
        async with gateway_over(records(fakes), settings=settings, **merged) as client:
            client.headers.update(ADMIN)
            yield client


async def test_the_best_fuser_of_each_domain_writes_the_next_council(tmp_path: Path) -> None:
    async with gateway(world()) as client:
        before = [await written_by(client, domain) for domain in ("math", "law")]
        job = await examined(client, questions(tmp_path, 16), questions=32)
        after = [await written_by(client, domain) for domain in ("math", "law")]

    result = job["result"]
    assert ["ann", "ann"] == before
    assert ["sums", "pleads"] == after
    assert {"math": "sums", "law": "pleads"} == result["best"]
    assert 1.0 == result["fusers"]["sums"]["domains"]["math"]["accuracy"]
    assert 0.0 == result["fusers"]["sums"]["domains"]["law"]["accuracy"]
    assert 0.0 == result["fusers"]["ann"]["accuracy"]
    assert job["done"] == job["total"] > 32 * 4
    assert {} == result["left_out"]


async def test_figures_are_told_where_experts_are_shown(tmp_path: Path) -> None:
    async with gateway(world()) as client:
        none = (await client.get("/admin/fusers")).json()
        job = await examined(client, questions(tmp_path, 8), experts=["sums", "pleads"])
        shown = (await client.get("/admin/experts/sums")).json()
        untried = (await client.get("/admin/experts/ann")).json()
        fusers = (await client.get("/admin/fusers")).json()

    assert {"best": {}, "elsewhere": "ann", "fusers": {}, "advice": None, "configured": None} == none
    assert shown["fusing"] == job["result"]["fusers"]["sums"] == fusers["fusers"]["sums"]
    assert shown["fusing"]["expected"]["math"] > 0.6 > 0.4 > shown["fusing"]["expected"]["law"]
    assert {"one_right", "all_wrong"} == set(shown["fusing"]["kinds"])
    assert None is untried["fusing"]
    assert ({"sums", "pleads"}, {"math": "sums", "law": "pleads"}) == (set(fusers["fusers"]), fusers["best"])


async def test_a_fuser_is_shown_in_the_exam_what_it_is_sent_in_use(tmp_path: Path) -> None:
    fakes = world()
    async with gateway(fakes) as client:
        await examined(client, questions(tmp_path, 8), experts=["sums"])
        in_the_exam = [request["messages"] for request in fakes["sums"].requests if fusing(request)]
        fakes["sums"].requests.clear()
        await written_by(client, "math")

    in_use = fakes["sums"].requests[0]["messages"]
    assert in_use in in_the_exam


async def strategy_for_open_questions(client: httpx.AsyncClient) -> str:
    body = {"model": "council", "messages": [{"role": "user", "content": "law question 7?"}]}
    answer = (await client.post("/v1/chat/completions", json=body)).json()
    return str(answer["fusion"]["strategy"]) if "fusion" in answer else "single"


async def test_open_questions_are_fused_where_that_was_measured_to_pay(tmp_path: Path) -> None:
    fakes = world()
    async with gateway(fakes, fusion={"strategy": "auto"}) as client:
        before = await strategy_for_open_questions(client)
        job = await examined(client, questions(tmp_path, 16))
        after = await strategy_for_open_questions(client)
        advice = (await client.get("/admin/fusers")).json()["advice"]
        for name in ("sums", "pleads"):
            fakes[name].reply = fakes["ann"].reply
        await examined(client, questions(tmp_path, 16))
        later = await strategy_for_open_questions(client)

    assert ["single", "synthesize", "single"] == [before, after, later]
    assert advice == job["result"]["advice"]
    assert ("synthesize", 32) == (advice["open"], advice["councils"])
    assert advice["synthesize"] > advice["single"] == advice["vote"]
    assert advice["gain_over_single"]["ci95"][0] > 0
    assert 32 == advice["contested"]["councils"], "all are equally good, so nobody outweighs the others"


async def test_what_the_configuration_says_of_open_questions_stays(tmp_path: Path) -> None:
    async with gateway(world(), fusion={"strategy": "auto", "auto": {"open": "single"}}) as client:
        job = await examined(client, questions(tmp_path, 16))

        assert "synthesize" == job["result"]["advice"]["open"]
        assert "single" == await strategy_for_open_questions(client)


async def test_a_configured_fuser_stays(tmp_path: Path) -> None:
    async with gateway(world(), fusion={"fuser": "dee"}) as client:
        await examined(client, questions(tmp_path, 8))

        assert "dee" == await written_by(client, "math")
        assert "dee" == (await client.get("/admin/fusers")).json()["configured"]


async def test_a_drained_fuser_gives_way_to_the_next_best(tmp_path: Path) -> None:
    fakes = world(other=FakeExpert(reply=world()["sums"].reply))
    async with gateway(fakes) as client:
        await examined(client, questions(tmp_path, 8), experts=["sums", "other", "pleads"])
        first = await written_by(client, "math")
        await client.post(f"/admin/experts/{first}/drain")
        second = await written_by(client, "math")

    assert {"sums", "other"} == {first, second}


async def test_a_request_that_denies_the_best_fuser_gets_another(tmp_path: Path) -> None:
    fakes = world()
    async with gateway(fakes) as client:
        await examined(client, questions(tmp_path, 8))
        fakes["sums"].requests.clear()
        allowed = await written_by(client, "math", experts={"deny": ["sums"]})

    assert "sums" != allowed
    assert [] == fakes["sums"].requests


async def test_figures_outlive_the_gateway_and_leave_with_the_expert(tmp_path: Path) -> None:
    kept = SETTINGS.model_copy(update={"store": str(tmp_path / "kept.db")})
    fakes = world()
    late = FakeExpert(reply=fakes["sums"].reply)
    async with gateway({**fakes}, kept) as client, serving(late):
        body = {"name": "late", "replicas": [{"base_url": late.url}], "routed": False}
        late.models = ("late",)
        assert 201 == (await client.post("/admin/experts", json=body)).status_code
        await examined(client, questions(tmp_path, 8), experts=["late", "pleads"])
        first = await written_by(client, "math")
        await client.delete("/admin/experts/late?drain_seconds=0")
        gone = (await client.get("/admin/fusers")).json()
    async with gateway(world(), kept) as client:
        again = (await client.get("/admin/fusers")).json()
        writer = await written_by(client, "law")

    assert "late" == first
    assert {"pleads"} == set(gone["fusers"]) == set(again["fusers"])
    assert "pleads" == writer
    assert gone["advice"] == again["advice"]


async def test_a_fuser_whose_calls_fail_is_left_out_not_marked_down(tmp_path: Path) -> None:
    fakes = world(away=FakeExpert(status=400))
    async with gateway(fakes) as client:
        job = await examined(client, questions(tmp_path, 16), experts=["sums", "away"])
        shown = (await client.get("/admin/experts/away")).json()

    assert {"sums"} == set(job["result"]["fusers"])
    assert "refused with 400" in job["result"]["left_out"]["away"]
    assert None is shown["fusing"]
    assert len(fakes["away"].requests) < 25, "it went on asking although nothing could come of it"


async def test_when_nobody_can_be_examined_nothing_is_written(tmp_path: Path) -> None:
    async with gateway(world(away=FakeExpert(status=400))) as client:
        job = await examined(client, questions(tmp_path, 4), experts=["away"])
        fusers = (await client.get("/admin/fusers")).json()

    assert ("failed", None) == (job["state"], job["result"])
    assert "refused with 400" in job["error"]
    assert {} == fusers["fusers"]


async def test_nobody_is_asked_while_servers_still_come_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes, up = world(), asyncio.Event()
    state = Standing.state
    up.set()
    monkeypatch.setattr(Standing, "state", lambda self, name: state(self, name) if up.is_set() else "starting")
    async with gateway(fakes) as client:
        up.clear()
        job = await begun(client, questions(tmp_path, 4), experts=["sums"])
        await asyncio.sleep(1.5)
        early = sum(len(fake.requests) for fake in fakes.values())
        up.set()
        done = await ended(client, job)

    assert 0 == early
    assert ("done", {}) == (done["state"], done["result"]["left_out"])


async def test_a_panelist_that_does_not_answer_is_missing_from_the_panels(tmp_path: Path) -> None:
    fakes = world(dee=FakeExpert(status=400))
    async with gateway(fakes) as client:
        job = await examined(client, questions(tmp_path, 8), experts=["sums"])

    assert "done" == job["state"]
    assert "refused with 400" in job["result"]["left_out"]["dee"]


async def test_without_a_right_answer_there_is_no_panel(tmp_path: Path) -> None:
    path = tmp_path / "hard.jsonl"
    rows = [{"question": f"math question {n}?", "answer": "-1", "domain": "math"} for n in range(8)]
    path.write_text("\n".join(map(json.dumps, rows)))
    async with gateway(world()) as client:
        job = await examined(client, path)

    assert "failed" == job["state"]
    assert "somebody is right" in job["error"]


async def test_a_cancelled_benchmark_goes_on_where_it_was(tmp_path: Path) -> None:
    fakes = world()
    for fake in fakes.values():
        fake.word_delay = 0.01
    async with gateway(fakes) as client:
        data = questions(tmp_path, 16)
        first = await begun(client, data, concurrency=4)
        second = await client.post("/admin/experts/benchmark-fuser", json={"data": str(data)})
        while not sum(map(fusing, fakes["bob"].requests)):
            await asyncio.sleep(0.01)
        await client.post(f"/admin/jobs/{first['id']}/cancel")
        stopped = await ended(client, first)
        before = sum(len(fake.requests) for fake in fakes.values())
        again = await examined(client, data, concurrency=4)
        after = sum(len(fake.requests) for fake in fakes.values())

    assert (409, "already_running") == (second.status_code, second.json()["error"]["code"])
    assert first["id"] in second.json()["error"]["message"]
    assert "cancelled" == stopped["state"]
    assert before - 4 <= again["result"]["reused"] <= before
    assert after - before == again["total"] - again["result"]["reused"]
    assert {"math": "sums", "law": "pleads"} == again["result"]["best"]


@pytest.mark.parametrize(
    ("body", "status", "code", "told"),
    [
        ({"experts": ["nobody"]}, 404, "expert_not_found", "nobody"),
        ({"panelists": ["ann", "nobody"]}, 404, "expert_not_found", "nobody"),
        ({"panelists": ["ann"]}, 400, "invalid_request", "two experts"),
        ({"data": "/nowhere/q.jsonl"}, 400, "invalid_questions", "cannot be read"),
        ({"questions": 0}, 400, "invalid_request", "questions"),
        ({"fuser": "sums"}, 400, "invalid_request", "fuser"),
    ],
)
async def test_what_cannot_be_done_is_refused_at_once(body: dict[str, Any], status: int, code: str, told: str) -> None:
    async with gateway(world()) as client:
        response = await client.post("/admin/experts/benchmark-fuser", json=body)
        jobs = (await client.get("/admin/jobs")).json()["data"]

    assert (status, code) == (response.status_code, response.json()["error"]["code"])
    assert told in response.json()["error"]["message"]
    assert [] == jobs


async def test_only_the_administrator_examines_fusers() -> None:
    async with gateway(world()) as client:
        client.headers.pop("authorization")
        begun = await client.post("/admin/experts/benchmark-fuser", json={})
        seen = await client.get("/admin/fusers")

    assert [401, 401] == [begun.status_code, seen.status_code]
