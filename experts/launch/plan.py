"""Which servers the configured experts need: one per `launch:`, with its LoRA experts riding along.

Reads folders (are they there, what rank do they have) and tries ports; starts nothing. Everything wrong with
the configuration is found here, before the first server starts.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from experts.config import AdapterConfig, ExpertConfig, LaunchConfig, resolve_folder
from experts.errors import ConfigError
from experts.launch.adapter_files import check_base, read_adapter
from experts.launch.environment import VllmEnvironment
from experts.launch.gpus import Gpu, visible_gpus
from experts.launch.seating import Server, devices_of, on_cpu, seated, with_hardware
from experts.launch.vllm import HOST, Adapter, ServerSpec, lora_rank
from experts.pocket import weights_folder

FIRST_PORT = 8501
POCKET = "builtin:pocket/"
SPARE_PLACES = 2
"""Adapters a server with adapters can take at run time, beyond those it knows at its start."""
USUAL_RANK = 16
OUR_FLAGS = ("--host", "--port", "--model", "--served-model-name", "--lora-modules")


def plan_servers(
    experts: Sequence[ExpertConfig],
    root: Path,
    environment: VllmEnvironment,
    first_port: int = FIRST_PORT,
    *,
    gpus: Sequence[Gpu] | None = None,
    kept: Mapping[str, ServerSpec] | None = None,
    sleeps: bool = False,
    max_resident: int | None = None,
) -> tuple[ServerSpec, ...]:
    """Return the servers to start, in the configuration's order; experts with replicas need none.

    Args:
        experts: the whole `experts:` section, since adapters name their base in it.
        root: the folder that relative model and adapter folders count from.
        first_port: servers listen on loopback from here up; ports in use are skipped.
        gpus: what may be used; None asks this machine (on a CPU environment: nothing).
        kept: servers that exist already and whose `launch:` is unchanged, by name: they stay where they are.
        sleeps: whether servers are to be put to sleep at times.
        max_resident: how many of them are awake at once at most; None: all.

    Raises:
        ConfigError: a folder is missing, an adapter has no base or is not for it, `args` sets what is ours, or memory
            does not suffice.
    """
    kept = kept or {}
    taken = {spec.port for spec in kept.values()}
    ports = (port for port in free_ports(first_port) if port not in taken)
    servers = []
    for server in described_servers(experts, root, kept):
        port = kept[server.spec.name].port if server.spec.name in kept else next(ports)
        servers.append(replace(server, spec=replace(server.spec, port=port, sleeps=sleeps)))
    if environment.kind == "cpu":
        hardware = on_cpu(servers, max_resident=max_resident)
        hardware |= {name: spec.hardware for name, spec in kept.items()}
    else:
        devices = devices_of(visible_gpus() if gpus is None else gpus)
        stays = {name: spec.hardware for name, spec in kept.items()}
        hardware = seated(servers, devices, kept=stays, max_resident=max_resident)
    return tuple(with_hardware(server, hardware) for server in servers)


def described_servers(
    experts: Sequence[ExpertConfig], root: Path, kept: Mapping[str, ServerSpec] | None = None
) -> tuple[Server, ...]:
    """Return each server that is ours, without a port and hardware yet, with its adapters; see `plan_servers`."""
    riders = _riders_by_base(experts, root)
    found = []
    for expert in experts:
        if (launch := expert.launch) is None:
            continue
        _check_alone(expert.name, launch)
        spec = ServerSpec(
            name=expert.name,
            model=resolve_model(launch.model, root, expert.name),
            served_name=expert.served_model,
            port=0,
            args=_checked_args(expert.name, launch),
            env=dict(launch.env),
            start_timeout_seconds=launch.start_timeout_seconds,
        )
        spec = _with_riders(spec, riders.get(expert.name, ()), launch, (kept or {}).get(expert.name))
        found.append(Server(spec, launch, expert.context_window))
    return tuple(found)


def _check_alone(expert: str, launch: LaunchConfig) -> None:
    if launch.replicas > 1:
        raise ConfigError(
            f"'{expert}' asks for {launch.replicas} replicas, and one machine runs one: start with --launcher ray, "
            "or take launch.replicas out"
        )


def resolve_model(reference: str, root: Path, expert: str) -> str:
    """Return the absolute folder of a model, or the reference itself when it is a hub name.

    `builtin:pocket/NAME` is a model that ships with us. Anything that can only be a folder (it starts with
    `.`, `/` or `~`) has to exist.
    """
    folder = _folder(reference, root)
    if folder is None:
        return reference
    if not (folder / "config.json").is_file():
        missing = "has no config.json" if folder.is_dir() else "does not exist"
        raise ConfigError(f"the model of '{expert}' is {folder}, which {missing}: correct launch.model")
    return str(folder)


def free_ports(first: int) -> Iterator[int]:
    """Yield ports from `first` up on which nobody listens on loopback."""
    for port in range(first, 65536):
        if port_is_free(port):
            yield port
    raise ConfigError(f"no free port from {first} up")


def port_is_free(port: int, host: str = HOST) -> bool:
    """Tell whether we could listen there now, by trying to."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError:
            return False
    return True


