"""All the servers this gateway runs itself, as one thing to start, ask and stop.

On GPUs they start together, those that share a GPU one after the other: vLLM measures what is free as it starts. On a
CPU one at a time: two that load at once take longer than one after the other.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from experts.errors import LaunchError
from experts.launch.environment import VllmEnvironment
from experts.launch.process import GRACE_SECONDS, ServerProgress, ServerState, SupervisedServer
from experts.launch.state import log_path
from experts.launch.supervision import Patience
from experts.launch.vllm import ServerSpec, command_line


class Fleet:
    """Servers by name, and which of them answers for an expert.

    `async with Fleet(...)` begins to start them and stops them at the end, whatever happened between.

    Args:
        specs: the servers, from `plan_servers`.
        environment: the Python that runs vLLM.
        progress: told of every change of every server, on the event loop; must return at once.
        patience: when to restart and give up; None fits the environment.
    """

    def __init__(
        self,
        specs: Sequence[ServerSpec],
        environment: VllmEnvironment,
        progress: Callable[[ServerProgress], None] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.environment = environment
        self._tell = progress
        self._patience = patience or Patience.on(environment.kind)
        self._servers = {spec.name: self._supervised(spec) for spec in specs}
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._bringing_up: dict[str, asyncio.Task[None]] = {}

    @property
    def experts(self) -> tuple[str, ...]:
        """Every expert some server of ours answers for."""
        return tuple(expert for server in self._servers.values() for expert in server.spec.experts)

    @property
    def specs(self) -> dict[str, ServerSpec]:
        """Every server by name, as its next run will be."""
        return {name: server.spec for name, server in self._servers.items()}

    @property
    def progress(self) -> tuple[ServerProgress, ...]:
        """Where each server is now."""
        return tuple(server.progress for server in self._servers.values())

    def server(self, expert: str) -> SupervisedServer:
        """Return the server that answers for an expert (KeyError: none of ours does)."""
        for server in self._servers.values():
            if expert in server.spec.experts:
                return server
        raise KeyError(expert)

    def base_url(self, expert: str) -> str:
        """Return the OpenAI base URL, /v1 included, that answers for an expert."""
        return self.server(expert).spec.base_url

    def state(self, expert: str) -> ServerState:
        """Return what the expert's server is doing."""
        return self.server(expert).state

    async def start(self) -> None:
        """Begin to start every server; returns at once."""
        for name in self._servers:
            self._begin(name)

    async def wait_ready(self, timeout_seconds: float | None = None) -> None:
        """Wait until every server answers; each has its own start timeout, and `timeout_seconds` is for all.

        Raises:
            LaunchError: some did not; all of their reasons, while the others keep running.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                if self._bringing_up:
                    await asyncio.wait(self._bringing_up.values())
                outcomes = await asyncio.gather(*(_failure(server) for server in self._servers.values()))
        except TimeoutError:
            late = ", ".join(p.server for p in self.progress if p.state is not ServerState.READY)
            raise LaunchError(late, f"not ready within {timeout_seconds:.0f} s: {late}") from None
        failures = [error for error in outcomes if error is not None]
        if failures:
            raise LaunchError(", ".join(e.server for e in failures), "; ".join(str(e) for e in failures))

    async def restart(self, expert: str) -> None:
        """Stop and start the expert's server, with a clean record; the way back from FAILED."""
        await self.server(expert).restart()

    async def add(self, spec: ServerSpec, *, start: bool = True) -> None:
        """Take one more server in and begin to start it; one that is not to start is stopped."""
        self._servers[spec.name] = self._supervised(spec)
        if start:
            self._begin(spec.name)
        else:
            await self._servers[spec.name].stop()

    def prepare(self, spec: ServerSpec) -> None:
        """Say what a server's next run is to be; the one that runs stays as it is (KeyError: there is none)."""
        self._servers[spec.name].prepare(spec, *command_line(spec, self.environment))

    async def remove(self, name: str, grace_seconds: float = GRACE_SECONDS) -> None:
        """Stop a server and forget it (KeyError: there is none of this name)."""
        server = self._servers.pop(name)
        await _cancelled(self._bringing_up.pop(name, None))
        await server.stop(grace_seconds)

    async def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Stop every server at once; returns when no process of theirs is left."""
        await asyncio.gather(*(_cancelled(task) for task in self._bringing_up.values()))
        await asyncio.gather(*(server.stop(grace_seconds) for server in self._servers.values()))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _supervised(self, spec: ServerSpec) -> SupervisedServer:
        argv, env = command_line(spec, self.environment)
        return SupervisedServer(spec, argv, env, log_path(spec.name), self._patience, self._tell)

    def _begin(self, name: str) -> None:
        task = asyncio.create_task(self._bring_up(self._servers[name]), name=f"bringing up {name}")
        self._bringing_up[name] = task

    async def _bring_up(self, server: SupervisedServer) -> None:
        """Start a server when it is its turn, which lasts until it answers or fails."""
        devices = (0,) if self.environment.kind == "cpu" else sorted(server.spec.hardware.gpus)
        async with AsyncExitStack() as turns:
            for device in devices:
                await turns.enter_async_context(self._turns[device])
            await server.start()
            await _failure(server)


async def _failure(server: SupervisedServer) -> LaunchError | None:
    """Wait for a server to answer; return why it does not."""
    try:
        await server.wait_ready(server.spec.start_timeout_seconds)
    except LaunchError as error:
        return error
    return None


async def _cancelled(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
