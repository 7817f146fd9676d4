"""`consilium serve --workers`: several processes on one socket; one that dies is replaced, all of them drain."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.processes import consilium, started, wait_for

pytestmark = pytest.mark.slow
WORKERS = 2
ASK = {"model": "one", "messages": [{"role": "user", "content": "hello"}]}


def free_ports() -> int:
    """Return a port that nobody listens on just now, nor on the next two."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                for more in range(1, WORKERS + 1):
                    with socket.socket() as next_one:
                        next_one.bind(("127.0.0.1", port + more))
            except OSError:
                continue
            return port


@dataclass(frozen=True)
class Crew:
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def url(self, worker: int = 0) -> str:
        return f"http://127.0.0.1:{self.port + worker}"

    def workers(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children()}

    async def up(self, worker: int) -> None:
        await asyncio.to_thread(wait_for, f"{self.url(worker)}/health", self.process, self.log)


@asynccontextmanager
async def crew(folder: Path, records: list[dict[str, Any]]) -> AsyncIterator[Crew]:
    config, log, port = folder / "config.json", folder / "log", free_ports()
    config.write_text(json.dumps({"experts": records}))
    environment = {"CONSILIUM_STORE": str(folder / "kept.db"), "CONSILIUM_ADMIN_KEY": "boss"}
    arguments = ("serve", "--config", str(config), "--port", str(port), "--workers", str(WORKERS))
    with started("gateway", *arguments, log=log, **environment) as process:
        found = Crew(port, process, log)
        for worker in range(1, WORKERS + 1):
            await found.up(worker)
        yield found


async def asked(url: str, **more: Any) -> int:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        return (await client.post("/v1/chat/completions", json={**ASK, **more})).status_code


async def test_workers_answer_on_one_port_share_the_registry_and_one_that_is_killed_is_replaced(tmp_path: Path) -> None:
    fake = FakeExpert(reply=lambda _: "yes")
    async with serving(fake), crew(tmp_path, [expert_record("one", fake)]) as running:
        before = running.workers()
        assert WORKERS == len(before)
        assert {200} == {await asked(running.url(worker)) for worker in range(WORKERS + 1)}

        async with httpx.AsyncClient(headers={"authorization": "Bearer boss"}, timeout=30) as admin:
            made = await admin.post(f"{running.url(1)}/admin/experts", json=expert_record("two", fake))
            assert 201 == made.status_code, made.text
        await asyncio.sleep(1)
        assert 200 == await asked(running.url(2), model="two")

        os.kill(min(before), signal.SIGKILL)
        assert {200} == set(await asyncio.gather(*(asked(running.url()) for _ in range(20))))
        for worker in range(1, WORKERS + 1):
            await running.up(worker)
        assert WORKERS == len(running.workers())
        assert 1 == len(running.workers() & before)


async def test_told_to_stop_every_worker_finishes_what_runs(tmp_path: Path) -> None:
    fake = FakeExpert(reply=lambda _: "a b c d e f g h", word_delay=0.25)
    async with serving(fake), crew(tmp_path, [expert_record("one", fake)]) as running:
        slow = [asyncio.create_task(asked(running.url(worker))) for worker in (1, 2)]
        await asyncio.sleep(0.8)
        workers, begun = running.workers(), time.monotonic()
        running.process.terminate()

        assert [200, 200] == await asyncio.gather(*slow)
        assert 0 == await asyncio.to_thread(running.process.wait, 30)
        assert not any(psutil.pid_exists(worker) for worker in workers)
        assert time.monotonic() - begun < 25


async def test_workers_whose_leader_is_killed_stop_by_themselves(tmp_path: Path) -> None:
    fake = FakeExpert(reply=lambda _: "yes")
    async with serving(fake), crew(tmp_path, [expert_record("one", fake)]) as running:
        workers = [psutil.Process(number) for number in running.workers()]
        running.process.kill()

        _, alive = await asyncio.to_thread(psutil.wait_procs, workers, 30)
        assert [] == alive


@pytest.mark.parametrize(
    ("expert", "store", "told"),
    [
        (
            {"name": "one", "backend": "vllm", "launch": {"model": "team/one"}},
            "kept.db",
            "each start the servers of one",
        ),
        (
            {"name": "one", "replicas": [{"base_url": "http://127.0.0.1:9/v1"}]},
            ":memory:",
            "give CONSILIUM_STORE a file",
        ),
    ],
)
def test_what_workers_cannot_share_is_refused_in_a_sentence(
    tmp_path: Path, expert: dict[str, Any], store: str, told: str
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"experts": [expert]}))
    place = store if store == ":memory:" else str(tmp_path / store)
    done = consilium(
        "serve", "--config", str(config), "--workers", "2", "--port", str(free_ports()), CONSILIUM_STORE=place
    )

    assert 2 == done.code
    assert told in done.err
