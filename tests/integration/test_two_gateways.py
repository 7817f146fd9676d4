"""Two gateways on one store: what one is told the other knows within a second; nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from experts.store import SqliteStore
from gateway.catalogue.records import stored_entry
from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.integration.one_writer import GONE, NAMES
from tests.processes import ROOT, free_port, started, wait_for

ADMIN = {"authorization": "Bearer boss"}
CHESS = {"examples": ["Which opening begins with the queen's gambit?", "How does the knight move in chess?"]}
VISIBLE_SECONDS = 1.0
BUSY_MACHINE_SECONDS = 4.0
KILLS = 50


def ask(text: str, model: str = "auto") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


@asynccontextmanager
async def gateways(count: int, folder: Path, records: list[dict[str, Any]]) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Run gateway processes on one SQLite file and yield a client of each."""
    config = folder / "config.json"
    config.write_text(json.dumps({"experts": records}))
    environment = {"CONSILIUM_STORE": str(folder / "kept.db"), "CONSILIUM_ADMIN_KEY": "boss"}
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(count):
            port, log = free_port(), folder / f"log.{number}"
            url = f"http://127.0.0.1:{port}"
            command = ("tests.integration.one_gateway", str(config), str(port))
            process = stack.enter_context(started(*command, log=log, **environment))
            await asyncio.to_thread(wait_for, f"{url}/health", process, log)
            clients.append(await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30, headers=ADMIN)))
        yield clients


async def seconds_until(true: Callable[[], Awaitable[bool]]) -> float:
    """Return how long it took until something held."""
    begun = time.monotonic()
    while not await true():
        assert time.monotonic() - begun < BUSY_MACHINE_SECONDS, "not seen in time"
        await asyncio.sleep(0.02)
    return time.monotonic() - begun


async def test_what_one_process_is_told_the_other_does_within_a_second(tmp_path: Path) -> None:
    general, chess = FakeExpert(), FakeExpert()
    async with serving(general, chess), gateways(2, tmp_path, [expert_record("general", general)]) as (one, two):

        async def chosen(name: str) -> bool:
            routed = await two.post("/v1/route", json=ask("How does the bishop move in chess?"))
            return bool(routed.json()["experts"][0]["expert"] == name)

        async def listed(name: str) -> bool:
            shown = (await two.get("/admin/experts")).json()["data"]
            return name in [each["name"] for each in shown]

        async def gone() -> bool:
            return not await listed("chess")

        waits = []
        for _ in range(3):
            await one.post("/admin/experts", json=expert_record("chess", chess, **CHESS))
            waits.append(await seconds_until(lambda: chosen("chess")))
            await one.post("/admin/experts/chess/drain")
            waits.append(await seconds_until(lambda: chosen("general")))
            await one.delete("/admin/experts/chess?drain_seconds=0")
            waits.append(await seconds_until(gone))

    assert sorted(waits)[len(waits) // 2] < VISIBLE_SECONDS, waits


async def test_two_processes_never_both_register_a_name_or_lose_each_others_change(tmp_path: Path) -> None:
    general, chess = FakeExpert(), FakeExpert()
    async with serving(general, chess), gateways(2, tmp_path, [expert_record("general", general)]) as both:
        record = expert_record("chess", chess)
        made = await asyncio.gather(*(each.post("/admin/experts", json=record) for each in both))
        fields = ["description", "model", "active_parameters_billions", "context_window"]
        values = ["Chess.", "chess", 2.0, 4096]
        changes = [
            both[number % 2].patch("/admin/experts/chess", json={field: value})
            for number, (field, value) in enumerate(zip(fields, values, strict=True))
        ]
        codes = [response.status_code for response in await asyncio.gather(*changes)]
        await asyncio.sleep(VISIBLE_SECONDS)
        shown = [(await each.get("/admin/experts/chess")).json() for each in both]

    assert [201, 409] == sorted(response.status_code for response in made)
    assert [200] * 4 == codes
    assert [values] * 2 == [[each[field] for field in fields] for each in shown]
    assert shown[0]["version"] == shown[1]["version"]


@pytest.mark.slow
async def test_fifty_kills_lose_no_acknowledged_record_and_leave_no_half_one(tmp_path: Path) -> None:
    store = tmp_path / "kept.db"
    command = ("-m", "tests.integration.one_writer", str(store), str(KILLS))
    writer = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    said = (await writer.communicate())[0].decode()
    kept = SqliteStore(store)
    entries = [stored_entry(document, {}) for document in await kept.find("experts/")]
    await kept.aclose()
    last = dict.fromkeys(NAMES, GONE) | {entry.name: entry.written["description"] for entry in entries}
    said += "".join(f"found {name} {value}\n" for name, value in last.items())

    assert (0, KILLS) == (writer.returncode, said.count("run "))
    assert said.count("done ") > KILLS
    assert all(set(entry.written["tags"]) <= {entry.written["description"]} for entry in entries)
    assert [] == lost(said)


def lost(said: str) -> list[str]:
    """Return what was found otherwise than acknowledged; a write that a kill cut off may have happened or not."""
    acknowledged = dict.fromkeys(NAMES, GONE)
    begun: dict[str, str] = {}
    wrong = []
    for number, line in enumerate(said.splitlines()):
        verb, _, rest = line.partition(" ")
        name, _, value = rest.partition(" ")
        if verb == "begin":
            begun = {name: value}
        elif verb == "done":
            acknowledged[name], begun = value, {}
        elif verb == "found":
            if value not in (acknowledged[name], begun.get(name, acknowledged[name])):
                wrong.append(f"line {number}: {name} is {value}, not {acknowledged[name]}")
            acknowledged[name] = value
    return wrong
