"""A gateway is killed while it measures an expert: the next one goes on with the job and asks only what is missing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.processes import free_port, started, wait_for

QUESTIONS, AT_ONCE = 60, 4


def sums(folder: Path) -> Path:
    rows = [{"question": f"What is {n}?", "answer": str(n), "domain": "math"} for n in range(QUESTIONS)]
    path = folder / "sums.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


async def test_kill_nine_costs_only_the_answers_under_way(tmp_path: Path) -> None:
    fake, port = FakeExpert(models=("a",), reply=lambda body: "Answer: 7", word_delay=0.05), free_port()
    url, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    environment = {
        "CONSILIUM_STORE": str(tmp_path / "kept.db"),
        "CONSILIUM_STATE_DIR": str(tmp_path / "state"),
        "CONSILIUM_ADMIN_KEY": "boss",
    }
    body = {"questions": str(sums(tmp_path)), "concurrency": AT_ONCE}
    boss = {"authorization": "Bearer boss"}
    async with serving(fake), httpx.AsyncClient(base_url=url, timeout=30, headers=boss) as client:
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"experts": [expert_record("a", fake)]}))
        command = ("tests.integration.one_gateway", str(config), str(port))
        with started(*command, log=log, **environment) as process:
            await asyncio.to_thread(wait_for, f"{url}/health", process, log)
            job = (await client.post("/admin/experts/a/profile", json=body)).json()
            while len(fake.requests) < QUESTIONS // 2:
                await asyncio.sleep(0.01)
            process.kill()
            process.wait()
        asked = len(fake.requests)
        with started(*command, log=log, **environment) as process:
            await asyncio.to_thread(wait_for, f"{url}/health", process, log)
            ended = await until_ended(client, job["id"])
            expert = (await client.get("/admin/experts/a")).json()

    assert "done" == ended["state"]
    assert QUESTIONS == ended["result"]["overall"]["count"]
    assert asked - AT_ONCE <= ended["result"]["reused"] <= asked
    assert len(fake.requests) <= QUESTIONS + AT_ONCE
    assert QUESTIONS == expert["measured"]["skills"]["math"]["count"]


async def until_ended(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            job: dict[str, Any] = (await client.get(f"/admin/jobs/{job_id}")).json()
            if job["state"] in ("done", "failed", "cancelled"):
                return job
            await asyncio.sleep(0.1)
