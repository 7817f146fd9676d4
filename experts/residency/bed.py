"""How servers of ours sleep: stopped altogether, or on a GPU in vLLM's sleep mode, which keeps weights in RAM.

Stopping frees everything and waking is a start. Sleep mode keeps the process: weights go to the machine's RAM, the
cache is dropped, and waking copies the weights back.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Protocol

from experts.errors import ExpertUnavailable, LaunchError
from experts.launch.fleet import Fleet
from experts.launch.process import ServerState, SupervisedServer
from experts.registry import Replica

WEIGHTS_TO_RAM = 1
USUAL_SHARE = 0.9
"""The share of a GPU that vLLM takes when nobody says."""
GONE = {ServerState.STOPPED: "stopped", ServerState.FAILED: "failed"}


class SleepMode(Protocol):
    """What is asked of a vLLM server; `experts.backends.vllm.VllmBackend` is one."""

    async def sleep(self, expert: str, replica: Replica, level: int = 1) -> None:
        """Give the GPU's memory back."""

    async def wake(self, expert: str, replica: Replica) -> None:
        """Take it again."""


class ServerBed:
    """The bed of a fleet's servers. What it is given is borrowed; servers that are awake at the end stay so.

    Args:
        fleet: returns the fleet; None while there is no server.
        sleep_mode: how a server is asked to sleep; None stops servers instead. A CPU's are always stopped.
    """

    def __init__(self, fleet: Callable[[], Fleet | None], sleep_mode: SleepMode | None = None) -> None:
        self._fleet, self._sleep_mode = fleet, sleep_mode
        self._dozing: set[str] = set()
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def wake(self, server: str) -> None:
        """Return when the server answers; see `Bed.wake`."""
        supervised = self._server(server)
        dozed = server in self._dozing
        self._dozing.discard(server)
        if dozed and self._sleep_mode is not None and supervised.state is ServerState.READY:
            await self._sleep_mode.wake(server, Replica(supervised.spec.base_url))
            return
        async with AsyncExitStack() as turns:
            for device in self._devices(supervised):
                await turns.enter_async_context(self._turns[device])
            await _started(supervised)

    async def put_to_sleep(self, server: str) -> None:
        """Return when the server holds no memory; see `Bed.put_to_sleep`."""
        supervised = self._server(server)
        if self._sleep_mode is None or self._on_cpu or supervised.state is not ServerState.READY:
            await supervised.stop()
        else:
            await self._sleep_mode.sleep(server, Replica(supervised.spec.base_url), WEIGHTS_TO_RAM)
            self._dozing.add(server)

    def fell(self, server: str) -> str | None:
        """Say what became of a server that was awake; see `Bed.fell`."""
        return GONE.get(self._server(server).state)

    def _devices(self, server: SupervisedServer) -> Sequence[int]:
        """Return what a server shares with others while it starts: its GPUs, on which vLLM measures what is free.

        On a CPU all share one: two that load at once take longer than one after the other.
        """
        return (0,) if self._on_cpu else sorted(server.spec.hardware.gpus)

    @property
    def _on_cpu(self) -> bool:
        fleet = self._fleet()
        return fleet is not None and fleet.environment.kind == "cpu"

    def _server(self, server: str) -> SupervisedServer:
        fleet = self._fleet()
        if fleet is None or server not in fleet.specs:
            raise ExpertUnavailable(server, f"The server of '{server}' is not there any more.")
        return fleet.server(server)


def seats_of(fleet: Fleet | None) -> dict[str, dict[int, float]]:
    """Return the GPUs each server sits on and the share of each that it takes; nothing for one without GPUs."""
    specs = {} if fleet is None else fleet.specs
    share = {name: spec.hardware.gpu_memory_fraction or USUAL_SHARE for name, spec in specs.items()}
    return {name: dict.fromkeys(spec.hardware.gpus, share[name]) for name, spec in specs.items()}


async def _started(server: SupervisedServer) -> None:
    """Start a server and wait until it answers; one that does not is stopped again, so that it holds nothing.

    Raises:
        LaunchError: it does not.
    """
    await server.start()
    try:
        await server.wait_ready(server.spec.start_timeout_seconds)
    except LaunchError:
        await server.stop()
        raise
