"""A gateway with a fake encoder as a process of its own, so that a test can kill it.

python -m tests.integration.one_gateway CONFIG.json PORT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gateway.app import create_app
from gateway.cli.server import Server, listening_socket, run
from gateway.configuration import GatewayConfig
from gateway.settings import Settings
from tests.fakes.encoder import FakeEncoder


def main(config: Path, port: int) -> None:
    """Serve until killed; settings come from the environment."""
    settings = Settings(port=port)
    read = GatewayConfig.model_validate(json.loads(config.read_text()))
    app = create_app(settings, read, config.parent, encoder=FakeEncoder())
    run(Server(settings, app).run_until_signal(listening_socket("127.0.0.1", port)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
