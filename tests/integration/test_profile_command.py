"""`consilium experts profile` against a gateway over real sockets: its table, its JSON, and ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from gateway.settings import Settings
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving
from tests.processes import hears_interrupts

ADMIN = {"authorization": "Bearer admin"}
SETTINGS = Settings(admin_key=SecretStr("admin"), keep_alive_seconds=0.5)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))


def written(folder: Path, count: int) -> Path:
    rows = [{"question": f"What is {n}?", "answer": str(n), "domain": "math"} for n in range(count)]
    path = folder / "sums.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def command(client: httpx.AsyncClient, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command in another process, where the file is in the working folder."""
    environment = {
        **os.environ,
        "CONSILIUM_ADMIN_KEY": "admin",
        "CONSILIUM_URL": str(client.base_url),
        "COLUMNS": "120",
    }
    line = [sys.executable, "-m", "gateway", "experts", "profile", "a", *arguments]
    return subprocess.Popen(
        line,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_interrupts,
    )


async def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, error = await asyncio.to_thread(process.communicate, timeout=60)
    return process.returncode, out, error


async def test_the_command_measures_and_prints_what_was_found(tmp_path: Path) -> None:
    written(tmp_path, 20)
    fake = FakeExpert(models=("a",), reply=lambda body: "Answer: 7")
    async with serving(fake), gateway_over([expert_record("a", fake)], settings=SETTINGS) as client:
        table = await finished(command(client, tmp_path, "--questions", "sums.jsonl"))
        machine = await finished(command(client, tmp_path, "--questions", "sums.jsonl", "--json", "--per-domain", "10"))
        refused = await finished(command(client, tmp_path, "--questions", "none.jsonl"))

    assert 0 == table[0], table[2]
    assert "math" in table[1]
    assert "0.05" in table[1]
    assert "a: 20 of 20" in table[2]
    assert 10 == json.loads(machine[1])["overall"]["count"]
    assert (1, True) == (refused[0], "cannot be read" in refused[2])


async def test_ctrl_c_cancels_and_the_same_command_goes_on(tmp_path: Path) -> None:
    written(tmp_path, 60)
    fake = FakeExpert(models=("a",), reply=lambda body: "Answer: 7", word_delay=0.1)
    async with serving(fake), gateway_over([expert_record("a", fake)], settings=SETTINGS) as client:
        first = command(client, tmp_path, "--questions", "sums.jsonl", "--concurrency", "2")
        while len(fake.requests) < 10:
            await asyncio.sleep(0.02)
        first.send_signal(signal.SIGINT)
        code, _, told = await finished(first)
        async with asyncio.timeout(20):
            while (await client.get("/admin/jobs", headers=ADMIN)).json()["data"][0]["state"] != "cancelled":
                await asyncio.sleep(0.05)
        asked = len(fake.requests)
        fake.word_delay = 0.0
        again = await finished(command(client, tmp_path, "--questions", "sums.jsonl", "--json", "--concurrency", "2"))

    assert 130 == code, told
    assert "goes on from there" in told
    assert asked < 60
    assert json.loads(again[1])["reused"] >= asked - 2
    assert 60 == json.loads(again[1])["overall"]["count"]
