"""What does the outside world see? The web application, its wiring, and the command line."""

from gateway.app import create_app
from gateway.configuration import GatewayConfig, load_config
from gateway.settings import Settings

__all__ = ["GatewayConfig", "Settings", "create_app", "load_config"]
