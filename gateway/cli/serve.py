"""`consilium serve`: run the gateway until told to stop."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from experts.config import LimitsConfig
from gateway.admin_key import with_admin_key
from gateway.app import create_app
from gateway.cli.options import (
    ConfigOption,
    HostOption,
    LauncherOption,
    PortOption,
    RayAddressOption,
    configured,
    settings_with,
)
from gateway.cli.progress import FleetProgress
from gateway.cli.server import Server, listening_socket, run
from gateway.logs import configure
from gateway.settings import Settings


def serve(
    config: ConfigOption = None,
    host: HostOption = None,
    port: PortOption = None,
    launcher: LauncherOption = None,
    ray_address: RayAddressOption = None,
) -> None:
    """Run the gateway, and the servers of the experts it is to start."""
    settings = settings_with(config=config, host=host, port=port, launcher=launcher, ray_address=ray_address)
    settings, key_file = with_admin_key(settings)
    configure(settings.log_level, texts=settings.log_texts)
    read, root = configured(settings)
    console = Console(stderr=True)
    listener = listening_socket(settings.host, settings.port)
    typer.echo(greeting(settings, [expert.name for expert in read.experts], key_file), err=True)
    with FleetProgress(console) as progress:
        run(Server(settings, create_app(settings, read, root, progress=progress)).run_until_signal(listener))


def greeting(settings: Settings, experts: list[str], key_file: Path | None = None) -> str:
    """Return what is said at start: where it listens, who answers, and the limits that hold."""
    limits = LimitsConfig()
    set_or_none = "CONSILIUM_ADMIN_KEY" if settings.admin_key.get_secret_value() else "none, /admin is closed"
    return (
        f"consilium: http://{settings.host}:{settings.port}/v1 with {', '.join(experts)}\n"
        f"  keys: {'required' if settings.key_values() else 'none set; open on loopback until one is made'}; "
        f"admin key: {key_file or set_or_none}\n  "
        f"limits per expert unless set: {limits.max_in_flight} running, {limits.max_queue} waiting, "
        f"first token {limits.first_token_timeout_seconds:g} s, idle {limits.idle_timeout_seconds:g} s, "
        f"total {limits.timeout_seconds:g} s"
    )
