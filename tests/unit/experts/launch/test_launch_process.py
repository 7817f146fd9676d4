"""A supervised server against a stand-in for vLLM: ready, killed, hung, failing, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest

from experts.errors import LaunchError
from experts.launch import Patience, ServerProgress, ServerSpec, ServerState, SupervisedServer, command_line
from experts.launch.plan import free_ports
from tests.unit.experts.launch.fake_vllm import fake_environment

QUICK = Patience(
    first_delay_seconds=0.05,
    longest_delay_seconds=0.1,
    most_failed_starts=3,
    probe_every_seconds=0.1,
    probe_timeout_seconds=1.5,
    most_misses=2,
)
Run: TypeAlias = Callable[..., AbstractAsyncContextManager[SupervisedServer]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a stand-in server with knobs (`--fail-with`, ...) until the block ends."""

    @asynccontextmanager
    async def run_server(
        *knobs: str, told: list[ServerProgress] | None = None, timeout_seconds: float = 20
    ) -> AsyncIterator[SupervisedServer]:
        spec = ServerSpec(
            name="tiny",
            model="m",
            served_name="tiny",
            port=next(free_ports(18600)),
            args=knobs,
            start_timeout_seconds=timeout_seconds,
        )
        argv, env = command_line(spec, fake_environment(tmp_path))
        tell = told.append if told is not None else None
        server = SupervisedServer(spec, argv, env, tmp_path / "tiny.log", QUICK, tell)
        await server.start()
        try:
            yield server
        finally:
            await server.stop(grace_seconds=0.5)

    return run_server


def _server_process(server: SupervisedServer) -> psutil.Process:
    assert server.guard_pid is not None
    return psutil.Process(server.guard_pid).children()[0]


async def _until(server: SupervisedServer, state: ServerState) -> None:
    async with asyncio.timeout(20):
        while server.state is not state:
            await asyncio.sleep(0.02)


async def test_a_server_becomes_ready_and_tells_of_it(run: Run) -> None:
    told: list[ServerProgress] = []
    async with run(told=told) as server:
        await server.wait_ready(20)
        process = _server_process(server)
        assert server.failure == ""
    assert not process.is_running()
    states = list(dict.fromkeys(progress.state for progress in told))
    assert states == [ServerState.STARTING, ServerState.READY, ServerState.STOPPED]


async def test_a_killed_server_is_restarted_and_its_log_kept(run: Run) -> None:
    async with run() as server:
        await server.wait_ready(20)
        os.kill(_server_process(server).pid, signal.SIGKILL)
        await _until(server, ServerState.RESTARTING)
        await server.wait_ready(20, through_restarts=True)
        assert server.log.with_name("tiny.log.1").exists()


async def test_a_hung_server_is_restarted(run: Run) -> None:
    async with run("--hang-after", "4") as server:
        await server.wait_ready(20)
        await _until(server, ServerState.RESTARTING)
        assert "hung: 2 health checks in a row unanswered" in server.failure


async def test_a_failed_start_carries_the_servers_last_words(run: Run) -> None:
    async with run("--fail-with", "ValueError: no such weights") as server:
        with pytest.raises(LaunchError, match=r"'tiny' could not be started: .* ValueError: no such weights; log: "):
            await server.wait_ready(20)


async def test_starts_that_keep_failing_are_given_up_until_restarted(run: Run, tmp_path: Path) -> None:
    flag = tmp_path / "mended"
    async with run("--fail-with", "OSError: disk", "--mended-by", str(flag)) as server:
        await _until(server, ServerState.FAILED)
        with pytest.raises(LaunchError, match="OSError: disk"):
            await server.wait_ready(1)
        flag.touch()
        await server.restart()
        await server.wait_ready(20)


async def test_a_failed_start_is_tried_again(run: Run, tmp_path: Path) -> None:
    flag = tmp_path / "mended"
    async with run("--fail-with", "OSError: disk", "--mended-by", str(flag)) as server:
        await _until(server, ServerState.RESTARTING)
        flag.touch()
        await server.wait_ready(20, through_restarts=True)


async def test_a_server_that_takes_too_long_is_not_waited_for(run: Run) -> None:
    async with run("--hang-after", "0", timeout_seconds=1.5) as server:
        with pytest.raises(LaunchError, match="not ready within 2 s"):
            await server.wait_ready(20)


async def test_waiting_has_its_own_limit(run: Run) -> None:
    async with run("--hang-after", "0") as server:
        with pytest.raises(LaunchError, match="was not ready within 1 s"):
            await server.wait_ready(1)


async def test_a_port_in_use_is_said(run: Run) -> None:
    with socket.socket() as busy:
        async with run() as server:
            await server.stop()
            busy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            busy.bind(("127.0.0.1", server.spec.port))
            busy.listen()
            await server.start()
            with pytest.raises(LaunchError, match=f"port {server.spec.port} is in use by another program"):
                await server.wait_ready(20)


async def test_our_secrets_are_not_the_servers_to_see(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_ADMIN_KEY", "secret")
    async with run() as server:
        await server.wait_ready(20)
        assert "CONSILIUM_ADMIN_KEY" not in _server_process(server).environ()
