"""The keeper over real processes: servers stopped and started, or put into vLLM's sleep mode (a stand-in's)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from experts.backends import VllmBackend, make_client
from experts.config import ExpertConfig
from experts.errors import ConfigError, ExpertUnavailable
from experts.launch.gpus import Gpu
from experts.launch.process import ServerState
from experts.launch.runtime import LocalRuntime
from experts.registry import Replica
from experts.residency.bed import ServerBed, seats_of
from experts.residency.config import ResidencyConfig
from experts.residency.keeper import Keeper
from experts.residency.kept import KeptRuntime, bounds_of, homes, kept_servers
from experts.residency.policy import ResidencyPolicy
from tests.unit.experts.launch.fake_vllm import fake_environment


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))


def launched(name: str, **launch: object) -> ExpertConfig:
    return ExpertConfig.model_validate({"name": name, "backend": "vllm", "launch": {"model": "m/m", **launch}})


def adapter(name: str, base: str) -> ExpertConfig:
    return ExpertConfig.model_validate({"name": name, "backend": "vllm", "adapter": {"base": base, "path": "a"}})


@dataclass
class Box:
    """A machine whose servers sleep and wake."""

    runtime: KeptRuntime
    local: LocalRuntime
    keeper: Keeper
    backend: VllmBackend

    def states(self) -> dict[str, ServerState]:
        assert self.local.fleet is not None
        return {name: self.local.fleet.state(name) for name in self.local.fleet.specs}

    async def dozes(self, name: str) -> bool:
        assert self.local.fleet is not None
        return await self.backend.is_sleeping(name, Replica(self.local.fleet.base_url(name)))


@asynccontextmanager
async def box(
    folder: Path,
    kind: Literal["gpu", "cpu"],
    config: ResidencyConfig,
    *experts: ExpertConfig,
    gpus: tuple[Gpu, ...] = (),
) -> AsyncIterator[Box]:
    """Yield a machine on which these experts have settled; `a` is the default expert."""
    environment = fake_environment(folder, kind)
    async with make_client() as client:
        backend = VllmBackend(client)
        local = LocalRuntime(
            folder,
            backend,
            find=lambda: environment,
            gpus=gpus,
            starts=not config.bounded,
            sleeps=True,
            max_resident=config.max_resident,
        )
        async with (
            local,
            Keeper(ResidencyPolicy((), bounds_of(config)), ServerBed(lambda: local.fleet, backend)) as keeper,
        ):
            runtime = KeptRuntime(local, keeper, config, "a", lambda: seats_of(local.fleet))
            await runtime.settle(experts)
            yield Box(runtime, local, keeper, backend)


def soon() -> float:
    return time.monotonic() + 30


async def test_on_a_cpu_asleep_is_stopped_and_the_default_expert_is_awake_first(tmp_path: Path) -> None:
    config = ResidencyConfig(max_resident=1, min_dwell_seconds=0)
    async with box(tmp_path, "cpu", config, launched("a"), launched("b")) as machine:
        assert ("waking", "asleep") == (machine.runtime.state("a"), machine.runtime.state("b"))
        async with machine.keeper.holding("a", soon()):
            assert {"a": ServerState.READY, "b": ServerState.STOPPED} == machine.states()
            assert "ready" == machine.runtime.state("a")
        async with machine.keeper.holding("b", soon()):
            assert {"a": ServerState.STOPPED, "b": ServerState.READY} == machine.states()


async def test_on_a_gpu_asleep_is_a_process_without_its_memory(tmp_path: Path) -> None:
    config = ResidencyConfig(max_resident=1, min_dwell_seconds=0)
    async with box(tmp_path, "gpu", config, launched("a"), launched("b")) as machine:
        async with machine.keeper.holding("a", soon()):
            pass
        async with machine.keeper.holding("b", soon()):
            assert {"a": ServerState.READY, "b": ServerState.READY} == machine.states()
            assert (True, False) == (await machine.dozes("a"), await machine.dozes("b"))
            assert ("asleep", "ready") == (machine.runtime.state("a"), machine.runtime.state("b"))
        async with machine.keeper.holding("a", soon()):
            assert (False, True) == (await machine.dozes("a"), await machine.dozes("b"))


async def test_on_two_gpus_one_is_awake_on_each_and_makes_room_for_its_neighbour_only(tmp_path: Path) -> None:
    config = ResidencyConfig(max_resident=2, min_dwell_seconds=0)
    experts = [launched(name, gpu_memory_gib=18) for name in "abcd"]
    gpus = tuple(Gpu(index, "card", 24.0, 24.0) for index in range(2))
    async with box(tmp_path, "gpu", config, *experts, gpus=gpus) as machine:
        seats = seats_of(machine.local.fleet)
        neighbour = next(name for name in "bcd" if seats[name].keys() == seats["a"].keys())
        other = next(name for name in "bcd" if seats[name].keys() != seats["a"].keys())
        async with machine.keeper.holding("a", soon()), machine.keeper.holding(other, soon()):
            assert [(False, False)] == [(await machine.dozes("a"), await machine.dozes(other))]
        async with machine.keeper.holding(neighbour, soon()):
            assert (True, False) == (await machine.dozes("a"), await machine.dozes(other))


async def test_a_server_that_does_not_start_is_stopped_and_says_why(tmp_path: Path) -> None:
    config = ResidencyConfig(max_resident=1)
    broken = launched("b", args=["--fail-with", "ValueError: no weights"])
    async with box(tmp_path, "cpu", config, launched("a"), broken) as machine:
        with pytest.raises(ExpertUnavailable, match="no weights"):
            async with machine.keeper.holding("b", soon()):
                pass
        assert (ServerState.STOPPED, "failed") == (machine.states()["b"], machine.runtime.state("b"))


async def test_without_bounds_everything_starts_and_only_the_idle_one_that_may_sleep_does(tmp_path: Path) -> None:
    sleepy = launched("b", sleep_after_seconds=0.3)
    async with box(tmp_path, "cpu", ResidencyConfig(), launched("a"), sleepy) as machine:
        assert not machine.keeper.keeps("a")
        async with machine.keeper.holding("b", soon()):
            await asyncio.sleep(0.5)
            assert ServerState.READY is machine.states()["b"]
        async with asyncio.timeout(20):
            while machine.runtime.state("b") != "asleep" or ServerState.STOPPED is not machine.states()["b"]:
                await asyncio.sleep(0.05)
        async with machine.keeper.holding("b", soon()):
            assert ServerState.READY is machine.states()["b"]


async def test_an_expert_registered_later_sleeps_until_it_is_asked(tmp_path: Path) -> None:
    config = ResidencyConfig(max_resident=1, min_dwell_seconds=0)
    async with box(tmp_path, "cpu", config, launched("a")) as machine:
        await machine.runtime.settle([launched("a"), launched("b")])
        assert "asleep" == machine.runtime.state("b")
        async with machine.keeper.holding("b", soon()):
            assert ServerState.READY is machine.states()["b"]
        await machine.runtime.settle([launched("a")])
        assert not machine.keeper.keeps("b")


def test_adapters_live_on_their_bases_server() -> None:
    elsewhere = ExpertConfig.model_validate({"name": "far", "replicas": [{"base_url": "http://far/v1"}]})

    assert {"a": "a", "b": "b", "c": "a"} == homes([launched("a"), launched("b"), adapter("c", "a"), elsewhere])


def test_a_pinned_adapter_pins_its_server() -> None:
    config = ResidencyConfig(max_resident=2, pinned=("c",))

    assert {"a": True, "b": False} == {
        server.name: server.pinned for server in kept_servers([launched("a"), launched("b"), adapter("c", "a")], config)
    }


def test_bounded_memory_needs_to_know_what_each_server_takes() -> None:
    config = ResidencyConfig(memory_gib=80)

    assert [36] == [server.need_gib for server in kept_servers([launched("a", gpu_memory_gib=18, gpus=2)], config)]
    with pytest.raises(ConfigError, match=r"'b' has to say launch\.gpu_memory_gib"):
        kept_servers([launched("b")], config)


async def test_a_server_too_large_for_the_bound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'b' .* can never be awake"):
        async with box(
            tmp_path,
            "cpu",
            ResidencyConfig(memory_gib=24, pinned=("a",)),
            launched("a", gpu_memory_gib=10),
            launched("b", gpu_memory_gib=18),
        ):
            pass
