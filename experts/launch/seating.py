"""Which GPUs, or how many CPU threads, each server gets: its need estimated, then placed. Starts nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import psutil

from experts.config import LaunchConfig
from experts.launch.gpus import Gpu
from experts.launch.needs import need_on_cpu, need_on_gpu
from experts.launch.vllm import Hardware, ServerSpec
from experts.placement import USUAL_SHARE, Device, Need, Plan, Seat, grown, place


@dataclass(frozen=True, slots=True)
class Server:
    """A server to be seated: what it is, what the operator wrote, and the context its expert is to have."""

    spec: ServerSpec
    launch: LaunchConfig
    context_window: int | None = None


def seated(
    servers: Sequence[Server],
    devices: Sequence[Device],
    *,
    kept: Mapping[str, Hardware] | None = None,
    max_resident: int | None = None,
) -> dict[str, Hardware]:
    """Return each server's GPUs and its fraction of them; those in `kept` stay as they are.

    Servers share what is left of their GPUs for their caches, except where `launch.gpu_memory_gib` says how much. A
    machine that shows no GPUs to us (`devices` empty) leaves the choice to vLLM.

    Raises:
        ConfigError: they do not fit.
    """
    if not devices:
        return {server.spec.name: Hardware() for server in servers}
    kept = {name: hardware for name, hardware in (kept or {}).items() if hardware.gpus}
    seats = {name: Seat(hardware.gpus, hardware.gpu_memory_fraction or USUAL_SHARE) for name, hardware in kept.items()}
    plan = place(gpu_needs(servers), devices, max_resident=max_resident, kept=seats)
    growing = {each.spec.name for each in servers if each.launch.gpu_memory_gib is None} - kept.keys()
    plan = grown(plan, devices, frozenset(growing), max_resident)
    fresh = {name: _hardware(seat) for name, seat in plan.seats.items() if name not in kept}
    return {**kept, **fresh}


def gpu_needs(servers: Sequence[Server]) -> tuple[Need, ...]:
    """Return what each server needs on GPUs."""
    return tuple(need_on_gpu(each.spec, each.launch, each.context_window) for each in servers)


def on_cpu(servers: Sequence[Server], *, max_resident: int | None = None) -> dict[str, Hardware]:
    """Return each server's threads: the cores, of which the gateway keeps one, shared among those that are awake.

    Raises:
        ConfigError: this machine's RAM could not hold them.
    """
    cpu_plan(servers, ram(), max_resident)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    awake = min(len(servers), max_resident or len(servers))
    threads = max(1, (cores - 1) // max(awake, 1))
    return {each.spec.name: Hardware(threads=threads) for each in servers}


def cpu_plan(servers: Sequence[Server], memory: Device, max_resident: int | None = None) -> Plan:
    """Return the plan for servers that share this machine's RAM; see `place`."""
    return place([need_on_cpu(each.spec, each.launch) for each in servers], [memory], max_resident=max_resident)


def ram() -> Device:
    """Return this machine's RAM as a device, all of it: what else runs may make room."""
    total_gib = psutil.virtual_memory().total / 2**30
    return Device(0, total_gib, total_gib, "RAM")


def devices_of(gpus: Sequence[Gpu]) -> tuple[Device, ...]:
    """Return GPUs as devices."""
    return tuple(Device(gpu.index, gpu.total_gib, gpu.free_gib) for gpu in gpus)


def with_hardware(server: Server, hardware: Mapping[str, Hardware]) -> ServerSpec:
    """Return the server's spec with its share."""
    return replace(server.spec, hardware=hardware[server.spec.name])


def _hardware(seat: Seat) -> Hardware:
    return Hardware(gpus=seat.devices, gpu_memory_fraction=int(seat.fraction * 1000 + 1e-6) / 1000)
