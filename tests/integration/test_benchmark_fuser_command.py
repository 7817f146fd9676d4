"""`consilium experts benchmark-fuser` against a gateway over real sockets: its table, its JSON; then `list`, `show`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.integration.fusing_world import questions, world
from tests.integration.test_fuser_benchmark import gateway


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))


async def said(client: httpx.AsyncClient, folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command of the experts' group in another process and return its code and what it wrote."""
    told = {"CONSILIUM_ADMIN_KEY": "admin", "CONSILIUM_URL": str(client.base_url), "COLUMNS": "200"}
    line = [sys.executable, "-m", "gateway", "experts", *arguments]
    run = asyncio.to_thread(
        subprocess.run, line, cwd=folder, env={**os.environ, **told}, capture_output=True, text=True, timeout=120
    )
    process = await run
    return process.returncode, process.stdout, process.stderr


async def test_the_command_says_who_fuses_best_and_lists_show_it(tmp_path: Path) -> None:
    questions(tmp_path, 16)
    async with gateway(world()) as client:
        before = await said(client, tmp_path, "list")
        table = await said(client, tmp_path, "benchmark-fuser", "--data", "questions.jsonl", "--questions", "24")
        after = await said(client, tmp_path, "list")
        shown = await said(client, tmp_path, "show", "sums")
        refused = await said(client, tmp_path, "benchmark-fuser", "--experts", "sums,nobody")
        asked = ("benchmark-fuser", "--data", "questions.jsonl", "--experts", "sums, pleads", "--json")
        machine = await said(client, tmp_path, *asked)

    assert 0 == table[0], table[2]
    assert "law: pleads, math: sums" in table[1]
    assert "the heaviest answer" in table[1]
    assert "fusing" not in before[1]
    figures = json.loads(shown[1])["fusing"]
    assert f"{figures['accuracy']:.2f} of {figures['count']}" in after[1]
    assert 0.4 < figures["accuracy"] < 0.6
    assert (1, True) == (refused[0], "nobody" in refused[2])
    assert {"sums", "pleads"} == set(json.loads(machine[1])["fusers"])
