"""The servers of experts that are ours to run, started when the gateway is and stopped with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from experts.backends import VllmBackend
from experts.launch import LocalRuntime, Runtime, ServerProgress
from experts.launch.ray import RayRuntime
from experts.residency import ALWAYS_RESIDENT, Residency
from experts.residency.bed import ServerBed, seats_of
from experts.residency.keeper import Keeper
from experts.residency.kept import KeptRuntime, bounds_of
from experts.residency.policy import ResidencyPolicy
from experts.types import ExpertName
from gateway.configuration import GatewayConfig
from gateway.settings import Settings

Progress = Callable[[ServerProgress], None]


async def open_runtime(
    settings: Settings,
    config: GatewayConfig,
    first: ExpertName,
    root: Path,
    backend: VllmBackend,
    stack: AsyncExitStack,
    progress: Progress | None,
    moved: Callable[[], None],
) -> tuple[Runtime, Residency]:
    """Return what runs the experts that are ours to run, and what a call waits for; both end with `stack`.

    Nothing runs before it is told to.

    Args:
        first: the expert that is awake from the start where not all can be.
        backend: how vLLM servers are asked to load and unload adapters; borrowed.
        moved: called when an expert of ours answers elsewhere than before.
    """
    if settings.launcher == "ray":
        told = progress or (lambda _: None)
        cluster = RayRuntime(root, settings.ray_address, backend, moved=moved, progress=told)
        return await stack.enter_async_context(cluster), ALWAYS_RESIDENT
    return await kept_runtime(config, first, root, backend, stack, progress)


async def kept_runtime(
    config: GatewayConfig,
    first: ExpertName,
    root: Path,
    backend: VllmBackend,
    stack: AsyncExitStack,
    progress: Progress | None,
) -> tuple[KeptRuntime, Keeper]:
    """Return what runs servers on this machine, and what puts them to sleep and has a call's adapter loaded."""
    bounds, launched = config.residency, [expert.launch for expert in config.experts if expert.launch]
    dozes = bounds.sleep_level > 0
    sleeps = dozes and (bounds.bounded or any(launch.sleep_after_seconds for launch in launched))
    most = bounds.max_resident or (1 if bounds.bounded else None)
    local = LocalRuntime(root, backend, progress=progress, starts=not bounds.bounded, sleeps=sleeps, max_resident=most)
    await stack.enter_async_context(local)
    bed = ServerBed(lambda: local.fleet, backend if dozes else None)
    policy = ResidencyPolicy((), bounds_of(bounds))
    keeper = Keeper(policy, bed, max_waiting=bounds.max_waiting, aboard=local.holding)
    await stack.enter_async_context(keeper)
    return KeptRuntime(local, keeper, bounds, first, lambda: seats_of(local.fleet)), keeper
