"""What the gateway itself costs: processor time of its process for one request, routing's encoder left out.

    python -m tests.bench.gateway_cost [--requests 300] [--words 200]

A gateway process (with a fake encoder) before a fake expert that writes as fast as it can, 16 requests at a time.
Processor time and not seconds, because the machine is shared; the expert and the client are other processes' time.
The encoder comes on top: `make bench-router-speed`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from pathlib import Path

import httpx
import psutil

from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.processes import free_port, started, wait_for

AT_ONCE = 16


async def asked(client: httpx.AsyncClient, number: int, stream: bool) -> None:
    """Send one request and read all of its answer."""
    body = {"model": "auto", "messages": [{"role": "user", "content": f"question {number}"}], "stream": stream}
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        async for _ in answer.aiter_bytes():
            pass


async def milliseconds(client: httpx.AsyncClient, gateway: psutil.Process, count: int, stream: bool) -> float:
    """Return the gateway's processor time for one request, user and system."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with turns:
            await asked(client, number, stream)

    await asyncio.gather(*(one(-number) for number in range(1, 33)))
    before = gateway.cpu_times()
    await asyncio.gather(*(one(number) for number in range(count)))
    after = gateway.cpu_times()
    return 1000 * (after.user + after.system - before.user - before.system) / count


async def measure(count: int, words: int) -> None:
    """Print a row for whole and for streamed answers."""
    fake = FakeExpert(reply=lambda _: "word " * (words - 1) + "word")
    with tempfile.TemporaryDirectory() as folder:
        async with serving(fake):
            config, log, port = Path(folder) / "config.json", Path(folder) / "log", free_port()
            config.write_text(json.dumps({"experts": [expert_record("one", fake), expert_record("two", fake)]}))
            url = f"http://127.0.0.1:{port}"
            with started("tests.integration.one_gateway", str(config), str(port), log=log, **os.environ) as process:
                await asyncio.to_thread(wait_for, f"{url}/health", process, log)
                async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                    gateway = psutil.Process(process.pid)
                    for stream in (False, True):
                        spent = await milliseconds(client, gateway, count, stream)
                        kind = "streamed" if stream else "whole"
                        print(f"| {kind} | {words} chunks | {spent:.1f} ms | {1000 / spent:.0f} requests/s a core |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--words", type=int, default=200)
    chosen = parser.parse_args()
    asyncio.run(measure(chosen.requests, chosen.words))
