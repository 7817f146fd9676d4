"""Experts on a real Ray cluster of three nodes on this machine; instead of vLLM, the fake expert as a process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr

import gateway.running
from experts.config import ExpertConfig
from experts.errors import LaunchError
from experts.launch.ray import RayRuntime
from gateway.settings import Settings
from tests.conftest import gateway_over
from tests.processes import free_port
from tests.ray_cluster import RayCluster, ray_cluster

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(300)]
NOT_ASKED: Any = None
"""Instead of a backend, where no adapter is on anybody else's server."""
STAND_IN = "tests.fakes.ray_server:stand_in"
FIRST_START_SECONDS = 90


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayCluster]:
    with ray_cluster(3) as running:
        yield running


@pytest.fixture
def cluster(nodes: RayCluster) -> Iterator[RayCluster]:
    """The cluster, empty: a server that outlives its gateway for its lease would take the next test's room."""
    yield nodes
    nodes.clear()


def record(name: str, **more: Any) -> dict[str, Any]:
    launch = {"model": "team/model", **more.pop("launch", {})}
    return {"name": name, "backend": "vllm", "launch": launch, **more}


def config(name: str, **launch: Any) -> ExpertConfig:
    return ExpertConfig.model_validate(record(name, launch=launch))


async def until(holds: Callable[[], bool], seconds: float = FIRST_START_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.1)


def urls(runtime: RayRuntime, expert: ExpertConfig) -> list[str]:
    return [replica.base_url for replica in runtime.replicas(expert)]


async def listens(url: str) -> bool:
    """Tell whether a server answers at an address; without the key it says no more than that."""
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(f"{url}/models", timeout=5)).status_code == 401
        except httpx.HTTPError:
            return False


async def falls_silent(url: str, seconds: float = 20) -> bool:
    """Wait until no server answers at an address any more: Ray ends what it was told to end a little later."""
    deadline = time.monotonic() + seconds
    while await listens(url):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.2)
    return True


@asynccontextmanager
async def runtime_on(cluster: RayCluster, commands: str = STAND_IN, **more: Any) -> AsyncIterator[RayRuntime]:
    async with RayRuntime(Path(), cluster.address, NOT_ASKED, commands=commands, **more) as runtime:
        yield runtime


async def test_gateways_share_servers_and_the_last_to_leave_ends_them(cluster: RayCluster) -> None:
    shared, own = config("shared", replicas=2), config("own")
    async with runtime_on(cluster) as ours:
        await ours.settle([shared, own])
        assert "starting" == ours.state("shared")
        await until(lambda: len(urls(ours, shared)) == 2 and ours.state("own") == "ready")
        mine = urls(ours, own)
        async with runtime_on(cluster) as theirs:
            await theirs.settle([shared])
            await until(lambda: len(urls(theirs, shared)) == 2)
            same = {*urls(ours, shared)} == {*urls(theirs, shared)}
            await ours.settle([shared])
            gone = await falls_silent(mine[0])
        kept = [await listens(url) for url in urls(ours, shared)]
        nodes = {cluster.node_of(urlsplit(url).port or 0) for url in urls(ours, shared)}
        last = urls(ours, shared)

    assert same
    assert (None, True) == (ours.state("own"), gone)
    assert [True, True] == kept
    assert 2 == len(nodes), "replicas of one expert are on nodes of their own"
    assert [False, False] == [await listens(url) for url in last]


async def test_when_ray_is_lost_servers_answer_where_they_were_and_are_taken_up_again(cluster: RayCluster) -> None:
    expert, moves = config("steady"), []
    async with runtime_on(cluster, moved=lambda: moves.append(1)) as runtime:
        await runtime.settle([expert])
        await until(lambda: runtime.state("steady") == "ready")
        before, driver = urls(runtime, expert), runtime._process
        assert driver is not None
        driver.kill()
        await until(lambda: runtime._process is not driver)
        during = urls(runtime, expert)
        reported = runtime._reports
        await until(lambda: runtime._reports is not reported)
        await asyncio.sleep(5)

        assert before == during == urls(runtime, expert)
        assert [1] == moves
        assert await listens(before[0])

    assert await falls_silent(before[0]), "what an earlier Ray process of the same gateway held is released too"


