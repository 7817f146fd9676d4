"""Files and batches over real sockets: the whole round trip, whose they are, what is refused, what a stop keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from experts.store import Document, SqliteStore, StoreError
from experts.store.base import Body
from gateway.batches.output import write_output
from gateway.settings import Settings
from tests.conftest import FakeExpert, expert_record, gateway_over, serving

HALF = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf of it'
ENDED = {"completed", "failed", "cancelled", "expired"}


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path))
    return tmp_path


def line(custom_id: str, text: str, **more: Any) -> dict[str, Any]:
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], **more}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def jsonl(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


async def upload(client: httpx.AsyncClient, content: bytes, **more: Any) -> str:
    answer = await client.post("/v1/files", files={"file": ("in.jsonl", content)}, data={"purpose": "batch"}, **more)
    assert 200 == answer.status_code, answer.text
    return str(answer.json()["id"])


async def order(client: httpx.AsyncClient, content: bytes, **more: Any) -> str:
    body = {"input_file_id": await upload(client, content), "endpoint": "/v1/chat/completions"}
    answer = await client.post("/v1/batches", json={**body, "completion_window": "24h", **more})
    assert (200, "validating") == (answer.status_code, answer.json()["status"])
    return str(answer.json()["id"])


async def until(client: httpx.AsyncClient, batch: str, when: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    for _ in range(600):
        body: dict[str, Any] = (await client.get(f"/v1/batches/{batch}")).json()
        if when(body):
            return body
        await asyncio.sleep(0.05)
    raise AssertionError(body)


async def ended(client: httpx.AsyncClient, batch: str) -> dict[str, Any]:
    return await until(client, batch, lambda body: body["status"] in ENDED)


async def lines_of(client: httpx.AsyncClient, file_id: str) -> list[dict[str, Any]]:
    content = (await client.get(f"/v1/files/{file_id}/content")).text
    return [json.loads(each) for each in content.splitlines()]


@asynccontextmanager
async def two_experts(
    math: FakeExpert | None = None, law: FakeExpert | None = None, **more: Any
) -> AsyncIterator[httpx.AsyncClient]:
    math, law = math or FakeExpert(), law or FakeExpert()
    async with (
        serving(math, law),
        gateway_over(
            [
                expert_record("math", math, domains=["math"], examples=["Solve the equation for x"]),
                expert_record("law", law, domains=["law"], examples=["Can my landlord terminate the lease"]),
            ],
            **more,
        ) as client,
    ):
        yield client


async def test_a_batch_is_answered_in_the_inputs_order() -> None:
    asked = [line(f"r{i}", f"question {i}", model=("math", "law")[i % 2]) for i in range(50)]
    async with two_experts() as client:
        batch = await ended(client, await order(client, jsonl(asked), metadata={"for": "me"}))
        out = await lines_of(client, batch["output_file_id"])

    assert ("completed", None, {"for": "me"}) == (batch["status"], batch["error_file_id"], batch["metadata"])
    assert {"total": 50, "completed": 50, "failed": 0} == batch["request_counts"]
    assert [each["custom_id"] for each in asked] == [each["custom_id"] for each in out]
    for i, each in enumerate(out):
        body = each["response"]["body"]
        assert (200, None) == (each["response"]["status_code"], each["error"])
        assert f"you said: question {i}" == body["choices"][0]["message"]["content"]
        assert (("math", "law")[i % 2], "chat.completion") == (body["model"], body["object"])
    assert batch["created_at"] <= batch["in_progress_at"] <= batch["finalizing_at"] <= batch["completed_at"]


async def test_lines_are_routed_and_explained_like_requests() -> None:
    math, law = FakeExpert(), FakeExpert()
    explained = line("c", "Solve the equation 3x = 9 for x", routing={"explain": True})
    asked = [line("a", "Solve the equation 2x = 4 for x"), line("b", "Can my landlord terminate the lease"), explained]
    async with two_experts(math, law) as client:
        batch = await ended(client, await order(client, jsonl(asked)))
        out = await lines_of(client, batch["output_file_id"])

    assert ["math", "law", "math"] == [each["response"]["body"]["model"] for each in out]
    assert "math" == out[2]["response"]["body"]["routing"]["experts"][0]["expert"]
    assert (2, 1) == (len(math.requests), len(law.requests))


async def test_a_line_of_several_experts_is_fused_from_one_answer_of_each() -> None:
    math, law = FakeExpert(reply=lambda _: "The answer is 7."), FakeExpert(reply=lambda _: "The answer is 7.")
    council = [line(f"c{i}", "3 + 4?", model="council", routing={"fusion": "vote"}) for i in range(5)]
    async with two_experts(math, law, routing={"staged": False}) as client:
        batch = await ended(client, await order(client, jsonl(council)))
        out = await lines_of(client, batch["output_file_id"])

    assert (5, 5) == (len(math.requests), len(law.requests))
    for each in out:
        fusion = each["response"]["body"]["fusion"]
        assert ("vote", 2) == (fusion["strategy"], len(fusion["candidates"]))


async def test_a_cascade_asks_the_dear_expert_only_where_the_cheap_one_is_weak() -> None:
    cheap = FakeExpert(reply=lambda body: "It is 4." if "2 + 2" in str(body["messages"]) else "I'm sorry, I cannot.")
    dear = FakeExpert(reply=lambda _: "It is 5.")
    asked = [line(text, f"What is {text}?", routing={"policy": "cascade"}) for text in ("2 + 2", "2 + 3")]
    async with serving(cheap, dear):
        records = [skilled("dear", dear, 0.62, 10.0), skilled("cheap", cheap, 0.55, 0.1)]
        async with gateway_over(records, routing={"cascade": {"judge_error": 0.1}}) as client:
            batch = await ended(client, await order(client, jsonl(asked)))
            out = await lines_of(client, batch["output_file_id"])

    assert ["cheap", "dear"] == [each["response"]["body"]["model"] for each in out]
    assert (2, 1) == (len(cheap.requests), len(dear.requests))


def skilled(name: str, expert: FakeExpert, accuracy: float, price: float) -> dict[str, Any]:
    skills = {"math": {"accuracy": accuracy, "count": 100_000}}
    rates = {"input_per_million": price, "output_per_million": price}
    examples = ["What is 2 + 2?", "Calculate 10 - 3."]
    return expert_record(name, expert, domains=["math"], examples=examples, skills=skills, price=rates)


async def test_a_failing_expert_is_tried_once_more_then_the_line_carries_its_error() -> None:
    asked = [line("good", "2 + 2", model="math"), line("bad", "2 + 2", model="law")]
    asked += [line("gone", "2 + 2", model="nobody"), line("odd", "2 + 2", messages=[])]
    broken = FakeExpert(status=500)
    async with two_experts(law=broken) as client:
        batch = await ended(client, await order(client, jsonl(asked)))
        out = await lines_of(client, batch["output_file_id"])
        errors = await lines_of(client, batch["error_file_id"])
        metrics = (await client.get("/metrics")).text

    assert 'consilium_batch_lines_total{outcome="failed"} 3.0' in metrics
    assert ("completed", {"total": 4, "completed": 1, "failed": 3}) == (batch["status"], batch["request_counts"])
    assert ["good", "bad", "gone", "odd"] == [each["custom_id"] for each in out]
    assert [200, 503, 404, 400] == [each["response"]["status_code"] for each in out]
    assert out[1:] == errors
    assert "expert_unavailable" == errors[0]["response"]["body"]["error"]["code"]
    assert 2 == len(broken.requests)


async def test_an_expert_that_is_overloaded_is_waited_for() -> None:
    busy = FakeExpert(status=429, retry_after="1")
    async with two_experts(law=busy) as client:
        batch = await order(client, jsonl([line("a", "2 + 2", model="law")]))
        await asyncio.sleep(1)
        busy.status = 200
        body = await ended(client, batch)

    assert {"total": 1, "completed": 1, "failed": 0} == body["request_counts"]


@pytest.mark.parametrize(
    ("content", "code", "number"),
    [
        (b'{"custom_id": "a"\n', "invalid_json_line", 1),
        (b"[]\n", "invalid_json_line", 1),
        (b"\n\n", "empty_file", None),
        (jsonl([line("a", "x"), line("a", "y")]), "duplicate_custom_id", 2),
        (jsonl([line("a", "x"), {**line("b", "y"), "url": "/v1/embeddings"}]), "invalid_url", 2),
        (jsonl([{**line("a", "x"), "method": "GET"}]), "invalid_method", 1),
        (jsonl([{**line("a", "x"), "body": "x"}]), "missing_required_parameter", 1),
        (jsonl([{**line("a", "x"), "custom_id": 7}]), "missing_required_parameter", 1),
        (jsonl([line("a", "x"), line("b", "y" * 2000), line("a", "z")]), "line_too_long", 2),
    ],
)
async def test_an_input_that_cannot_be_run_says_which_line(content: bytes, code: str, number: int | None) -> None:
    async with two_experts(settings=Settings(max_body_bytes=1024)) as client:
        batch = await ended(client, await order(client, content))

    assert ("failed", None) == (batch["status"], batch["output_file_id"])
    first = batch["errors"]["data"][0]
    assert (code, number) == (first["code"], first["line"])
    assert batch["failed_at"] >= batch["created_at"]


async def test_a_cancelled_batch_keeps_what_is_done() -> None:
    slow = FakeExpert(first_token_delay=0.2)
    asked = [line(f"r{i}", "x", model="math") for i in range(300)]
    limits = {"max_in_flight": 2}
    async with serving(slow), gateway_over([expert_record("math", slow, limits=limits)]) as client:
        batch = await order(client, jsonl(asked))
        await until(client, batch, lambda body: body["request_counts"]["completed"] >= 2)
        asking = (await client.post(f"/v1/batches/{batch}/cancel")).json()
        body = await ended(client, batch)
        out = await lines_of(client, body["output_file_id"])
        seen = len(slow.requests)
        await asyncio.sleep(0.5)

    assert ("cancelling", "cancelled") == (asking["status"], body["status"])
    assert 2 <= len(out) == body["request_counts"]["completed"] < 300
    assert [f"r{i}" for i in range(len(out))] == [each["custom_id"] for each in out]
    assert seen == len(slow.requests)


async def test_a_batch_whose_job_is_cancelled_is_cancelled_too() -> None:
    slow = FakeExpert(first_token_delay=0.2)
    admin = {"authorization": "Bearer boss"}
    settings = Settings.model_validate({"admin_key": "boss"})
    asked = [line(f"r{i}", "x", model="math") for i in range(300)]
    records = [("math", slow)]
    async with serving(slow), gateway_over([expert_record(*each) for each in records], settings=settings) as client:
        batch = await order(client, jsonl(asked))
        await until(client, batch, lambda body: body["request_counts"]["completed"] >= 2)
        job = (await client.get("/admin/jobs", headers=admin)).json()["data"][0]
        await client.post(f"/admin/jobs/{job['id']}/cancel", headers=admin)
        body = await ended(client, batch)

    assert ("batch", batch) == (job["kind"], job["subject"])
    assert ("cancelled", True) == (body["status"], body["output_file_id"] is not None)


async def test_a_batch_whose_job_is_cancelled_before_it_began_is_cancelled_too() -> None:
    slow, admin = FakeExpert(first_token_delay=3), {"authorization": "Bearer boss"}
    settings = Settings.model_validate({"admin_key": "boss"})
    async with serving(slow), gateway_over([expert_record("math", slow)], settings=settings) as client:
        first = [await order(client, jsonl([line("a", "x", model="math")])) for _ in range(4)]
        for batch in first:
            await until(client, batch, lambda body: body["status"] == "in_progress")
        waiting = await order(client, jsonl([line("a", "x", model="math")]))
        job = (await client.get("/admin/jobs", headers=admin)).json()["data"][0]
        await client.post(f"/admin/jobs/{job['id']}/cancel", headers=admin)
        body = await ended(client, waiting)

    assert (waiting, "cancelled") == (job["subject"], body["status"])


async def test_what_the_window_did_not_suffice_for_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.batches.record.WINDOW_SECONDS", 2)
    slow = FakeExpert(first_token_delay=1)
    asked = [line(f"r{i}", "x", model="math") for i in range(9)]
    async with serving(slow), gateway_over([expert_record("math", slow, limits={"max_in_flight": 1})]) as client:
        body = await ended(client, await order(client, jsonl(asked)))
        out = await lines_of(client, body["output_file_id"])

    assert ("expired", 9) == (body["status"], len(out))
    assert "batch_expired" == out[8]["error"]["code"]
    assert body["request_counts"]["failed"] == sum(each["response"] is None for each in out) > 0


async def test_a_key_sees_its_own_files_and_batches_only() -> None:
    settings = Settings.model_validate({"api_keys": "mine,yours"})
    mine, yours = {"authorization": "Bearer mine"}, {"authorization": "Bearer yours"}
    async with two_experts(settings=settings) as client:
        file_id = await upload(client, jsonl([line("a", "x")]), headers=mine)
        ordered = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        refused = await client.post("/v1/batches", json=ordered, headers=yours)
        batch = (await client.post("/v1/batches", json=ordered, headers=mine)).json()["id"]
        statuses = [
            (await client.request(method, path, headers=yours)).status_code
            for method, path in (
                ("GET", f"/v1/files/{file_id}"),
                ("GET", f"/v1/files/{file_id}/content"),
                ("DELETE", f"/v1/files/{file_id}"),
                ("GET", f"/v1/batches/{batch}"),
                ("POST", f"/v1/batches/{batch}/cancel"),
            )
        ]
        theirs = [(await client.get(f"/v1/{noun}", headers=yours)).json()["data"] for noun in ("files", "batches")]

    assert (404, "file_not_found") == (refused.status_code, refused.json()["error"]["code"])
    assert [404] * 5 == statuses
    assert [[], []] == theirs


async def test_files_are_listed_read_and_removed(state_folder: Path) -> None:
    async with two_experts() as client:
        first, second = await upload(client, b"one"), await upload(client, b"two" * 100_000)
        listed = (await client.get("/v1/files", params={"limit": 1})).json()
        rest = (await client.get("/v1/files", params={"limit": 1, "after": listed["last_id"]})).json()
        content = (await client.get(f"/v1/files/{second}/content")).content
        known = (await client.get(f"/v1/files/{second}")).json()
        on_disk = state_folder / "files" / second
        modes = oct(on_disk.stat().st_mode & 0o777), oct(on_disk.parent.stat().st_mode & 0o777)
        removed = (await client.delete(f"/v1/files/{second}")).json()
        gone = await client.get(f"/v1/files/{second}")

    assert (True, False) == (listed["has_more"], rest["has_more"])
    assert {first, second} == {listed["data"][0]["id"], rest["data"][0]["id"]}
    assert (b"two" * 100_000, 300_000) == (content, known["bytes"])
    assert ("in.jsonl", "batch", "file") == (known["filename"], known["purpose"], known["object"])
    assert ("0o600", "0o700") == modes
    assert ({"id": second, "object": "file", "deleted": True}, 404) == (removed, gone.status_code)
    assert not on_disk.exists()


async def test_an_input_that_is_being_read_stays() -> None:
    slow = FakeExpert(first_token_delay=3)
    async with two_experts(math=slow) as client:
        batch = await order(client, jsonl([line("a", "x", model="math")]))
        file_id = (await client.get(f"/v1/batches/{batch}")).json()["input_file_id"]
        refused = await client.delete(f"/v1/files/{file_id}")
        await client.post(f"/v1/batches/{batch}/cancel")
        await ended(client, batch)
        allowed = await client.delete(f"/v1/files/{file_id}")

    assert (409, "file_in_use", 200) == (refused.status_code, refused.json()["error"]["code"], allowed.status_code)


@pytest.mark.parametrize(
    ("asked", "status", "param"),
    [
        ({"files": {"file": ("a", b"x" * 3000)}, "data": {"purpose": "batch"}}, 413, None),
        ({"files": {"file": ("a", b"x" * 200_000)}, "data": {"purpose": "batch"}}, 413, None),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "fine-tune"}}, 400, "purpose"),
        ({"files": {"file": ("a", b"x")}}, 400, "purpose"),
        ({"files": {"other": ("a", b"x")}, "data": {"purpose": "batch"}}, 400, "file"),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "p" * 2000}}, 400, "purpose"),
        ({"json": {"file": "x"}}, 400, None),
        ({"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, None),
        ({"content": HALF, "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, None),
        ({"content": b"what", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, None),
    ],
)
async def test_a_bad_upload_is_refused_and_leaves_nothing(
    asked: dict[str, Any], status: int, param: str | None, state_folder: Path
) -> None:
    async with two_experts(settings=Settings(max_file_bytes=2048)) as client:
        answer = await client.post("/v1/files", **asked)

    assert (status, param) == (answer.status_code, answer.json()["error"]["param"])
    assert [] == list((state_folder / "files").iterdir())


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": 7}, "input_file_id"),
        ({"metadata": {"a": 1}}, "metadata.a"),
    ],
)
async def test_a_bad_order_names_the_field(wrong: dict[str, Any], param: str) -> None:
    good = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    async with two_experts() as client:
        answer = await client.post("/v1/batches", json={**good, **wrong})
        odd = await client.get("/v1/batches", params={"limit": 0})

    assert (400, param) == (answer.status_code, answer.json()["error"]["param"])
    assert (400, "limit") == (odd.status_code, odd.json()["error"]["param"])


async def test_a_store_that_is_away_for_a_while_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    math, put, away = FakeExpert(word_delay=0.02), SqliteStore.put, asyncio.Event()

    async def sometimes(store: SqliteStore, key: str, body: Body, *, expected: int | None = None) -> Document:
        if away.is_set() and key.startswith(("batches/", "files/")):
            raise StoreError("away for a while")
        return await put(store, key, body, expected=expected)

    monkeypatch.setattr(SqliteStore, "put", sometimes)
    monkeypatch.setattr("gateway.batches.desk.BUSY_SECONDS", 0.2)
    async with serving(math), gateway_over([expert_record("math", math, limits={"max_in_flight": 8})]) as client:
        batch = await order(client, jsonl([line(f"r{i}", f"question {i}", model="math") for i in range(100)]))
        await until(client, batch, lambda body: body["request_counts"]["completed"] > 0)
        away.set()
        await asyncio.sleep(3)
        away.clear()
        body = await ended(client, batch)
        out = await lines_of(client, body["output_file_id"])

    assert ("completed", 100) == (body["status"], body["request_counts"]["completed"])
    assert [f"you said: question {i}" for i in range(100)] == [
        each["response"]["body"]["choices"][0]["message"]["content"] for each in out
    ]
    assert 100 == len(math.requests)


async def test_a_disk_that_is_full_for_a_while_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [OSError(28, "No space left on device"), OSError(28, "No space left on device")]

    def sometimes(*arguments: Any) -> int:
        if left:
            raise left.pop()
        return write_output(*arguments)

    monkeypatch.setattr("gateway.batches.desk.write_output", sometimes)
    monkeypatch.setattr("gateway.batches.desk.BUSY_SECONDS", 0.2)
    math = FakeExpert()
    async with serving(math), gateway_over([expert_record("math", math)]) as client:
        body = await ended(client, await order(client, jsonl([line(f"r{i}", "x", model="math") for i in range(9)])))
        out = await lines_of(client, body["output_file_id"])

    assert ("completed", 9, 9) == (body["status"], len(out), len(math.requests))
    assert [] == left


async def test_auto_decides_for_a_line_of_a_batch_as_for_a_request() -> None:
    math, law = FakeExpert(reply=lambda _: "Answer: 7"), FakeExpert(reply=lambda _: "Answer: 7")
    texts = {"closed": "What is 3 + 4? Reply with only the number.", "open": "Tell me about 3 + 4."}
    council = [line(kind, text, model="council", routing={"explain": True}) for kind, text in texts.items()]
    async with two_experts(math, law, routing={"staged": False, "policy": "uniform"}) as client:
        batch = await ended(client, await order(client, jsonl(council)))
        out = {each["custom_id"]: each["response"]["body"] for each in await lines_of(client, batch["output_file_id"])}

    shown = {kind: (body["routing"]["fusion"], "fusion" in body) for kind, body in out.items()}
    assert {"closed": ("auto: vote", True), "open": ("auto: single", False)} == shown
    assert 3 == len(math.requests) + len(law.requests)
