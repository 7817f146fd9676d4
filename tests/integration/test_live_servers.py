"""Experts whose servers the gateway runs come and go over the admin API. vLLM is a stand-in, all else is real."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.integration.test_live_experts import gateway
from tests.integration.test_residency_gateway import launched, stand_in_for_vllm, until

__all__ = ["stand_in_for_vllm"]  # a fixture


async def listening(url: str) -> bool:
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(f"{url}/models")).status_code == 200
        except httpx.TransportError:
            return False


def adapter(folder: Path, base: str, rank: int = 8) -> dict[str, Any]:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    return {"name": folder.name, "backend": "vllm", "adapter": {"base": base, "path": str(folder)}}


@pytest.mark.usefixtures("stand_in_for_vllm")
async def test_a_registered_server_comes_up_takes_an_adapter_and_is_gone_when_it_is_removed(tmp_path: Path) -> None:
    general = FakeExpert()
    async with serving(general), gateway([expert_record("general", general)]) as client:
        made = await client.post("/admin/experts", json=launched("own", args=["--max-model-len", "64"]))
        await until(client, "own", "ready")
        address = (await client.get("/admin/experts/own")).json()["health"][0]["base_url"]
        up = await listening(address)
        rider = await client.post("/admin/experts", json=adapter(tmp_path / "tax", "own"))
        await until(client, "tax", "ready")
        baseless = await client.post("/admin/experts", json=adapter(tmp_path / "sea", "nobody"))
        no_folder = {"name": "air", "backend": "vllm", "adapter": {"base": "own", "path": str(tmp_path / "air")}}
        missing = await client.post("/admin/experts", json=no_folder)
        needed = await client.delete("/admin/experts/own?drain_seconds=0")
        await client.delete("/admin/experts/tax?drain_seconds=0")
        await client.delete("/admin/experts/own?drain_seconds=0")
        async with asyncio.timeout(20):
            while await listening(address):
                await asyncio.sleep(0.05)
        listed = (await client.get("/admin/experts")).json()["data"]

    assert (201, True) == (made.status_code, up)
    assert (201, address) == (rider.status_code, rider.json()["health"][0]["base_url"])
    assert (400, "adapter.base") == (baseless.status_code, baseless.json()["error"]["param"])
    assert (400, "adapter") == (missing.status_code, missing.json()["error"]["param"])
    assert (409, "expert_in_use") == (needed.status_code, needed.json()["error"]["code"])
    assert ["general"] == [each["name"] for each in listed]
