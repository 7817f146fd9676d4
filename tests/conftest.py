"""What many tests share: a gateway over real sockets, with fake experts and a fake encoder behind it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import settings as hypothesis_settings

from gateway.app import create_app
from gateway.cli.server import Server, listening_socket, running
from gateway.configuration import GatewayConfig
from gateway.settings import Settings
from tests.fakes.encoder import FakeEncoder
from tests.fakes.expert import FakeExpert, serving

hypothesis_settings.register_profile("patient", deadline=None)  # a busy machine is no failure
hypothesis_settings.load_profile("patient")
os.environ.pop("CONSILIUM_REDIS_URL", None)
os.environ.setdefault("CONSILIUM_STORE", ":memory:")  # what tests teach is not for this machine's gateway


def expert_record(name: str, fake: FakeExpert, **more: Any) -> dict[str, Any]:
    """Return the YAML record of an expert that a fake serves under the expert's own name."""
    fake.models = (*fake.models, name)
    return {"name": name, "replicas": [{"base_url": fake.url}], **more}


@asynccontextmanager
async def gateway_over(
    experts: list[dict[str, Any]],
    *,
    settings: Settings | None = None,
    encoder: FakeEncoder | None = None,
    **sections: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    """Run a gateway for these expert records and yield a client of it; routing may take long: machines are busy."""
    routing = {"budget_ms": 10_000, **sections.pop("routing", {})}
    config = GatewayConfig.model_validate({"experts": experts, "routing": routing, **sections})
    used = settings or Settings(keep_alive_seconds=0.5)
    app = create_app(used, config, Path(), encoder=encoder or FakeEncoder())
    async with (
        running(Server(used, app), listening_socket("127.0.0.1", 0)) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        for _ in range(200):
            states = (await client.get("/health")).json()["experts"]
            if "ready" in states.values():
                break
        yield client


@pytest.fixture
def question() -> Callable[..., dict[str, Any]]:
    """Return a maker of chat bodies."""

    def body(text: str = "What is 2 + 2?", model: str = "auto", **more: Any) -> dict[str, Any]:
        return {"model": model, "messages": [{"role": "user", "content": text}], **more}

    return body


__all__ = ["FakeExpert", "expert_record", "gateway_over", "serving"]
