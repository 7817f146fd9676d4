"""What does the outside world see? The web application, its wiring, and the command line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.app import create_app
    from gateway.configuration import GatewayConfig, load_config
    from gateway.settings import Settings

__all__ = ["GatewayConfig", "Settings", "create_app", "load_config"]
PLACES = {"create_app": "app", "GatewayConfig": "configuration", "load_config": "configuration", "Settings": "settings"}


def __getattr__(name: str) -> Any:
    """Return a name of the door; read only when asked for, since a command line would wait two seconds for it."""
    if name not in PLACES:
        raise AttributeError(f"module 'gateway' has no attribute '{name}'")
    return getattr(import_module(f"gateway.{PLACES[name]}"), name)
