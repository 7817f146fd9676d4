"""A gateway killed in the middle of a large batch, again and again: nothing is lost, nothing finished asked again."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from experts.batch.journal import whole_records
from tests.conftest import FakeExpert, expert_record, serving
from tests.processes import ROOT, free_port

LINES = int(os.environ.get("CONSILIUM_TEST_BATCH_LINES", "10000"))
REFUSED_EVERY = 500


def number_of(body: dict[str, Any]) -> int:
    return int(body["messages"][-1]["content"].split()[-1])


class Picky(FakeExpert):
    """Refuses some questions for good, as a server does that finds them too long."""

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        if number_of(body) % REFUSED_EVERY:
            return await super()._chat(request)
        self.requests.append(body)
        error = {"message": "too long", "type": "test", "param": "messages", "code": "knob"}
        return JSONResponse({"error": error}, status_code=400)


def make_input(lines: int) -> bytes:
    def line(number: int) -> bytes:
        words = ("Solve the equation for x", "Can my landlord terminate the lease")[number % 2]
        body = {"model": "auto", "messages": [{"role": "user", "content": f"{words} {number}"}]}
        record = {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(record).encode() + b"\n"

    return b"".join(line(number) for number in range(1, lines + 1))


def configured(folder: Path, math: FakeExpert, law: FakeExpert) -> None:
    records = [
        expert_record("math", math, domains=["math"], examples=["Solve the equation for x"]),
        expert_record("law", law, domains=["law"], examples=["Can my landlord terminate the lease"]),
    ]
    (folder / "config.json").write_text(json.dumps({"experts": records, "routing": {"budget_ms": 10_000}}))


def begun(folder: Path, port: int) -> subprocess.Popen[bytes]:
    with (folder / "gateway.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.integration.one_gateway", str(folder / "config.json"), str(port)],
            cwd=ROOT,
            env={**os.environ, "CONSILIUM_STATE_DIR": str(folder), "CONSILIUM_STORE": str(folder / "consilium.db")},
            stdout=log,
            stderr=log,
        )


@asynccontextmanager
async def one_gateway(folder: Path, port: int) -> AsyncIterator[tuple[subprocess.Popen[bytes], httpx.AsyncClient]]:
    """Run a gateway process and yield it with a client; it is killed when left."""
    process = begun(folder, port)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            await up(client, process, folder)
            yield process, client
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def up(client: httpx.AsyncClient, process: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(600):
        try:
            if (await client.get("/health/readiness")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, (folder / "gateway.log").read_text()[-3000:]
        await asyncio.sleep(0.1)
    raise AssertionError((folder / "gateway.log").read_text()[-3000:])


async def done(client: httpx.AsyncClient, batch: str) -> dict[str, Any]:
    """Wait until the batch has ended."""
    while True:
        body: dict[str, Any] = (await client.get(f"/v1/batches/{batch}")).json()
        if body["status"] not in ("validating", "in_progress", "finalizing", "cancelling"):
            return body
        await asyncio.sleep(0.2)


async def journaled(folder: Path, at_least: int) -> None:
    """Wait until the end of so many lines is in the journal."""

    def ended() -> int:
        return sum(path.read_bytes().count(b'"kind":"done"') for path in (folder / "files").glob(".batch_*.journal"))

    while await asyncio.to_thread(ended) < at_least:
        await asyncio.sleep(0.1)


def finished(folder: Path) -> set[int]:
    """Return the lines whose end is in the journal."""
    return {
        record["line"]
        for journal in (folder / "files").glob(".batch_*.journal")
        for _, _, record in whole_records(journal)
        if record["kind"] == "done"
    }


async def ordered(client: httpx.AsyncClient, content: bytes) -> str:
    uploaded = await client.post("/v1/files", files={"file": ("in.jsonl", content)}, data={"purpose": "batch"})
    order = {"input_file_id": uploaded.json()["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return str((await client.post("/v1/batches", json=order)).json()["id"])


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_killed_three_times_a_large_batch_is_complete_and_nothing_finished_is_asked_again(tmp_path: Path) -> None:
    content, chance, port = make_input(LINES), random.Random(), free_port()
    math, law, batch = Picky(), Picky(), ""
    at_kill: list[tuple[set[int], tuple[int, int]]] = []
    async with serving(math, law):
        configured(tmp_path, math, law)
        for share in sorted(chance.uniform(0.0, 0.95) for _ in range(3)):
            async with one_gateway(tmp_path, port) as (process, client):
                batch = batch or await ordered(client, content)
                await journaled(tmp_path, round(share * LINES))
                process.send_signal(signal.SIGKILL)
                await asyncio.to_thread(process.wait)
            at_kill.append((finished(tmp_path), (len(math.requests), len(law.requests))))
        async with one_gateway(tmp_path, port) as (_, client):
            body = await done(client, batch)
            out = (await client.get(f"/v1/files/{body['output_file_id']}/content")).text.splitlines()
            errors = (await client.get(f"/v1/files/{body['error_file_id']}/content")).text.splitlines()

    refused = LINES // REFUSED_EVERY
    assert ("completed", {"total": LINES, "completed": LINES - refused, "failed": refused}) == (
        body["status"],
        body["request_counts"],
    )
    check_output(out, errors)
    for ended, seen in at_kill:
        later = [number_of(b) for fake, count in zip((math, law), seen, strict=True) for b in fake.requests[count:]]
        assert set() == ended & set(later)
    asked = Counter(number_of(each) for fake in (math, law) for each in fake.requests)
    assert set(range(1, LINES + 1)) == set(asked)
    print(f"killed with {[len(ended) for ended, _ in at_kill]} finished; asked twice: {asked.total() - LINES}")


def check_output(out: list[str], errors: list[str]) -> None:
    lines = [json.loads(each) for each in out]
    assert [f"r{number}" for number in range(1, LINES + 1)] == [each["custom_id"] for each in lines]
    for number, each in enumerate(lines, 1):
        body = each["response"]["body"]
        if number % REFUSED_EVERY == 0:
            assert (400, "knob") == (each["response"]["status_code"], body["error"]["code"])
        else:
            assert str(number) == body["choices"][0]["message"]["content"].split()[-1]
    assert [each for each in out if '"status_code":400' in each] == errors


@pytest.mark.slow
async def test_another_process_goes_on_with_a_dead_ones_batch_and_may_cancel_it(tmp_path: Path) -> None:
    slow = FakeExpert(first_token_delay=0.5)
    async with serving(slow):
        configured(tmp_path, slow, slow)
        async with one_gateway(tmp_path, free_port()) as (one, asked):
            batch = await ordered(asked, make_input(2000))
            await journaled(tmp_path, 50)
            async with one_gateway(tmp_path, free_port()) as (_, other):
                one.send_signal(signal.SIGKILL)
                await asyncio.to_thread(one.wait)
                before = len(finished(tmp_path))
                await journaled(tmp_path, before + 50)
                stopping = (await other.post(f"/v1/batches/{batch}/cancel")).json()
                body = await done(other, batch)
                out = (await other.get(f"/v1/files/{body['output_file_id']}/content")).text.splitlines()

    assert ("cancelling", "cancelled") == (stopping["status"], body["status"])
    assert before + 50 <= len(out) == body["request_counts"]["completed"] < 2000
    assert len(out) == len({json.loads(line)["custom_id"] for line in out})
