"""Workers and the process that starts them: one that is told to stop leaves none behind."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from gateway.cli.listening import listening_socket
from gateway.cli.workers import Crew

WORKERS = 2


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
async def test_workers_that_are_just_being_started_are_told_to_stop_too(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "worker"
    worker.write_text("#!/bin/sh\nexec sleep 10\n")
    worker.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(worker))
    crew = Crew([], [listening_socket("127.0.0.1", 0) for _ in range(WORKERS + 1)])
    running = asyncio.create_task(crew.run())
    for _ in range(1 + steps):
        await asyncio.sleep(0)
    crew.stop()

    assert 0 == await asyncio.wait_for(running, 5)
