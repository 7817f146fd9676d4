"""What chaos happens to: a Redis, gateways on it, and experts' replicas, every one a process that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.chaos.clients import DEADLINE_SECONDS
from tests.processes import ROOT, free_port
from tests.redis_server import RedisServer

EXPERTS = ("math", "prose", "code")
REPLICAS_EACH = 2
DRAIN_SECONDS = 15
UP_SECONDS = 60.0
"""Longest start of a gateway on a busy machine."""
LIMITS = {"max_in_flight": 32, "max_queue": 64, "first_token_timeout_seconds": 2, "idle_timeout_seconds": 2}
EXAMPLES = {
    "math": ["the integral of the polynomial", "solve the polynomial equation"],
    "prose": ["a verse of a poem about autumn", "write a poem"],
    "code": ["a python function that sorts a list", "python code for a function"],
}


@dataclass
class Away:
    """A time in which a gateway cannot be relied on; `gently`: it was told to end, and finishes what it has begun."""

    since: float
    gently: bool
    until: float = float("inf")


@dataclass
class Process:
    """One process that is begun again whenever it ends."""

    command: tuple[str, ...]
    url: str
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    away: list[Away] = field(default_factory=list)
    _running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    @property
    def runs(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def start(self) -> None:
        """Begin, without waiting until it answers; nothing where it runs, since faults may overlap."""
        if self.runs:
            return
        with self.log.open("ab") as out:
            self._running = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def end(self, number: signal.Signals) -> None:
        """Send a signal and wait until it has ended; what takes longer than its drain is killed."""
        if self._running is None:
            return
        ending = self._running
        ending.send_signal(number)
        deadline = time.monotonic() + DRAIN_SECONDS + 10
        while ending.poll() is None:
            if time.monotonic() > deadline:
                ending.kill()
            await asyncio.sleep(0.02)

    async def up(self, session: aiohttp.ClientSession, path: str, seconds: float = UP_SECONDS) -> None:
        """Wait until it answers, and begin it again where it ended: a gateway does not start without its Redis."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(self.url + path, timeout=aiohttp.ClientTimeout(2)) as response:
                    if response.status == 200:
                        return
            self.start()
            await asyncio.sleep(0.1)
        raise AssertionError(f"{self.command} did not come up:\n{self.log.read_text()[-2000:]}")


@dataclass
class World:
    """Everything there is; `replicas` in the order of `EXPERTS`, the replicas of one beside each other."""

    redis: RedisServer
    gateways: list[Process]
    replicas: list[Process]
    session: aiohttp.ClientSession

    def excused(self, gateway: int, begin: float, end: float, midway: bool) -> bool:
        """Say whether a gateway had a reason to break off between two times; `midway`: in the middle of an answer."""
        reasons = [each for each in self.gateways[gateway].away if not (midway and each.gently)]
        return any(begin <= each.until and end >= each.since for each in reasons)

    async def tell(self, replica: int, fault: str) -> None:
        """Have a replica misbehave from now on, or behave; one that is dead just now does not hear it."""
        with suppress(aiohttp.ClientError):
            async with self.session.post(f"{self.replicas[replica].url}/fault", json={"kind": fault}):
                pass

    async def stats(self, replica: int) -> dict[str, int]:
        """Return a replica's own counts."""
        async with self.session.get(f"{self.replicas[replica].url}/stats") as response:
            found: dict[str, int] = await response.json()
        return found

    async def gauges(self, gateway: int) -> dict[str, float]:
        """Return what a gateway says is under way and waiting, by metric and expert, where it is not zero."""
        async with self.session.get(f"{self.gateways[gateway].url}/metrics") as response:
            lines = (await response.text()).splitlines()
        wanted = ("consilium_expert_in_flight", "consilium_expert_waiting")
        values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted)}
        return {name: value for name, value in values.items() if value}


@asynccontextmanager
async def world(folder: Path, gateways: int = 2, **sections: Any) -> AsyncIterator[World]:
    """Start everything and wait until it answers; all of it has ended when left. `sections` are the file's others."""
    redis, replicas = RedisServer(folder), [_replica(folder, name) for name in EXPERTS for _ in range(REPLICAS_EACH)]
    config = folder / "config.json"
    config.write_text(json.dumps({**_config(replicas), **sections}))
    served = [_gateway(folder, config, redis, number) for number in range(gateways)]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session:
        try:
            await asyncio.to_thread(redis.start)
            for process in (*replicas, *served):
                process.start()
            await asyncio.gather(*(each.up(session, "/stats") for each in replicas))
            await asyncio.gather(*(each.up(session, "/health/readiness") for each in served))
            yield World(redis, served, replicas, session)
        finally:
            await asyncio.gather(*(each.end(signal.SIGKILL) for each in (*replicas, *served)))
            redis.kill()


def _replica(folder: Path, name: str) -> Process:
    port = free_port()
    command = ("tests.bench.chaos.expert", str(port), name)
    return Process(command, f"http://127.0.0.1:{port}", folder / f"{name}.{port}.log")


def _gateway(folder: Path, config: Path, redis: RedisServer, number: int) -> Process:
    port = free_port()
    environment = {"CONSILIUM_REDIS_URL": redis.url, "CONSILIUM_DRAIN_SECONDS": str(DRAIN_SECONDS)}
    environment |= {"CONSILIUM_ADMIN_KEY": "boss", "CONSILIUM_STATE_DIR": str(folder)}
    command = ("tests.integration.one_gateway", str(config), str(port))
    return Process(command, f"http://127.0.0.1:{port}", folder / f"gateway{number}.log", environment)


def _config(replicas: list[Process]) -> dict[str, Any]:
    experts = []
    for number, name in enumerate(EXPERTS):
        mine = replicas[number * REPLICAS_EACH : (number + 1) * REPLICAS_EACH]
        others = [other for other in EXPERTS if other != name]
        urls = [{"base_url": f"{each.url}/v1"} for each in mine]
        limits = {**LIMITS, "timeout_seconds": DEADLINE_SECONDS}
        known = {"domains": [name], "examples": EXAMPLES[name], "limits": limits}
        experts.append({"name": name, "replicas": urls, "fallback": others, **known})
    return {"experts": experts, "fusion": {"deadline_seconds": DEADLINE_SECONDS - 2, "arm_deadline_seconds": 4}}
