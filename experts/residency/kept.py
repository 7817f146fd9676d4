"""A runtime whose servers sleep and wake: it tells the keeper which servers there are, and who lives where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.launch.runtime import Runtime
from experts.registry import Replica
from experts.residency.config import ResidencyConfig
from experts.residency.keeper import Keeper
from experts.residency.policy import Bounds, ResidencyPolicy
from experts.residency.standing import Server
from experts.types import ExpertName


class KeptRuntime:
    """Hand on to a runtime, and keep the keeper's list of servers true. What it is given is borrowed.

    Args:
        runtime: begins no server by itself where the configuration has bounds.
        first: the expert to be awake from the start, where there is room for one only.
        seats: says, once servers have settled, which GPUs each sits on and the share of each that it takes.
    """

    def __init__(
        self,
        runtime: Runtime,
        keeper: Keeper,
        config: ResidencyConfig,
        first: ExpertName,
        seats: Callable[[], Mapping[str, Mapping[int, float]]] = dict,
    ) -> None:
        self._runtime, self.keeper, self._config, self._first = runtime, keeper, config, first
        self._seats = seats
        self._asked = self._done = 0
        self._known: frozenset[str] = frozenset()

    async def settle(self, experts: Sequence[ExpertConfig]) -> None:
        """Make these experts the ones that run, those asleep included; see `Runtime.settle`."""
        servers, lives = kept_servers(experts, self._config), homes(experts)
        check_fit(servers, self._config)
        self._asked += 1
        mine = self._asked
        await self._runtime.settle(experts)
        if mine < self._done:
            return  # a newer wish has been carried out
        self._done, seats = mine, self._seats()
        servers = tuple(replace(server, seats=seats.get(server.name, {})) for server in servers)
        names = {server.name for server in servers}
        self.keeper.settle(servers, {expert: home for expert, home in lives.items() if home in names})
        for server in servers:
            if server.name not in self._known and self._wakes_first(server, lives):
                await self.keeper.wake(server.name)
        self._known = frozenset(names)

    def replicas(self, config: ExpertConfig) -> tuple[Replica, ...]:
        """Return where an expert answers, awake or not; see `Runtime.replicas`."""
        return self._runtime.replicas(config)

    def state(self, expert: str) -> str | None:
        """Return what an expert of ours is doing, "waking" among it; see `Runtime.state`."""
        return self.keeper.state(expert) or self._runtime.state(expert)

    def failure(self, expert: str) -> str:
        """Return why an expert is failed or restarting; see `Runtime.failure`."""
        return self._runtime.failure(expert)

    def _wakes_first(self, server: Server, lives: dict[ExpertName, str]) -> bool:
        return not self._config.bounded or server.pinned or server.name == lives.get(self._first)


def bounds_of(config: ResidencyConfig) -> Bounds:
    """Return the configured bounds as the policy takes them."""
    return Bounds(
        max_resident=config.max_resident,
        memory_gib=config.memory_gib,
        max_wait_seconds=config.max_wait_seconds,
        min_dwell_seconds=config.min_dwell_seconds,
        prefetch=config.prefetch,
    )


def homes(experts: Sequence[ExpertConfig]) -> dict[ExpertName, str]:
    """Return for each expert the server of ours it lives on: its own, or the one its adapter rides on."""
    launched = {expert.name for expert in experts if expert.launch is not None}
    found = {name: name for name in launched}
    for expert in experts:
        if expert.adapter is not None and expert.adapter.base in launched:
            found[expert.name] = expert.adapter.base
    return found


def kept_servers(experts: Sequence[ExpertConfig], config: ResidencyConfig) -> tuple[Server, ...]:
    """Return the servers that sleep and wake: all where there are bounds, else those that sleep after a while.

    Raises:
        ConfigError: memory is bounded, and a server does not say how much it needs.
    """
    lives = homes(experts)
    pinned = {lives.get(name, name) for name in config.pinned}
    servers = []
    for expert in experts:
        launch = expert.launch
        if launch is None or not (config.bounded or launch.sleep_after_seconds is not None):
            continue
        if config.memory_gib is not None and launch.gpu_memory_gib is None:
            raise ConfigError(f"residency.memory_gib is set, so '{expert.name}' has to say launch.gpu_memory_gib.")
        need_gib = (launch.gpu_memory_gib or 0.0) * max(launch.gpus, 1)
        name, after = expert.name, launch.sleep_after_seconds
        servers.append(Server(name, need_gib, sleep_after_seconds=after, pinned=name in pinned))
    return tuple(servers)


def check_fit(servers: Sequence[Server], config: ResidencyConfig) -> None:
    """Refuse servers that could never be awake.

    Raises:
        ConfigError: one does not fit, alone or beside the pinned ones.
    """
    impossible = ResidencyPolicy(servers, bounds_of(config)).impossible
    for server in servers:
        if server.name in impossible:
            room = [f"{config.max_resident} servers"] if config.max_resident is not None else []
            room += [f"{config.memory_gib:g} GiB"] if config.memory_gib is not None else []
            raise ConfigError(
                f"'{server.name}' ({server.need_gib:g} GiB) can never be awake: residency has room for "
                f"{' and '.join(room)}, pinned ones included."
            )
