"""Options that several commands share, and how they become settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from experts.errors import ConfigError
from gateway.settings import DEFAULT_PORT, Settings

if TYPE_CHECKING:
    from gateway.configuration import GatewayConfig

ConfigOption = Annotated[
    str | None, typer.Option("--config", "-c", help="The YAML file, or builtin:pocket.", envvar="CONSILIUM_CONFIG")
]
HostOption = Annotated[str | None, typer.Option(help="Address to listen on.", envvar="CONSILIUM_HOST")]
PortOption = Annotated[int | None, typer.Option(help="Port to listen on.", envvar="CONSILIUM_PORT")]
WorkersOption = Annotated[
    int | None, typer.Option(help="Processes that share the port.", envvar="CONSILIUM_WORKERS", min=1, max=64)
]
PostOption = Annotated[str | None, typer.Option(hidden=True, help="Given to a worker by who starts it.")]
LauncherOption = Annotated[
    str | None, typer.Option(help="Where servers of ours run: local or ray.", envvar="CONSILIUM_LAUNCHER")
]
RayAddressOption = Annotated[
    str | None, typer.Option(help="The Ray cluster: auto, host:port or ray://...", envvar="CONSILIUM_RAY_ADDRESS")
]
UrlOption = Annotated[str, typer.Option(help="The running gateway.", envvar="CONSILIUM_URL")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"


def settings_with(**given: Any) -> Settings:
    """Return the settings of the environment, overridden by what the command line gave.

    Raises:
        ConfigError: a variable has a value that cannot be used.
    """
    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(f"CONSILIUM_{name}: {first['msg']}.") from error


def configured(settings: Settings) -> tuple[GatewayConfig, Path]:
    """Return the checked configuration and the folder its relative paths count from."""
    from gateway.configuration import (
        config_path,
        load_config,
    )  # reads the whole router: two seconds that many commands spare

    path = config_path(settings.config)
    return load_config(path), path.resolve().parent
