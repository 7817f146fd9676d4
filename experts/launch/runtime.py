"""What makes experts run: told which ones there should be, it starts, stops, loads and unloads until they are.

Whoever keeps the list of experts holds a `Runtime` and never asks where servers come from.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from experts.config import ExpertConfig
from experts.errors import ConfigError, ExpertError
from experts.launch.boarding import AdapterServer, Boarding
from experts.launch.environment import VllmEnvironment, find_environment
from experts.launch.fleet import Fleet
from experts.launch.gpus import Gpu, visible_gpus
from experts.launch.plan import plan_servers
from experts.launch.process import ServerProgress, ServerState
from experts.launch.remote_adapters import RemoteAdapters, riders_among
from experts.launch.vllm import ServerSpec
from experts.registry import Replica, static_replicas

log = logging.getLogger(__name__)
ATTEMPTS_TO_BOARD = 3
BETWEEN_ATTEMPTS_SECONDS = 2.0


class Runtime(Protocol):
    """Where experts that are ours to run are run."""

    async def settle(self, experts: Sequence[ExpertConfig]) -> None:
        """Make these experts, all of them, the ones that run. Asked twice, the second time changes nothing.

        Servers are begun and come up meanwhile; adapters of a server that is up are loaded on return. Calls may
        overlap: each returns when its wish, or a newer one, is carried out. What a server refuses later is not
        raised here: `state` says failed.

        Raises:
            ConfigError: they cannot run here; nothing was changed.
        """
        ...

    def replicas(self, config: ExpertConfig) -> tuple[Replica, ...]:
        """Return where an expert answers: its own replicas, or our server's address once it is settled."""
        ...

    def state(self, expert: str) -> str | None:
        """Return starting, ready, restarting, failed or asleep; None when the expert is not ours to run."""
        ...

    def failure(self, expert: str) -> str:
        """Return why an expert is failed or restarting, in a sentence; empty while all is well."""
        ...