async def killed(runtime: RayRuntime) -> None:
    """End a gateway's part as a kill of the gateway would: without a word to the cluster."""
    running = runtime._running
    assert running is not None
    running.cancel()
    await asyncio.wait({running})


async def test_servers_outlive_a_gateway_that_was_killed_for_their_lease(cluster: RayCluster) -> None:
    kept, lost = config("kept"), config("lost")
    long, short = (
        RayRuntime(Path(), cluster.address, NOT_ASKED, commands=STAND_IN, lease_seconds=s) for s in (300, 20)
    )
    await asyncio.gather(long.settle([kept]), short.settle([lost]))
    await until(lambda: long.state("kept") == short.state("lost") == "ready")
    warm, ends = urls(long, kept), urls(short, lost)
    await asyncio.gather(killed(long), killed(short))
    assert await listens(warm[0])

    async with runtime_on(cluster) as again:
        await again.settle([kept])
        await until(lambda: again.state("kept") == "ready")
        found = urls(again, kept)
        gone_by = time.monotonic() + 60
        while await listens(ends[0]) and time.monotonic() < gone_by:
            await asyncio.sleep(0.2)

    assert warm == found
    assert not await listens(ends[0])


async def test_what_cannot_run_says_why(cluster: RayCluster) -> None:
    big = config("big", gpus=8)
    async with runtime_on(cluster) as runtime:
        await runtime.settle([big])
        await until(lambda: runtime.failure("big") != "", 30)

        assert "starting" == runtime.state("big")
        assert "waits for a node: 8 GPU" in runtime.failure("big")
        assert () == runtime.replicas(big)

    lame = config("lame")
    async with runtime_on(cluster, commands="tests.fakes.nobody:knows") as runtime:
        await runtime.settle([lame])
        await until(lambda: runtime.state("lame") == "failed", 30)
        await asyncio.sleep(3)  # it is asked every second, and not tried again before half a minute has passed

        assert "ModuleNotFoundError: No module named 'tests.fakes.nobody'" in runtime.failure("lame")

    nowhere = RayRuntime(Path(), f"127.0.0.1:{free_port()}", NOT_ASKED)
    with pytest.raises(LaunchError, match="There is no Ray cluster at 127"):
        await nowhere.settle([big])
    await nowhere.aclose()


async def test_a_server_that_no_node_has_room_for_says_so_and_comes_back_when_one_has(cluster: RayCluster) -> None:
    special = config("special", resources={"attic": 1})
    first = cluster.add("attic")
    async with runtime_on(cluster) as runtime:
        await runtime.settle([special])
        await until(lambda: runtime.state("special") == "ready")
        before = urls(runtime, special)
        cluster.kill(first)
        await until(lambda: "waits for a node" in runtime.failure("special"))
        waiting = runtime.state("special"), runtime.failure("special"), runtime.replicas(special)
        cluster.add("attic")
        await until(lambda: runtime.state("special") == "ready")

        assert ("restarting", ()) == (waiting[0], waiting[2])
        assert "waits for a node: 1 CPU, 1 attic on one node; free now: 6 CPU" == waiting[1]
        assert before != urls(runtime, special)
        assert "" == runtime.failure("special")


async def test_an_actor_that_hangs_is_made_anew_when_its_lease_has_passed(cluster: RayCluster) -> None:
    expert, lease = config("stuck"), 10
    async with runtime_on(cluster, lease_seconds=lease) as runtime:
        await runtime.settle([expert])
        await until(lambda: runtime.state("stuck") == "ready")
        before = urls(runtime, expert)
        actor = cluster.actor_of(urlsplit(before[0]).port or 0)
        hung = time.monotonic()
        actor.suspend()
        await until(lambda: runtime.state("stuck") == "restarting")
        missed = time.monotonic() - hung
        await until(lambda: runtime.state("stuck") == "ready")
        after = urls(runtime, expert)

        assert lease - 1 < missed < lease + 20
        assert before != after
        assert await listens(after[0])
    await until(lambda: not actor.is_running())  # Ray kills what does not end when told, after a while
    assert await falls_silent(before[0])


