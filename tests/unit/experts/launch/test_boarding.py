"""Adapters of one server when several ask at once: whoever settles finds newcomers tried when it returns."""

from __future__ import annotations

import asyncio
from pathlib import Path

from experts.launch.boarding import Boarding
from experts.launch.vllm import Adapter
from experts.registry import Replica


class SlowServer:
    """A server that takes its time to load."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    async def models(self, expert: str, replica: Replica) -> dict[str, str]:
        return {"law": ""}

    async def load_adapter(self, expert: str, replica: Replica, name: str, folder: str) -> None:
        await asyncio.sleep(0.05)
        self.loaded.append(name)

    async def unload_adapter(self, expert: str, replica: Replica, name: str) -> None:
        self.loaded.remove(name)

    async def adapter_ids(self, expert: str, replica: Replica) -> set[int]:
        return set()

    async def drop_adapter(self, expert: str, replica: Replica, number: int) -> None:
        return None

    async def is_sleeping(self, expert: str, replica: Replica) -> bool:
        return False


async def test_whoever_settles_returns_when_newcomers_were_tried_whoever_else_tries_them() -> None:
    server = SlowServer()
    boarding = Boarding(("law", "law"), Replica("http://127.0.0.1:1"), server)
    tax, tort = Adapter("tax", "tax", Path("tax"), 8), Adapter("tort", "tort", Path("tort"), 8)
    boarding.wish([tax], 1)
    first = asyncio.create_task(boarding.settle())
    while not boarding.is_aboard("tax"):
        await asyncio.sleep(0)
    boarding.wish([tax, tort], 1)
    await boarding.settle()
    held = list(server.loaded)
    await first

    assert ["tort"] == held
