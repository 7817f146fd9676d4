"""What a Ray node starts in tests instead of vLLM: the fake expert as a process, which asks for its key.

Run by a node: python -m tests.fakes.ray_server HOST PORT MODEL...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvicorn
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from experts.launch.environment import VllmEnvironment
from experts.launch.ray_server import Command, Plan
from tests.fakes.expert import FakeExpert


def stand_in(plan: Plan) -> Command:
    """Return the command of a fake expert with the planned address, names and key."""
    spec = plan(VllmEnvironment(Path(sys.executable), "cpu", "0"))
    names = [spec.served_name, *(adapter.served_name for adapter in spec.adapters)]
    argv = [sys.executable, "-m", "tests.fakes.ray_server", spec.host, str(spec.port), *names]
    return spec, argv, {"VLLM_API_KEY": spec.api_key, "PYTHONPATH": os.getcwd(), **spec.env}


class KeyRequired:
    """Refuse what comes to /v1 without the key, as vLLM does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        sent = dict(scope.get("headers", [])).get(b"authorization", b"").decode()
        if scope["path"].startswith("/v1") and sent != f"Bearer {os.environ['VLLM_API_KEY']}":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
        else:
            await self.app(scope, receive, send)


if __name__ == "__main__":
    served = FakeExpert(models=tuple(sys.argv[3:])).app()
    served.user_middleware.append(Middleware(KeyRequired))
    uvicorn.run(served, host=sys.argv[1], port=int(sys.argv[2]), log_level="warning")