def _folder(reference: str, root: Path) -> Path | None:
    if reference.startswith(POCKET):
        return weights_folder() / reference.removeprefix(POCKET)
    resolved = Path(resolve_folder(reference, root)).expanduser()
    if resolved.is_absolute():
        return resolved
    return (root / resolved).resolve() if reference.startswith(".") else None


def _riders_by_base(experts: Sequence[ExpertConfig], root: Path) -> dict[str, tuple[Adapter, ...]]:
    by_name = {expert.name: expert for expert in experts}
    riders: dict[str, tuple[Adapter, ...]] = {}
    for expert in experts:
        if expert.adapter is not None and base_of(expert, expert.adapter, by_name).launch is not None:
            adapter = _adapter(expert, expert.adapter, root)
            riders[expert.adapter.base] = (*riders.get(expert.adapter.base, ()), adapter)
    return riders


def base_of(expert: ExpertConfig, adapter: AdapterConfig, by_name: Mapping[str, ExpertConfig]) -> ExpertConfig:
    """Return the expert an adapter rides on; one with replicas is fine, its server is just not ours.

    Raises:
        ConfigError: there is none of that name, or it is an adapter itself.
    """
    base = by_name.get(adapter.base)
    if base is None:
        raise ConfigError(f"'{expert.name}' is an adapter on '{adapter.base}', which is not an expert here")
    if base.adapter is not None:
        raise ConfigError(
            f"'{expert.name}' is an adapter on '{base.name}', which is an adapter itself: "
            f"set adapter.base to '{base.adapter.base}'"
        )
    return base


def _adapter(expert: ExpertConfig, adapter: AdapterConfig, root: Path) -> Adapter:
    folder = _folder(adapter.path, root) or (root / adapter.path).resolve()
    return read_adapter(expert.name, expert.served_model, folder)


def _with_riders(
    spec: ServerSpec, riders: tuple[Adapter, ...], launch: LaunchConfig, kept: ServerSpec | None
) -> ServerSpec:
    """Return the server with its adapters and room for them; a running one that takes adapters keeps its room."""
    places, rank = launch.max_adapters, launch.max_adapter_rank
    if places is None:
        places = len(riders) + SPARE_PLACES if riders else 0
    if rank is None:
        rank = max((USUAL_RANK, *(rider.rank for rider in riders))) if places else 0
    if kept is not None and kept.adapter_places:
        places, rank = kept.adapter_places, kept.adapter_rank
    for rider in riders:
        check_base(rider, spec.model)
        _check_room(rider, spec.name, places, lora_rank(rank))
    return replace(spec, adapters=riders, places=places, adapter_rank=rank)


def _check_room(rider: Adapter, base: str, places: int, rank: int) -> None:
    if places == 0:
        raise ConfigError(f"'{rider.expert}' is an adapter on '{base}', whose launch.max_adapters is 0: raise it")
    if rider.rank > rank:
        raise ConfigError(
            f"the adapter of '{rider.expert}' has rank {rider.rank}, and the server of '{base}' takes up to {rank}: "
            f"set launch.max_adapter_rank of '{base}' to {lora_rank(rider.rank)}, which starts it anew"
        )


def _checked_args(expert: str, launch: LaunchConfig) -> tuple[str, ...]:
    for written in launch.args:
        flag = written.partition("=")[0]
        if flag in OUR_FLAGS:
            raise ConfigError(f"launch.args of '{expert}' sets {flag}, which the gateway chooses: remove it")
    return tuple(launch.args)