class LocalRuntime:
    """Run experts on this machine: a vLLM server for each `launch:`, adapters on their base's server.

    `async with` stops every server at the end. What it is given is borrowed.

    Args:
        root: the folder that relative model and adapter folders count from.
        backend: how a vLLM server is asked to load and unload adapters.
        find: finds the Python that runs vLLM; asked when the first server is wished.
        progress: told of every change of every server, on the event loop; must return at once.
        gpus: what may be used; None asks this machine.
        starts: whether servers are begun as they are wished; else they are asleep until somebody starts them.
        sleeps: whether servers on GPUs are started so that they can be put into vLLM's sleep mode.
        max_resident: how many servers are awake at once at most; None: all.
    """

    def __init__(
        self,
        root: Path,
        backend: AdapterServer,
        *,
        find: Callable[[], VllmEnvironment | None] = find_environment,
        progress: Callable[[ServerProgress], None] | None = None,
        gpus: Sequence[Gpu] | None = None,
        starts: bool = True,
        sleeps: bool = False,
        max_resident: int | None = None,
    ) -> None:
        self.fleet: Fleet | None = None
        self._root, self._backend, self._find, self._tell = root, backend, find, progress
        self._gpus = gpus
        self._starts, self._sleeps, self._max_resident = starts, sleeps, max_resident
        self._wish: tuple[ExpertConfig, ...] = ()
        self._asked = self._done = 0
        self._turn = asyncio.Lock()
        self._launched: dict[str, ExpertConfig] = {}
        self._boardings: dict[str, Boarding] = {}
        self._bases: dict[str, str] = {}
        self._remote = RemoteAdapters(root, backend)
        self._refreshing: set[asyncio.Task[None]] = set()

    async def settle(self, experts: Sequence[ExpertConfig]) -> None:
        """Make these experts the ones that run; see `Runtime.settle`."""
        wish = tuple(experts)
        self._plan(wish)
        self._wish = wish
        self._asked += 1
        mine = self._asked
        async with self._turn:
            if self._done < mine:
                newest = self._asked
                await self._make_so(self._wish)
                self._done = newest

    def replicas(self, config: ExpertConfig) -> tuple[Replica, ...]:
        """Return where an expert answers; see `Runtime.replicas`."""
        base = self._bases.get(config.name)
        if base is not None and self.fleet is not None:
            return (Replica(self.fleet.base_url(base)),)
        return self._remote.replicas(config.name) or static_replicas(config)

    def state(self, expert: str) -> str | None:
        """Return what an expert of ours is doing; see `Runtime.state`."""
        base = self._bases.get(expert)
        if base is None or self.fleet is None:
            return self._remote.state(expert)
        state = self.fleet.state(base)
        if state is ServerState.STOPPED:
            return "asleep"
        if state is not ServerState.READY or expert == base:
            return str(state.value)
        return self._boardings[base].state(expert)

    def failure(self, expert: str) -> str:
        """Return what is wrong with an expert of ours; see `Runtime.failure`."""
        base = self._bases.get(expert)
        if base is None or self.fleet is None:
            return self._remote.failure(expert)
        return self._boardings[base].refused.get(expert) or self.fleet.server(base).failure

    def holding(self, expert: str, deadline: float) -> AbstractAsyncContextManager[None]:
        """Keep an expert's adapter loaded while inside, loading it first when it had made way; see `Boarding`.

        Nothing is waited for where there is no adapter of ours to load.
        """
        base = self._bases.get(expert)
        if base is None or base == expert:
            return nullcontext()
        return self._boardings[base].holding(expert, deadline)

    def _plan(self, configs: Sequence[ExpertConfig]) -> tuple[ServerSpec, ...]:
        """Return the servers there should be; those that need no change stay where they are."""
        riders_among(configs)
        needed = [config for config in configs if config.launch is not None]
        if not needed:
            return ()
        kept = {config.name: self._specs[config.name] for config in needed if self._is_running_as(config)}
        environment = self._environment(needed[0].name)
        if self._gpus is None and environment.kind == "gpu":
            self._gpus = visible_gpus()  # once: what is free counts before any server of ours is there
        return plan_servers(
            configs,
            self._root,
            environment,
            gpus=self._gpus,
            kept=kept,
            sleeps=self._sleeps,
            max_resident=self._most_on_one(),
        )

    def _most_on_one(self) -> int | None:
        """Return how many servers are awake on one GPU at once at most; residency wakes no more than fit there."""
        most, gpus = self._max_resident, len(self._gpus or ())
        return most if most is None or gpus < 2 else -(-most // gpus)

    @property
    def _specs(self) -> Mapping[str, ServerSpec]:
        return {} if self.fleet is None else self.fleet.specs

    def _is_running_as(self, config: ExpertConfig) -> bool:
        was = self._launched.get(config.name)
        return was is not None and (was.launch, was.served_model) == (config.launch, config.served_model)

    def _environment(self, expert: str) -> VllmEnvironment:
        environment = self._find() if self.fleet is None else self.fleet.environment
        if environment is None:
            raise ConfigError(
                f"Expert '{expert}' is to be started by the gateway, and this machine has no vLLM environment: "
                "run `consilium doctor --fix`, or set CONSILIUM_VLLM_PYTHON to a Python that has vLLM."
            )
        return environment

    async def _make_so(self, configs: Sequence[ExpertConfig]) -> None:
        specs = {spec.name: spec for spec in self._plan(configs)}
        if specs and self.fleet is None:
            self.fleet = Fleet((), self._environment(next(iter(specs))), self._heard)
        if self.fleet is not None:
            await self._change_servers(self.fleet, specs, {config.name: config for config in configs})
        self._launched = {config.name: config for config in configs if config.name in specs}
        self._bases = {expert: spec.name for spec in specs.values() for expert in spec.experts}
        await asyncio.gather(*(self._board(name) for name in specs), self._remote.settle(configs))

    async def _change_servers(
        self, fleet: Fleet, specs: Mapping[str, ServerSpec], configs: Mapping[str, ExpertConfig]
    ) -> None:
        """Stop servers that are gone or have to be another, then begin those that are not there."""
        running = fleet.specs
        same = {name for name in running if name in specs and self._needs_no_start(running[name], specs[name], configs)}
        asleep = {name for name in running if fleet.state(name) is ServerState.STOPPED}
        await asyncio.gather(*(fleet.remove(name) for name in running if name not in same))
        for name in set(running) - same:
            del self._boardings[name]
        for name, spec in specs.items():
            if name not in same:
                self._boardings[name] = self._boarding(fleet, spec)
            self._boardings[name].wish(spec.adapters, spec.adapter_places)
            if name not in same:
                # Without --lora-modules: an adapter that vLLM refuses must not keep its base from starting.
                await fleet.add(replace(spec, adapters=()), start=self._starts and name not in asleep)

    def _needs_no_start(self, running: ServerSpec, wished: ServerSpec, configs: Mapping[str, ExpertConfig]) -> bool:
        takes_adapters = running.adapter_places > 0 or wished.adapter_places == 0
        return takes_adapters and self._is_running_as(configs[running.name])

    def _boarding(self, fleet: Fleet, spec: ServerSpec) -> Boarding:
        on_cpu = fleet.environment.kind == "cpu"
        names, replica = (spec.name, spec.served_name), Replica(spec.base_url)
        return Boarding(names, replica, self._backend, frees_slots=on_cpu, dozes=spec.sleeps and not on_cpu)

    def _heard(self, progress: ServerProgress) -> None:
        """Pass a server's news on; one that became ready is given its adapters."""
        if self._tell is not None:
            self._tell(progress)
        boarding = self._boardings.get(progress.server)
        if boarding is not None and progress.state is not ServerState.READY:
            boarding.forget()
        elif boarding is not None:
            task = asyncio.create_task(self._board(progress.server), name=f"adapters of {progress.server}")
            self._refreshing.add(task)
            task.add_done_callback(self._refreshing.discard)

    async def _board(self, server: str) -> None:
        """Load a ready server's adapters; one that cannot be asked is given a few seconds."""
        for attempt in range(1, ATTEMPTS_TO_BOARD + 1):
            boarding = self._boardings.get(server)
            if boarding is None or self.fleet is None or self.fleet.state(server) is not ServerState.READY:
                return
            try:
                await boarding.settle()
            except ExpertError as error:
                log.warning("adapters of '%s' could not be changed (attempt %d): %s", server, attempt, error)
                await asyncio.sleep(BETWEEN_ATTEMPTS_SECONDS)
            else:
                return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._remote.aclose()
        for task in (*self._refreshing,):
            task.cancel()
        if self.fleet is not None:
            await self.fleet.stop()
