"""Several servers as one thing, against a stand-in for vLLM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from experts.errors import LaunchError
from experts.launch import Adapter, Fleet, Hardware, ServerSpec, ServerState
from experts.launch.plan import free_ports
from tests.unit.experts.launch.fake_vllm import fake_environment


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))


def _specs(*several: dict[str, Any]) -> list[ServerSpec]:
    ports = free_ports(18700)
    return [ServerSpec(model="m", served_name=spec["name"], port=next(ports), **spec) for spec in several]


async def test_every_expert_is_found_at_its_server(tmp_path: Path) -> None:
    adapter = Adapter("tax", "tax", Path("/a/tax"), 8)
    specs = _specs({"name": "law", "adapters": (adapter,)}, {"name": "code"})
    async with Fleet(specs, fake_environment(tmp_path)) as fleet:
        await fleet.wait_ready(20)
        assert fleet.experts == ("law", "tax", "code")
        assert fleet.base_url("tax") == fleet.base_url("law") == specs[0].base_url
        assert {fleet.state(expert) for expert in fleet.experts} == {ServerState.READY}
        guards = [fleet.server(name).guard_pid for name in ("law", "code")]
    assert not any(pid and psutil.pid_exists(pid) for pid in guards)
    assert {progress.state for progress in fleet.progress} == {ServerState.STOPPED}


async def test_on_a_cpu_servers_start_one_after_the_other(tmp_path: Path) -> None:
    order: list[tuple[str, ServerState]] = []
    environment = replace(fake_environment(tmp_path), kind="cpu")
    specs = _specs({"name": "a"}, {"name": "b"})

    async with Fleet(specs, environment, lambda progress: order.append((progress.server, progress.state))) as fleet:
        await fleet.wait_ready(30)
    assert order.index(("a", ServerState.READY)) < order.index(("b", ServerState.STARTING))


async def test_servers_that_share_a_gpu_start_one_after_the_other(tmp_path: Path) -> None:
    order: list[tuple[str, ServerState]] = []
    first, second, apart = (Hardware(gpus=gpus) for gpus in ((0, 1), (1,), (2,)))
    specs = _specs(
        {"name": "a", "hardware": first}, {"name": "b", "hardware": second}, {"name": "c", "hardware": apart}
    )

    async with Fleet(specs, fake_environment(tmp_path), lambda at: order.append((at.server, at.state))) as fleet:
        await fleet.wait_ready(30)
    assert order.index(("a", ServerState.READY)) < order.index(("b", ServerState.STARTING))
    assert order.index(("c", ServerState.STARTING)) < order.index(("a", ServerState.READY))


async def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    specs = _specs({"name": "good"}, {"name": "bad", "args": ("--fail-with", "ValueError: no weights")})
    async with Fleet(specs, fake_environment(tmp_path)) as fleet:
        with pytest.raises(LaunchError, match=r"'bad' could not be started: .*no weights") as caught:
            await fleet.wait_ready(20)
        assert caught.value.server == "bad"
        assert fleet.state("good") is ServerState.READY


async def test_late_servers_are_named(tmp_path: Path) -> None:
    specs = _specs({"name": "slow", "args": ("--hang-after", "0")})
    async with Fleet(specs, fake_environment(tmp_path)) as fleet:
        with pytest.raises(LaunchError, match="not ready within 1 s: slow"):
            await fleet.wait_ready(1)


async def test_servers_come_and_go_while_others_run(tmp_path: Path) -> None:
    first, second = _specs({"name": "a"}, {"name": "b"})
    async with Fleet([first], fake_environment(tmp_path)) as fleet:
        await fleet.add(second)
        await fleet.wait_ready(20)
        await fleet.remove("a", grace_seconds=1)
        assert fleet.experts == ("b",)
        with pytest.raises(KeyError):
            fleet.base_url("a")


async def test_a_fleet_without_servers_is_ready(tmp_path: Path) -> None:
    async with Fleet((), fake_environment(tmp_path)) as fleet:
        await fleet.wait_ready()
        assert fleet.progress == ()
