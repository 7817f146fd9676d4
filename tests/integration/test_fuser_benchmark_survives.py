"""A gateway is killed while fusers are examined: the other one goes on, asks only what is missing, and both know."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx

from tests.fakes.expert import serving
from tests.integration.fusing_world import begun, ended, fusing, questions, records, world, written_by
from tests.processes import free_port, started, wait_for

AT_ONCE = 4


async def test_kill_nine_costs_only_the_answers_under_way_and_every_process_knows(tmp_path: Path) -> None:
    fakes = world()
    for fake in fakes.values():
        fake.word_delay = 0.01
    data = questions(tmp_path, 12)
    environment = {
        "CONSILIUM_STORE": str(tmp_path / "kept.db"),
        "CONSILIUM_STATE_DIR": str(tmp_path / "state"),
        "CONSILIUM_ADMIN_KEY": "boss",
    }
    ports = [free_port(), free_port()]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    logs = [tmp_path / f"log.{number}" for number in range(2)]
    boss = {"authorization": "Bearer boss"}
    async with (
        serving(*fakes.values()),
        httpx.AsyncClient(base_url=urls[0], timeout=30, headers=boss) as first,
        httpx.AsyncClient(base_url=urls[1], timeout=30, headers=boss) as second,
    ):
        config = tmp_path / "config.json"
        routing = {"classifier": "centroid", "default": "ann"}
        config.write_text(json.dumps({"experts": records(fakes), "routing": routing}))
        commands = [("tests.integration.one_gateway", str(config), str(port)) for port in ports]
        with started(*commands[0], log=logs[0], **environment) as process:
            await asyncio.to_thread(wait_for, f"{urls[0]}/health", process, logs[0])
            job = await begun(first, data, concurrency=AT_ONCE)
            while sum(map(fusing, fakes["bob"].requests)) < 10:
                await asyncio.sleep(0.01)
            process.kill()
            process.wait()
        before = sum(len(fake.requests) for fake in fakes.values())
        with (
            started(*commands[1], log=logs[1], **environment) as other,
            started(*commands[0], log=logs[0], **environment) as process,
        ):
            await asyncio.to_thread(wait_for, f"{urls[1]}/health", other, logs[1])
            await asyncio.to_thread(wait_for, f"{urls[0]}/health", process, logs[0])
            done = await ended(second, job)
            asked = sum(len(fake.requests) for fake in fakes.values())
            async with asyncio.timeout(5):
                while {"sums", "pleads"} != {await written_by(each, "math") for each in (first, second)} | {"pleads"}:
                    await asyncio.sleep(0.05)
            writers = [[await written_by(each, domain) for domain in ("math", "law")] for each in (first, second)]

    assert "done" == done["state"], done["error"]
    assert before - AT_ONCE <= done["result"]["reused"] <= before
    assert asked - before <= done["total"] - done["result"]["reused"]
    assert [["sums", "pleads"], ["sums", "pleads"]] == writers
