"""The gateway's hand on a Ray cluster: a process of its own, because Ray ends a process that lost its cluster.

    python -m experts.launch.ray_driver --address auto --namespace consilium --commands MODULE:FUNCTION --lease 300
                                        --holder WHO

It reads wishes from standard input and writes reports to standard output, a line of JSON each:

    in    {"servers": [ClusterServer, ...]}    these, and no others          {"leave": true}    release all, then end
    out   {"reports": {name: Report, ...}}     at every change, and every second         {"error": sentence}

When the input ends without a `leave`, it ends and releases nothing: a gateway that comes back finds its servers. The
next driver of the same gateway has the same `--holder`, so that what one held the other can release.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TextIO

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError

from experts.launch.ray_plan import ClusterServer, Report, has_room, waits_for
from experts.launch.ray_server import RayServer

ASK_EVERY_SECONDS = 1.0
RELEASE_SECONDS = 30.0
REACH_SECONDS = 5.0
PATIENCE_SECONDS = 5.0
"""How long an actor may be silent before its report says that it waits for a node."""


class Driver:
    """Keeps the wished servers existing and held, and knows how each is.

    Args:
        holder: the gateway's name for itself with the servers.
        commands: `module:function` that makes a node's command.
        lease_seconds: how long a silent holder counts with a server, and a silent server with us: then it is made anew.
    """

    def __init__(self, holder: str, commands: str, lease_seconds: float) -> None:
        self._me = holder
        self._commands, self._lease_seconds = commands, lease_seconds
        self._actors: dict[str, Any] = {}
        self._answered: set[str] = set()
        self._heard: dict[str, float] = {}
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self.reports: dict[str, Report] = {}

    async def wish(self, servers: Mapping[str, ClusterServer]) -> None:
        """Hold these servers and no others; returns at once, those released end behind."""
        gone = [name for name in self._keeping if name not in servers]
        for name in gone:
            self._keeping.pop(name).cancel()
            self.reports.pop(name, None)
        for name, server in servers.items():
            if name not in self._keeping:
                self.reports[name], self._heard[name] = Report("starting"), time.monotonic()
                self._keeping[name] = asyncio.create_task(self._keep(server), name=name)
        await asyncio.gather(*(self._release(name) for name in gone))

    async def leave(self) -> None:
        """Release every server."""
        await self.wish({})

    async def _keep(self, server: ClusterServer) -> None:
        """Ask a server how it is, for ever; one that is gone for good, or stuck, is made anew."""
        while True:
            try:
                actor = self._actors.get(server.name) or await asyncio.to_thread(self._found, server)
                self._actors[server.name] = actor
                self.reports[server.name] = Report(**await self._answer(server, actor))
                self._answered.add(server.name)
                self._heard[server.name] = time.monotonic()
            except ActorUnavailableError as error:
                self._answered.discard(server.name)
                self.reports[server.name] = Report("restarting", failure=_one_line(error))
                self._mind_silence(server)
            except RayActorError as error:
                self._forget(server.name)
                self._heard[server.name] = time.monotonic()
                self.reports[server.name] = Report("restarting", failure=_one_line(error))
            except (RayError, ValueError, ConnectionError) as error:
                self._actors.pop(server.name, None)
                self.reports[server.name] = Report("failed", failure=_one_line(error))
            await asyncio.sleep(ASK_EVERY_SECONDS)

    async def _answer(self, server: ClusterServer, actor: Any) -> dict[str, str]:
        """Return an actor's report. While it is silent, a known address stays: only Ray may be slow."""
        asked = asyncio.ensure_future(_awaited(actor.attend.remote(self._me)))
        try:
            while not asked.done():
                await asyncio.wait({asked}, timeout=ASK_EVERY_SECONDS)
                if not asked.done():
                    self._mind_silence(server)
            said: dict[str, str] = asked.result()
        finally:
            asked.cancel()
        return said

    def _mind_silence(self, server: ClusterServer) -> None:
        """Say what a server without an address waits for; end one that is stuck, which asking it tells next time."""
        name, silent = server.name, time.monotonic() - self._heard[server.name]
        placed = name in self._answered
        if silent < PATIENCE_SECONDS or (placed and silent < self._lease_seconds):
            return
        needs, free = _needs(server), ray.available_resources()
        if silent >= self._lease_seconds and (placed or has_room(needs, free)):
            ray.kill(self._actors[name], no_restart=True)
        elif not self.reports[name].base_url:
            self.reports[name] = Report(self.reports[name].state, failure=waits_for(needs, free))

    def _forget(self, name: str) -> None:
        self._actors.pop(name, None)
        self._answered.discard(name)
        self._heard.pop(name, None)

    def _found(self, server: ClusterServer) -> Any:
        """Return the actor of this name, made if there is none."""
        options = {
            "name": server.name,
            "get_if_exists": True,
            "lifetime": "detached",
            "max_restarts": -1,
            "num_cpus": server.cpus,
            "num_gpus": _gpus(server),
            "resources": dict(server.resources),
            "scheduling_strategy": "SPREAD",
        }
        kind = ray.remote(RayServer).options(**options)
        return kind.remote(server.name, list(server.configs), server.root, self._commands, self._lease_seconds)

    async def _release(self, name: str) -> None:
        """Release a server. One that never answered, or is restarting, waits for a node and would not hear us."""
        actor, answered = self._actors.get(name), name in self._answered
        self._forget(name)
        if actor is None:
            return
        with contextlib.suppress(RayError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                if not answered or await _awaited(actor.release.remote(self._me)):
                    ray.kill(actor, no_restart=True)


async def _awaited(reference: Any) -> Any:
    return await reference


def _gpus(server: ClusterServer) -> int:
    """Return how many GPUs to ask for: what is written, else one on a cluster that has any."""
    if server.gpus is not None:
        return server.gpus
    return 1 if ray.cluster_resources().get("GPU", 0) > 0 else 0


def _needs(server: ClusterServer) -> dict[str, float]:
    return {"GPU": _gpus(server), "CPU": server.cpus, **server.resources}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


async def serve(driver: Driver, wishes: TextIO, out: TextIO) -> None:
    """Follow wishes and say how things are until the input ends."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in wishes:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, "")

    threading.Thread(target=read, daemon=True).start()
    telling = asyncio.create_task(tell(driver, out))
    releasing: set[asyncio.Task[None]] = set()
    while line := await lines.get():
        wish = json.loads(line)
        if wish.get("leave"):
            await driver.leave()
            break
        task = asyncio.create_task(driver.wish({each["name"]: ClusterServer(**each) for each in wish["servers"]}))
        releasing.add(task)
        task.add_done_callback(releasing.discard)
    telling.cancel()


async def tell(driver: Driver, out: TextIO) -> None:
    """Write the reports when they change, and every second though they do not."""
    told, last = "", 0.0
    while True:
        line = json.dumps({"reports": {name: asdict(report) for name, report in driver.reports.items()}})
        if line != told or time.monotonic() - last > 1.0:
            told, last = line, time.monotonic()
            out.write(f"{line}\n")
            out.flush()
        await asyncio.sleep(0.1)


def connect(address: str, namespace: str) -> None:
    """Connect to the cluster.

    Raises:
        OSError, RuntimeError, ValueError: there is none at the address, or of another version.
    """
    host, colon, port = address.rpartition(":")
    if colon and "://" not in address:
        # Ray would try for a minute.
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    ray.init(address=address, namespace=namespace, log_to_driver=False, configure_logging=False)


def main() -> int:
    """Connect, say so with the first reports, and follow wishes."""
    parser = argparse.ArgumentParser()
    for option in ("--address", "--namespace", "--commands", "--lease", "--holder"):
        parser.add_argument(option, required=True)
    chosen = parser.parse_args()
    # Whatever Ray prints must not come between the reports.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        connect(chosen.address, chosen.namespace)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        out.write(json.dumps({"error": _one_line(error)}) + "\n")
        out.flush()
        return 1
    asyncio.run(serve(Driver(chosen.holder, chosen.commands, float(chosen.lease)), sys.stdin, out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