@dataclass(frozen=True, slots=True)
class Answered:
    """One request: which expert was asked, who answered, how, and after how many seconds."""

    asked: str
    status: int
    by: str
    begun: float
    seconds: float


async def keep_asking(client: httpx.AsyncClient, names: Sequence[str], answered: list[Answered]) -> None:
    """Ask each expert by name, one after the other, until cancelled."""
    while True:
        for name in names:
            begun = time.monotonic()
            body = {"model": name, "messages": [{"role": "user", "content": "hello"}]}
            reply = await client.post("/v1/chat/completions", json=body)
            by = reply.json().get("model", "")
            answered.append(Answered(name, reply.status_code, by, begun, time.monotonic() - begun))
            await asyncio.sleep(0.02)


@asynccontextmanager
async def traffic(client: httpx.AsyncClient, names: Sequence[str], answered: list[Answered]) -> AsyncIterator[None]:
    """Four clients that ask all the time."""
    asking = [asyncio.create_task(keep_asking(client, names, answered)) for _ in range(4)]
    try:
        yield
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_a_node_killed_under_traffic_costs_no_request_and_its_experts_come_back_elsewhere(
    cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.running, "RayRuntime", partial(RayRuntime, commands=STAND_IN))
    names = ("alpha", "beta", "gamma")
    records = [record(name, fallback=[other for other in names if other != name]) for name in names]
    settings = Settings(launcher="ray", ray_address=cluster.address, admin_key=SecretStr("boss"))
    answered: list[Answered] = []
    async with gateway_over(records, settings=settings) as client:

        async def states() -> dict[str, str]:
            return dict((await client.get("/health")).json()["experts"])

        async def told() -> dict[str, str]:
            shown = (await client.get("/admin/experts", headers={"authorization": "Bearer boss"})).json()
            return {each["name"]: f"{each['state']}: {each.get('reason')}" for each in shown["data"]}

        async def addresses() -> dict[str, str]:
            shown = (await client.get("/admin/experts", headers={"authorization": "Bearer boss"})).json()
            return {each["name"]: each["health"][0]["base_url"] for each in shown["data"]}

        async def all_ready(seconds: float) -> float:
            begun = time.monotonic()
            while {*(await states()).values()} != {"ready"}:
                assert time.monotonic() - begun < seconds, await told()
                await asyncio.sleep(0.1)
            return time.monotonic() - begun

        await all_ready(FIRST_START_SECONDS)
        async with traffic(client, names, answered):
            await asyncio.sleep(1)
            where = await addresses()
            victim = cluster.node_of(urlsplit(where["alpha"]).port or 0)
            on_it = {name for name, url in where.items() if cluster.node_of(urlsplit(url).port or 0) == victim}
            cluster.kill(victim)
            killed = time.monotonic()
            while {*(await states()).values()} == {"ready"}:
                assert time.monotonic() - killed < 30, "nobody noticed"
                await asyncio.sleep(0.05)
            back = await all_ready(FIRST_START_SECONDS)
            returned = time.monotonic()
            await asyncio.sleep(1)
        after = await addresses()

    during = [each for each in answered if killed < each.begun < returned]
    print(f"back after {back:.1f} s; {len(answered)} requests, longest {max(a.seconds for a in answered):.2f} s")
    assert {200} == {each.status for each in answered}
    assert max(each.seconds for each in answered) < 10
    assert {name for name in names if any(a.by != name for a in during if a.asked == name)} == on_it
    assert {name for name in names if after[name] != where[name]} == on_it
    assert {(name, name) for name in names} == {(a.asked, a.by) for a in answered if a.begun > returned + 0.5}
