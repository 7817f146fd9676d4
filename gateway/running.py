"""The servers of experts that are ours to run, started when the gateway is and stopped with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.launch import Fleet, ServerProgress, find_environment, plan_servers
from experts.launch.runtime import Runtime
from experts.registry import Replica, static_replicas

Progress = Callable[[ServerProgress], None]


def open_runtime(root: Path, stack: AsyncExitStack, progress: Progress | None) -> Runtime:
    """Return what runs the experts that are ours to run; it ends with `stack` and runs nothing before it is told to."""
    runtime = FleetRuntime(root, progress)
    stack.push_async_callback(runtime.aclose)
    return runtime


class FleetRuntime:
    """Starts what the first wish asks for. Later wishes may differ only in experts that it does not run."""

    def __init__(self, root: Path, progress: Progress | None) -> None:
        self._root, self._progress = root, progress
        self._fleet: Fleet | None = None
        self._ours: list[ExpertConfig] | None = None

    async def settle(self, experts: Sequence[ExpertConfig]) -> None:
        """Start the servers; see `Runtime.settle`."""
        launched = {expert.name for expert in experts if expert.launch}
        ours = [each for each in experts if each.launch or (each.adapter and each.adapter.base in launched)]
        if self._ours is None and ours:
            await self._start(experts, ours[0].name)
            self._ours = ours
        elif ours != (self._ours or []):
            raise ConfigError("What the gateway runs itself changes with the configuration file and a restart.")

    async def _start(self, experts: Sequence[ExpertConfig], first: str) -> None:
        environment = find_environment()
        if environment is None:
            raise ConfigError(
                f"Expert '{first}' is to be started by the gateway, and this machine has no vLLM environment: "
                "run `consilium doctor --fix`, or set CONSILIUM_VLLM_PYTHON to a Python that has vLLM."
            )
        self._fleet = Fleet(plan_servers(experts, self._root, environment), environment, self._progress)
        await self._fleet.start()

    def replicas(self, config: ExpertConfig) -> tuple[Replica, ...]:
        """Return where an expert answers; see `Runtime.replicas`."""
        if self._fleet is not None and config.name in self._fleet.experts:
            return (Replica(self._fleet.base_url(config.name)),)
        return static_replicas(config)

    def state(self, expert: str) -> str | None:
        """Return what its server does; see `Runtime.state`."""
        ours = self._fleet is not None and expert in self._fleet.experts
        return str(self._fleet.state(expert).value) if self._fleet is not None and ours else None

    def failure(self, expert: str) -> str:
        """Return nothing: the servers' logs say it."""
        return ""

    async def aclose(self) -> None:
        """Stop every server."""
        if self._fleet is not None:
            await self._fleet.stop()
