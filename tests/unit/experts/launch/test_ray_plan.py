"""Which servers a cluster is to run, and how what they say is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.launch import VllmEnvironment, plan_servers
from experts.launch.ray import RayRuntime
from experts.launch.ray_plan import (
    Report,
    cluster_servers,
    failure_in,
    has_room,
    replicas_in,
    state_in,
    waits_for,
)
from experts.registry import Replica

ROOT = Path(__file__).parents[4]
NOT_ASKED: Any = None
"""Instead of a backend, where no adapter is on anybody else's server."""


def launched(name: str, *, description: str = "", **launch: Any) -> ExpertConfig:
    return ExpertConfig.model_validate(
        {"name": name, "backend": "vllm", "description": description, "launch": {"model": "team/model", **launch}}
    )


def adapter(name: str, base: str, path: str = "adapters/a") -> ExpertConfig:
    return ExpertConfig.model_validate({"name": name, "backend": "vllm", "adapter": {"base": base, "path": path}})


def names(*experts: ExpertConfig) -> list[str]:
    return [server.name for server in cluster_servers(experts, Path("/team"))]


def test_each_replica_is_a_server_and_adapters_ride_on_all_of_them() -> None:
    found = cluster_servers([launched("base", replicas=2), adapter("rider", "base"), launched("other")], Path("/team"))

    assert [("base", "rider"), ("base", "rider"), ("other",)] == [server.experts for server in found]
    assert 3 == len({server.name for server in found})


def test_experts_that_run_elsewhere_need_no_server() -> None:
    elsewhere = ExpertConfig.model_validate({"name": "far", "replicas": [{"base_url": "http://far:1/v1"}]})

    assert [] == names(elsewhere, adapter("rider", "far"))


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        (launched("base", description="another"), True),
        (launched("base", replicas=1), True),
        (launched("base", args=["--x"]), False),
        (launched("base", model="team/other"), False),
    ],
)
def test_a_server_has_another_name_when_it_runs_something_else(changed: ExpertConfig, same: bool) -> None:
    assert same == (names(launched("base")) == names(changed))


def test_another_adapter_is_another_server() -> None:
    one, two = adapter("rider", "base"), adapter("rider", "base", "adapters/b")

    assert 3 == len({*names(launched("base")), *names(launched("base"), one), *names(launched("base"), two)})


@pytest.mark.parametrize(("written", "asked"), [({}, None), ({"gpus": 1}, 1), ({"gpus": 0}, 0)])
def test_gpus_that_are_not_written_are_for_the_cluster_to_say(written: dict[str, Any], asked: int | None) -> None:
    assert [asked] == [server.gpus for server in cluster_servers([launched("base", **written)], Path())]


def test_a_base_that_is_no_base_is_refused() -> None:
    with pytest.raises(ConfigError, match="'rider' is an adapter on 'nobody', which is not an expert here"):
        names(adapter("rider", "nobody"))
    with pytest.raises(ConfigError, match="'two' is an adapter on 'one', which is an adapter itself"):
        names(launched("base"), adapter("one", "base"), adapter("two", "one"))


READY, SECOND = Report("ready", "http://a:1/v1", "key"), Report("ready", "http://b:1/v1", "other")
MOVING, BROKEN = Report("restarting", failure="node gone"), Report("failed", failure="no vLLM")


def test_only_servers_that_are_ready_are_replicas() -> None:
    assert (Replica("http://a:1/v1", "key"), Replica("http://b:1/v1", "other")) == replicas_in([READY, MOVING, SECOND])


@pytest.mark.parametrize(
    ("reports", "state", "why"),
    [
        ([READY, BROKEN], "ready", "no vLLM"),
        ([MOVING, BROKEN], "restarting", "node gone"),
        ([BROKEN], "failed", "no vLLM"),
        ([Report("starting"), MOVING], "starting", "node gone"),
        ([Report("stopped")], "starting", ""),
    ],
)
def test_an_expert_is_as_well_as_the_best_of_its_servers(reports: list[Report], state: str, why: str) -> None:
    assert (state, why) == (state_in(reports), failure_in(reports))


async def test_a_driver_that_knows_nothing_yet_changes_nothing() -> None:
    moves: list[int] = []
    runtime = RayRuntime(Path(), "auto", NOT_ASKED, moved=lambda: moves.append(1))
    server = cluster_servers([launched("base")], Path())[0]
    runtime._servers, runtime._reports = {server.name: server}, {server.name: Report("starting")}

    for said in (READY, Report("starting"), READY, SECOND, MOVING, Report("starting")):
        runtime._take({server.name: said, "stranger": said})

    assert 3 == len(moves), "it came up, it moved, it went"
    assert ("starting", ()) == (runtime.state("base"), runtime.replicas(launched("base")))


async def test_without_experts_of_its_own_it_starts_nothing() -> None:
    elsewhere = ExpertConfig.model_validate({"name": "far", "replicas": [{"base_url": "http://far:1/v1"}]})
    async with RayRuntime(Path(), "auto", NOT_ASKED) as runtime:
        await runtime.settle([elsewhere])

        assert (None, "") == (runtime.state("far"), runtime.failure("far"))
        assert (Replica("http://far:1/v1"),) == runtime.replicas(elsewhere)
        assert runtime._process is None


def test_one_machine_refuses_several_replicas() -> None:
    with pytest.raises(ConfigError, match="'base' asks for 2 replicas, and one machine runs one"):
        plan_servers([launched("base", replicas=2)], Path(), VllmEnvironment(Path("python"), "cpu", "0"))


def test_the_gateway_never_loads_ray() -> None:
    loaded = "import sys, gateway.running, gateway.app; sys.exit('ray' in sys.modules)"

    assert 0 == subprocess.run([sys.executable, "-c", loaded], cwd=ROOT).returncode


@pytest.mark.parametrize(
    ("needs", "free", "fits"),
    [
        ({"GPU": 1, "CPU": 1}, {"GPU": 1.0, "CPU": 4.0}, True),
        ({"GPU": 0, "CPU": 1}, {"CPU": 1.0}, True),
        ({"GPU": 1, "CPU": 1}, {"CPU": 4.0}, False),
        ({"CPU": 1, "h100": 1}, {"CPU": 4.0, "h100": 0.5}, False),
    ],
)
def test_a_server_has_room_when_enough_of_everything_is_free(
    needs: dict[str, float], free: dict[str, float], fits: bool
) -> None:
    assert fits == has_room(needs, free)


def test_who_waits_for_a_node_says_what_it_needs_and_what_is_free() -> None:
    free = {"node:10.0.0.1": 1.0, "object_store_memory": 8e7, "memory": 1e9, "GPU": 1.0, "CPU": 3.0}

    assert "waits for a node: 2 GPU, 1 CPU on one node; free now: 3 CPU, 1 GPU" == waits_for({"GPU": 2, "CPU": 1}, free)
    assert "waits for a node: 1 CPU on one node; free now: nothing" == waits_for({"GPU": 0, "CPU": 1}, {"CPU": 0})
