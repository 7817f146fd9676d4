"""`consilium serve`: run the gateway until told to stop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer
from rich.console import Console

from experts.config import MAX_ATTEMPTS, LimitsConfig
from gateway.admin_key import with_admin_key
from gateway.cli.listening import listening_socket
from gateway.cli.options import (
    ConfigOption,
    HostOption,
    LauncherOption,
    PortOption,
    PostOption,
    RayAddressOption,
    WorkersOption,
    configured,
    settings_with,
)
from gateway.cli.progress import FleetProgress
from gateway.cli.workers import Crew, Post
from gateway.configuration import GatewayConfig
from gateway.logs import configure
from gateway.settings import Settings


def serve(
    config: ConfigOption = None,
    host: HostOption = None,
    port: PortOption = None,
    workers: WorkersOption = None,
    launcher: LauncherOption = None,
    ray_address: RayAddressOption = None,
    post: PostOption = None,
) -> None:
    """Run the gateway, and the servers of the experts it is to start."""
    settings = settings_with(
        config=config, host=host, port=port, workers=workers, launcher=launcher, ray_address=ray_address
    )
    settings, key_file = with_admin_key(settings)
    configure(settings.log_level, texts=settings.log_texts)
    read, root = configured(settings)
    settings.check_workers(expert.name for expert in read.experts if expert.launch is not None)
    if post is not None:
        run_here(settings, read, root, Post.read(post))
        return
    typer.echo(greeting(settings, read, key_file), err=True)
    if settings.workers == 1:
        run_here(settings, read, root)
    else:
        raise typer.Exit(run_workers(settings))


def run_here(settings: Settings, read: GatewayConfig, root: Path, post: Post | None = None) -> None:
    """Run one gateway in this process, at its post where it is one of several."""
    from gateway.app import create_app  # seconds, which whoever only starts workers need not spend
    from gateway.cli.server import Server, run

    listeners = [listening_socket(settings.host, settings.port)] if post is None else post.sockets()
    with FleetProgress(Console(stderr=True)) as progress:
        server = Server(settings, create_app(settings, read, root, progress=progress))
        run(server.run_until_signal(*listeners, leader=None if post is None else post.leader))


def run_workers(settings: Settings) -> int:
    """Run several gateways on one socket, each on one of its own as well; returns the exit code."""
    listeners = [listening_socket(settings.host, settings.port + number) for number in range(settings.workers + 1)]
    options = {
        "config": settings.config,
        "host": settings.host,
        "port": str(settings.port),
        "workers": str(settings.workers),
        "launcher": settings.launcher,
        "ray-address": settings.ray_address,
    }
    command = ["serve", *(part for name, value in options.items() for part in (f"--{name}", value))]
    return asyncio.run(Crew(command, listeners).run())


def greeting(settings: Settings, read: GatewayConfig, key_file: Path | None = None) -> str:
    """Return what is said at start: where it listens, who answers, and the limits that hold."""
    limits, experts = LimitsConfig(), [expert.name for expert in read.experts]
    several = f"  workers: {several_workers(settings)}\n" if settings.workers > 1 else ""
    set_or_none = "CONSILIUM_ADMIN_KEY" if settings.admin_key.get_secret_value() else "none, /admin is closed"
    return (
        f"consilium: http://{settings.host}:{settings.port}/v1 with {', '.join(experts)}\n"
        f"{several}  keys: {'required' if settings.key_values() else 'none set; open on loopback until one is made'}; "
        f"admin key: {key_file or set_or_none}\n  "
        f"limits per expert unless set: {limits.max_in_flight} running, {limits.max_queue} waiting, "
        f"first token {limits.first_token_timeout_seconds:g} s, idle {limits.idle_timeout_seconds:g} s, "
        f"total {limits.timeout_seconds:g} s\n  "
        f"a request: {MAX_ATTEMPTS} attempts at most, classified within {read.routing.budget_ms:g} ms, "
        f"fused within {read.fusion.deadline_seconds:g} s, {settings.max_body_bytes / 2**20:g} MiB at most; "
        f"{settings.drain_seconds:g} s to finish at a stop"
    )


def several_workers(settings: Settings) -> str:
    """Return what is said of several workers: where each is reached alone, and what each counts for itself."""
    last = settings.port + settings.workers
    redis = bool(settings.redis_url.get_secret_value())
    counted = "an expert's limits hold" if redis else "an expert's limits, and those of keys (no Redis is set), hold"
    return (
        f"{settings.workers}, each alone on its port of {settings.port + 1}..{last} too; {counted} in each for itself"
    )
