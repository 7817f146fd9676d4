"""What `consilium doctor --config` shows: where every server would go, on this machine or on one that is thought up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.launch.gpus import visible_gpus
from experts.launch.needs import need_on_cpu, need_on_gpu
from experts.launch.plan import described_servers
from experts.launch.seating import devices_of, ram
from experts.placement import Device, place

_BOX = re.compile(r"(?P<count>\d+)x(?P<gib>\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Seated:
    """One server in the plan. Sizes in GiB; `weights_gib` is None for a model that only a hub knows.

    `each_gib` is taken on each of `devices` at least; what nobody else needs there becomes cache.
    """

    expert: str
    adapters: tuple[str, ...]
    weights_gib: float | None
    kv_gib: float
    devices: tuple[str, ...]
    each_gib: float


@dataclass(frozen=True, slots=True)
class Survey:
    """The whole plan: the servers, and what is left on each device, by its name."""

    servers: tuple[Seated, ...]
    left_gib: dict[str, float]


def survey(
    experts: Sequence[ExpertConfig],
    root: Path,
    devices: Sequence[Device] | None = None,
    max_resident: int | None = None,
) -> Survey:
    """Return where the servers of these experts go.

    Args:
        root: the folder that relative model and adapter folders count from.
        devices: what there is; None looks at this machine: its GPUs, or its RAM where there is none.
        max_resident: how many are awake at once at most; None: all.

    Raises:
        ConfigError: they do not fit, or the configuration is wrong; what and why.
    """
    found = devices_here() if devices is None else tuple(devices)
    servers = described_servers(experts, root)
    on_ram = all(device.name == "RAM" for device in found)
    needs = [
        need_on_cpu(each.spec, each.launch) if on_ram else need_on_gpu(each.spec, each.launch, each.context_window)
        for each in servers
    ]
    plan = place(needs, found, max_resident=max_resident)
    by_index = {device.index: device for device in found}
    rows = []
    for server, need in zip(servers, needs, strict=True):
        seat = plan.seats[need.server]
        chosen = [by_index[index] for index in seat.devices]
        riders = tuple(adapter.expert for adapter in server.spec.adapters)
        labels, each_gib = tuple(device.label for device in chosen), seat.fraction * chosen[0].total_gib
        rows.append(Seated(need.server, riders, need.weights_gib, need.kv_gib, labels, each_gib))
    return Survey(tuple(rows), {by_index[index].label: left for index, left in plan.left_gib.items()})


def devices_here() -> tuple[Device, ...]:
    """Return this machine's GPUs, or its RAM where there is none."""
    return devices_of(visible_gpus()) or (ram(),)


def thought_up(boxes: str) -> tuple[Device, ...]:
    """Return the devices that `2x24` or `1x80,2x24` describes: so many GPUs of so many GiB.

    Raises:
        ConfigError: it describes none.
    """
    parts = [_BOX.fullmatch(part.strip()) for part in boxes.split(",")]
    sizes = [float(part["gib"]) for part in parts if part for _ in range(int(part["count"]))]
    if not sizes or not all(parts) or min(sizes) <= 0:
        raise ConfigError(f"'{boxes}' describes no GPUs: write how many and how large, as in 2x24 or 1x80,2x24.")
    return tuple(Device(index, gib, gib) for index, gib in enumerate(sizes))
