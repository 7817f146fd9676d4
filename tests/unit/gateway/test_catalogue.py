"""The catalogue: store and file together become the registry, in every process; bad documents stop nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from experts.config import ExpertConfig
from experts.dispatcher import Dispatcher
from experts.errors import ConfigError, ExpertUnavailable
from experts.health import HealthBoard
from experts.profile import SkillProfile
from experts.registry import Expert, Replica, Snapshot, static_replicas
from experts.store import SqliteStore, Store
from gateway.catalogue import Catalogue, Consequences
from gateway.catalogue.records import file_entries
from gateway.configuration import GatewayConfig
from gateway.pipeline import Pipeline

URL = "http://127.0.0.1:9001/v1"


def record(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "replicas": [{"base_url": URL}], **more}


def body(name: str, drained: bool = False, **more: Any) -> dict[str, Any]:
    return {"config": record(name, **more), "drained": drained}


class Told:
    """A runtime that only remembers what it was told to run; it cannot run `impossible`."""

    def __init__(self, impossible: str = "") -> None:
        self.wishes: list[list[str]] = []
        self.impossible = impossible

    async def settle(self, experts: Sequence[ExpertConfig]) -> None:
        names = [expert.name for expert in experts]
        if self.impossible in names:
            raise ConfigError(f"{self.impossible} cannot run here")
        self.wishes.append(names)

    def replicas(self, config: ExpertConfig) -> tuple[Replica, ...]:
        return static_replicas(config)

    def state(self, expert: str) -> str | None:
        return None

    def failure(self, expert: str) -> str:
        return ""


async def loaded(store: Store, runtime: Told | None = None, file: Sequence[str] = ("general",)) -> Catalogue:
    config = GatewayConfig.model_validate({"experts": [record(name) for name in file]})
    catalogue = Catalogue(store, file_entries(config), runtime or Told(), os.environ)
    await catalogue.load()
    return catalogue


@asynccontextmanager
async def following(catalogue: Catalogue) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(catalogue.follow(prefix)) for prefix in ("experts/", "measured/")]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(true: Any) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)


async def test_what_was_stored_before_is_there_from_the_start() -> None:
    store = SqliteStore(":memory:")
    await store.put("experts/chess", body("chess", description="Chess."))
    await store.put("experts/general", body("general", drained=True))
    catalogue = await loaded(store)

    assert ["general", "chess"] == [*catalogue.registry.snapshot]
    assert [True, False] == [each.drained for each in catalogue.registry.snapshot.values()]
    assert ["file, changed", "registered"] == [entry.source for entry in catalogue.entries.values()]


async def test_a_measurement_is_laid_over_and_its_going_takes_it_off() -> None:
    store = SqliteStore(":memory:")
    catalogue = await loaded(store)
    found = {"skills": {"math": {"accuracy": 0.9, "count": 20, "ci95": [0.7, 1]}}, "latency_ms": 50.0, "more": "words"}
    async with following(catalogue):
        await store.put("measured/general", found)
        await until(lambda: catalogue.registry.profiles[0].measured)
        measured = catalogue.registry.profiles[0]
        await store.put("measured/general", {"skills": {"math": "good"}})
        await until(lambda: not catalogue.registry.profiles[0].measured)
        await store.delete("measured/general")

    assert (0.9, 20, 50.0) == (measured.measured["math"].accuracy, measured.measured["math"].count, measured.latency_ms)


async def test_changes_of_another_process_arrive(tmp_path: Path) -> None:
    here, there = (SqliteStore(tmp_path / "kept.db", poll_seconds=0.05) for _ in range(2))
    catalogue = await loaded(here)
    seen: list[list[str]] = []

    def listener(before: Snapshot, after: Snapshot) -> None:
        seen.append([*after])

    catalogue.listeners.append(listener)
    async with following(catalogue):
        await there.put("experts/chess", body("chess"))
        await until(lambda: "chess" in catalogue.registry.snapshot)
        await there.put("experts/bad", {"config": {"name": "bad", "of_a_later_version": 1}})
        await there.put("experts/chess", body("chess", fallback=["bad", "general"]))
        await until(lambda: catalogue.registry.snapshot["chess"].config.fallback)
        await there.delete("experts/chess")
        await until(lambda: "chess" not in catalogue.registry.snapshot)
    await here.aclose()
    await there.aclose()

    assert [["general", "chess"], ["general", "chess"], ["general"]] == seen


async def test_what_a_watcher_says_late_does_not_bring_back_what_was_removed() -> None:
    store = SqliteStore(":memory:")
    catalogue = await loaded(store)
    document = await store.put("experts/chess", body("chess"))
    catalogue.took(document)
    await store.delete("experts/chess")
    catalogue.forgot("experts/chess")
    catalogue.took(document)

    assert ["general"] == [*catalogue.registry.snapshot]


async def test_current_reads_through_what_was_not_yet_told() -> None:
    store = SqliteStore(":memory:")
    catalogue = await loaded(store)
    await store.put("experts/chess", body("chess"))
    found = await catalogue.current("chess")
    await store.delete("experts/chess")

    assert found is not None
    assert "chess" == found.name
    assert None is await catalogue.current("chess")
    assert ["general"] == [*catalogue.registry.snapshot]


async def test_profiles_stay_the_same_object_until_they_change() -> None:
    store = SqliteStore(":memory:")
    catalogue = await loaded(store)
    before = catalogue.registry.profiles
    catalogue.took(await store.put("experts/general", body("general", limits={"max_in_flight": 3}, drained=True)))

    assert before is catalogue.registry.profiles
    assert catalogue.registry.snapshot["general"].drained


async def test_a_registered_expert_that_cannot_run_here_does_not_stop_the_start_and_one_of_the_file_does() -> None:
    store = SqliteStore(":memory:")
    await store.put("experts/big", body("big"))
    runtime = Told(impossible="big")
    await loaded(store, runtime)

    assert [["general"]] == runtime.wishes
    with pytest.raises(ConfigError):
        await loaded(SqliteStore(":memory:"), Told(impossible="general"))


async def test_who_left_is_kept_running_until_its_last_call_has_ended() -> None:
    store, runtime = SqliteStore(":memory:"), Told()
    catalogue = await loaded(store, runtime)
    dispatcher = Dispatcher(catalogue.registry, {}, HealthBoard())
    consequences = Consequences(catalogue, dispatcher, cast(Pipeline, Routed()), Unreachable())
    async with AsyncExitStack() as stack:
        consequences.begin(stack)
        catalogue.took(await store.put("experts/own", launched("own")))
        await until(lambda: runtime.wishes[-1] == ["general", "own"])
        dispatcher.under_way["own"] += 1
        await store.delete("experts/own")
        catalogue.forgot("experts/own")
        assert await consequences.settling.caught_up(5)
        during = runtime.wishes[-1]
        dispatcher.under_way["own"] -= 1
        await until(lambda: runtime.wishes[-1] == ["general"])

    assert ["general", "own"] == during


async def test_the_router_learns_of_new_profiles_and_not_of_other_changes() -> None:
    store, routed = SqliteStore(":memory:"), Routed()
    catalogue = await loaded(store)
    dispatcher = Dispatcher(catalogue.registry, {}, HealthBoard())
    consequences = Consequences(catalogue, dispatcher, cast(Pipeline, routed), Unreachable())
    async with AsyncExitStack() as stack:
        consequences.begin(stack)
        for number in range(5):
            catalogue.took(await store.put(f"experts/e{number}", body(f"e{number}")))
        assert await consequences.routing.caught_up(5)
        once = list(routed.seen)
        catalogue.took(await store.put("experts/e0", body("e0", drained=True, limits={"max_in_flight": 2})))
        assert await consequences.routing.caught_up(5)

    assert [["general", "e0", "e1", "e2", "e3", "e4"]] == once == routed.seen


class Routed:
    """A pipeline and its router in one: remembers whose profiles it was given."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.router = self

    async def with_profiles(self, profiles: Sequence[SkillProfile]) -> Routed:
        self.seen.append([profile.expert for profile in profiles])
        return self


class Unreachable:
    """Servers that nobody reaches."""

    async def probe(self, expert: Expert, replica: Replica) -> None:
        raise ExpertUnavailable(expert.name, "nobody is there")


def launched(name: str) -> dict[str, Any]:
    return {"config": {"name": name, "backend": "vllm", "launch": {"model": "m"}}, "drained": False}


async def test_a_store_that_cannot_be_read_leaves_what_the_file_says() -> None:
    store = SqliteStore("/dev/null/kept.db")
    catalogue = await loaded(store)

    assert ["general"] == [*catalogue.registry.snapshot]
