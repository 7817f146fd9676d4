"""The process: where it listens, which file it reads, its secrets. From the environment, prefix CONSILIUM_."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from experts.errors import ConfigError

DEFAULT_PORT = 8400


class Settings(BaseSettings):
    """What differs between machines. What differs between teams is in the YAML file."""

    model_config = SettingsConfigDict(env_prefix="CONSILIUM_", extra="ignore", frozen=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=DEFAULT_PORT, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(default=1, ge=1, le=64, description="Processes that share the port.")
    config: str = Field(default="consilium.yaml", description="The YAML file, or builtin:pocket.")
    api_keys: SecretStr = Field(
        default=SecretStr(""), description="Comma-separated keys clients may use; empty means open, on loopback only."
    )
    admin_key: SecretStr = Field(
        default=SecretStr(""), description="The administrator's key; empty: `consilium serve` makes one, once."
    )
    store: str = Field(
        default="",
        description="File of what is remembered; empty: consilium.db in the state folder; :memory: for none.",
    )
    redis_url: SecretStr = Field(
        default=SecretStr(""), description="A Redis that several gateways share what is remembered in, not the file."
    )
    launcher: Literal["local", "ray"] = Field(
        default="local", description="Where servers of experts with launch: run: this machine, or a Ray cluster."
    )
    ray_address: str = Field(default="auto", description="The Ray cluster: auto, host:port, or ray://host:port.")
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=1024, description="Largest request body read.")
    max_file_bytes: int = Field(default=512 * 1024 * 1024, ge=1024, description="Largest file that can be uploaded.")
    slow_client_seconds: float = Field(
        default=20,
        gt=0,
        description="Time a client gets to send its headers, its body, or to take an answer; "
        "every 1,000 bytes that move earn a second more.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_texts: bool = Field(default=False, description="Log what exceptions say, which may repeat what was asked.")
    otlp_endpoint: str = Field(
        default="", description="The OpenTelemetry collector that traces go to (OTLP over HTTP); empty: none."
    )
    trace_prompts: bool = Field(default=False, description="Put conversations and answers into the spans of traces.")
    drain_seconds: float = Field(default=30, ge=0, description="Time running requests get at shutdown.")
    keep_alive_seconds: float = Field(default=10, gt=0, description="Pause between keep-alive comments in a stream.")

    def key_values(self) -> tuple[str, ...]:
        """Return the client keys in the clear."""
        listed = self.api_keys.get_secret_value().split(",")
        return tuple(key.strip() for key in listed if key.strip())

    def check_exposure(self, *, given_out: int = 0) -> None:
        """Refuse to listen beyond this machine without keys; `given_out` is how many the store has.

        Raises:
            ConfigError: there is no key and the address is not loopback.
        """
        if not self.key_values() and not given_out and not is_loopback(self.host):
            raise ConfigError(
                f"Listening on {self.host} without keys would open the gateway to everyone: "
                "set CONSILIUM_API_KEYS, listen on 127.0.0.1, or make a key there first (consilium keys create)."
            )

    def check_workers(self, launched: Iterable[str]) -> None:
        """Refuse what several workers would each do for themselves, and must not; `launched` are experts with `launch`.

        Raises:
            ConfigError: a server is to be started on this machine, or nothing is kept that workers could share.
        """
        if self.workers == 1:
            return
        if (names := ", ".join(launched)) and self.launcher == "local":
            raise ConfigError(
                f"{self.workers} workers would each start the servers of {names}: leave out --workers, "
                "or run these servers beside the gateway and name them under `replicas`."
            )
        if self.store == ":memory:" and not self.redis_url.get_secret_value():
            raise ConfigError("Workers share what is kept: give CONSILIUM_STORE a file, or set CONSILIUM_REDIS_URL.")


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def config_folder(path: Path) -> Path:
    """Return the folder that relative paths inside a configuration file count from."""
    return path.resolve().parent
