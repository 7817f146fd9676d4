"""A real vLLM on this machine: served, killed, restarted, and gone when the gateway is.

The tests of the first half share one gateway and run in order; the last one kills it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from experts.errors import LaunchError
from experts.launch import Fleet, ServerSpec, ServerState, VllmEnvironment, find_environment
from tests.integration.launch.tiny import write_adapter, write_model

START_SECONDS = 300  # about 40 alone on two cores, more beside other work
ENVIRONMENT = find_environment()

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(START_SECONDS + 60),
    pytest.mark.skipif(ENVIRONMENT is None, reason="no vLLM here: create_environment makes one"),
]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway process and where its experts answer."""

    process: subprocess.Popen[str]
    base_url: str

    def guard(self) -> psutil.Process:
        """The guard of its only server (IndexError while there is none)."""
        return next(p for p in psutil.Process(self.process.pid).children() if "guard.py" in " ".join(p.cmdline()))

    def generate(self, model: str) -> str:
        """One real answer of eight tokens."""
        question = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
        body = {**question, "max_tokens": 8, "temperature": 0}
        with httpx.Client(trust_env=False, timeout=60) as client:
            answer = client.post(f"{self.base_url}/chat/completions", json=body)
        answer.raise_for_status()
        return str(answer.json()["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def environment() -> VllmEnvironment:
    assert ENVIRONMENT is not None
    return ENVIRONMENT


@pytest.fixture(scope="module")
def gateway(environment: VllmEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    root = tmp_path_factory.mktemp("experts")
    write_model(root / "base")
    write_adapter(root / "math")
    settings = {"CONSILIUM_STATE_DIR": str(root / "state"), "CONSILIUM_VLLM_PYTHON": str(environment.python)}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.launch.gateway", str(root)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, **settings},
    ) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        assert process.stdout.readline() == "ready\n"
        yield Gateway(process, base_url)
        process.terminate()


def _wait_until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.2)


def test_the_base_and_its_adapter_write_different_answers(gateway: Gateway) -> None:
    assert gateway.generate("tiny") != gateway.generate("tiny-math")


def test_a_killed_server_is_back_and_serves_the_same(gateway: Gateway) -> None:
    before = gateway.generate("tiny-math")
    guard = gateway.guard()
    tree = guard.children(recursive=True)
    guard.children()[0].kill()
    _, alive = psutil.wait_procs([guard, *tree], timeout=15)
    assert not alive

    def serves_again() -> bool:
        try:
            return gateway.generate("tiny-math") == before
        except httpx.HTTPError:
            return False

    _wait_until(serves_again, START_SECONDS)


def test_kill_9_of_the_gateway_leaves_no_process(gateway: Gateway) -> None:
    below = psutil.Process(gateway.process.pid).children(recursive=True)
    assert len(below) >= 3, "guard, API server, engine core"
    gateway.process.kill()
    _, alive = psutil.wait_procs(below, timeout=15)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def _own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))


@pytest.mark.usefixtures("_own_state_folder")
async def test_a_model_without_weights_is_said_in_one_sentence(environment: VllmEnvironment, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "base")
    (folder / "model.safetensors").unlink()
    spec = ServerSpec(name="hollow", model=str(folder), served_name="hollow", port=8591)
    async with Fleet([spec], environment) as fleet:
        with pytest.raises(LaunchError, match=r"'hollow' could not be started: it ended with code 1: \w*Error: .*"):
            await fleet.wait_ready(START_SECONDS)


@pytest.mark.usefixtures("_own_state_folder")
async def test_a_port_in_use_is_said_before_vllm_is_started(environment: VllmEnvironment, tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        spec = ServerSpec(name="late", model=str(tmp_path), served_name="late", port=port)
        async with Fleet([spec], environment) as fleet:
            with pytest.raises(LaunchError, match=f"port {port} is in use by another program"):
                await fleet.wait_ready(30)
            assert fleet.state("late") is ServerState.RESTARTING
