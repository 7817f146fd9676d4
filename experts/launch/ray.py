"""Run experts on a Ray cluster: each server is an actor wherever there is room, and moves when its node fails.

Ray itself is in a process of its own (`ray_driver`), which this one starts, tells what is wished, and hears from.
A process that lost its cluster is ended by Ray; ours is started again, and meanwhile the servers answer where they
were. Nothing here imports Ray.

    ray.py -- wishes, reports --> ray_driver.py -- actors --> ray_server.py on the nodes        ray_plan.py: pure
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import secrets
import sys
from asyncio import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from experts.config import ExpertConfig
from experts.errors import ConfigError, LaunchError
from experts.launch.boarding import AdapterServer
from experts.launch.process import ServerProgress, ServerState
from experts.launch.ray_plan import (
    ClusterServer,
    Report,
    cluster_servers,
    failure_in,
    replicas_in,
    state_in,
)
from experts.launch.ray_server import WITH_VLLM
from experts.launch.remote_adapters import RemoteAdapters
from experts.launch.state import log_path
from experts.registry import Replica, static_replicas

log = logging.getLogger(__name__)
NAMESPACE = "consilium"
LEASE_SECONDS = 300.0
CONNECT_SECONDS = 60.0
SILENT_SECONDS = 30.0
"""A driver that says nothing for so long is stuck, and started again."""
LEAVE_SECONDS = 40.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
SECRETS = "CONSILIUM_"
LONGEST_LINE = 2**24


class RayRuntime:
    """Run experts on a cluster. `async with` releases every server at the end.

    Args:
        root: the folder that relative model and adapter folders count from, on every node.
        address: `auto`, `host:port` of the cluster's head, or `ray://host:port`.
        backend: how vLLM servers that somebody else runs are asked to load adapters; borrowed.
        moved: told whenever some expert answers elsewhere than before, on the event loop; must return at once.
        progress: told of every change of a server's state; the same.
        commands: `module:function` that makes a node's command; another one than vLLM's is for tests.
        lease_seconds: how long servers outlive gateways that are gone without a word, and how long a server may be
            silent that Ray has placed or could place: then it is made anew.
    """

    def __init__(
        self,
        root: Path,
        address: str,
        backend: AdapterServer,
        *,
        moved: Callable[[], None] = lambda: None,
        progress: Callable[[ServerProgress], None] = lambda _: None,
        commands: str = WITH_VLLM,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.moved = moved
        self._root, self._address, self._tell = root, address, progress
        self._commands, self._lease_seconds, self._holder = commands, lease_seconds, secrets.token_hex(8)
        self._remote = RemoteAdapters(root, backend)
        self._servers: dict[str, ClusterServer] = {}
        self._reports: dict[str, Report] = {}
        self._heard = asyncio.Event()
        self._refused = ""
        self._process: subprocess.Process | None = None
        self._running: asyncio.Task[None] | None = None
        self._leaving = False

    async def settle(self, experts: Sequence[ExpertConfig]) -> None:
        """Make these experts the ones that run; see `Runtime.settle`.

        Raises:
            LaunchError: there is no cluster at the address.
        """
        servers = {server.name: server for server in cluster_servers(experts, self._root)}
        if servers:
            self._check_installed(next(iter(servers)))
        before, self._servers = self._servers, servers
        self._reports = {name: self._reports.get(name, Report("starting")) for name in servers}
        if servers and self._running is None:
            await self._connect()
        elif servers != before:
            await self._wish()
        await self._remote.settle(experts)

    def replicas(self, config: ExpertConfig) -> tuple[Replica, ...]:
        """Return where an expert answers now: its servers that are ready."""
        reports = self._reports_of(config.name)
        return replicas_in(reports) if reports else self._remote.replicas(config.name) or static_replicas(config)

    def state(self, expert: str) -> str | None:
        """Return what the servers of an expert of ours are doing; see `Runtime.state`."""
        reports = self._reports_of(expert)
        return state_in(reports) if reports else self._remote.state(expert)

    def failure(self, expert: str) -> str:
        """Return why an expert of ours does not answer; see `Runtime.failure`."""
        return failure_in(self._reports_of(expert)) or self._remote.failure(expert)

    def _reports_of(self, expert: str) -> list[Report]:
        return [self._reports[server.name] for server in self._servers.values() if expert in server.experts]

    def _check_installed(self, server: str) -> None:
        if importlib.util.find_spec("ray") is None:
            raise ConfigError(f"'{server}' is to run on Ray, which is not installed: pip install 'consilium[ray]'")

    async def _connect(self) -> None:
        """Start the driver and wait until the cluster has answered.

        Raises:
            LaunchError: it has not.
        """
        self._running = asyncio.create_task(self._keep_a_driver(), name="ray-driver")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._heard.wait()
        except TimeoutError:
            self._refused = f"nobody answered within {CONNECT_SECONDS:.0f} s"
        if self._refused:
            raise LaunchError("ray", f"There is no Ray cluster at {self._address}: {self._refused}")

    async def _keep_a_driver(self) -> None:
        """Run a driver, and another one when it ends or falls silent."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            process = self._process = await self._started()
            try:
                await self._wish()
                if await self._listen(process):
                    pause = FIRST_PAUSE_SECONDS
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            if self._leaving:
                return
            log.warning("the Ray driver ended, servers stay where they are: %s", self._refused or "no reason given")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _started(self) -> subprocess.Process:
        options = {
            "address": self._address,
            "namespace": NAMESPACE,
            "commands": self._commands,
            "lease": str(self._lease_seconds),
            "holder": self._holder,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        with log_path("ray").open("ab") as errors:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "experts.launch.ray_driver", *words),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={name: value for name, value in os.environ.items() if not name.startswith(SECRETS)},
                start_new_session=True,
                limit=LONGEST_LINE,
            )

    async def _listen(self, process: subprocess.Process) -> bool:
        """Take over what a driver says until it ends or falls silent; True when it ever reported."""
        assert process.stdout is not None
        reported = False
        while True:
            try:
                async with asyncio.timeout(SILENT_SECONDS if reported else CONNECT_SECONDS):
                    line = await process.stdout.readline()
            except TimeoutError:
                self._refused = "it fell silent"
                return reported
            if not line:
                return reported
            said = json.loads(line)
            self._refused = said.get("error", "")
            if "reports" in said:
                reported = True
                self._take({name: Report(**report) for name, report in said["reports"].items()})
            self._heard.set()

    def _take(self, reports: dict[str, Report]) -> None:
        """Take over reports of servers that are wished, and tell what changed.

        A driver that has just been started knows nothing yet: what was known stays until a server answers it.
        """
        before = self._reports
        now = {name: _newer(known, reports.get(name, known)) for name, known in before.items()}
        self._reports = now
        for name, report in now.items():
            if report.state != before[name].state:
                self._tell(ServerProgress(name, ServerState(report.state), detail=report.failure))
        if _addresses(before) != _addresses(now):
            self.moved()

    async def _wish(self) -> None:
        await self._say({"servers": [asdict(server) for server in self._servers.values()]})

    async def _say(self, what: dict[str, Any]) -> None:
        """Write a line to the driver; one that is gone is told by being started again."""
        pipe = None if self._process is None else self._process.stdin
        if pipe is not None:
            with suppress(ConnectionError):
                pipe.write(f"{json.dumps(what)}\n".encode())
                await pipe.drain()

    async def aclose(self) -> None:
        """Release every server: those that no other gateway holds end."""
        await self._remote.aclose()
        if self._running is None:
            return
        self._leaving = True
        await self._say({"leave": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                if self._process is not None:
                    await self._process.wait()
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _newer(known: Report, said: Report) -> Report:
    return known if said.state == "starting" and known.base_url and not said.base_url else said


def _addresses(reports: dict[str, Report]) -> dict[str, tuple[str, str] | None]:
    return {
        name: (report.base_url, report.api_key) if report.state == "ready" else None for name, report in reports.items()
    }
