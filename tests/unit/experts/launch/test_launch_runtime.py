"""Experts come and go on this machine, against a stand-in for vLLM that forgets and spoils as the real one does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from experts.backends import VllmBackend, make_client
from experts.config import ExpertConfig
from experts.errors import ConfigError, ExpertOverloaded, ExpertRejected
from experts.launch.runtime import LocalRuntime
from experts.launch.vllm import ServerSpec
from tests.unit.experts.launch.fake_vllm import fake_environment


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))


def launched(name: str, **launch: Any) -> ExpertConfig:
    return ExpertConfig.model_validate({"name": name, "backend": "vllm", "launch": {"model": "org/m", **launch}})


def adapter(name: str, path: str = "", base: str = "law") -> ExpertConfig:
    return ExpertConfig.model_validate({"name": name, "adapter": {"base": base, "path": path or name}})


def write_adapter(folder: Path, rank: int = 8) -> None:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("tax", "tort", "sea", "air"):
        write_adapter(tmp_path / name)
    return tmp_path


@asynccontextmanager
async def runtime_in(root: Path, kind: Literal["cpu", "gpu"] = "cpu", **options: Any) -> AsyncIterator[LocalRuntime]:
    environment = fake_environment(root, kind)
    async with (
        make_client() as client,
        LocalRuntime(root, VllmBackend(client), find=lambda: environment, **options) as runtime,
    ):
        yield runtime


async def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


async def ready(runtime: LocalRuntime, *experts: str) -> None:
    await until(lambda: all(runtime.state(expert) == "ready" for expert in experts))


async def says(runtime: LocalRuntime, config: ExpertConfig) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        (replica,) = runtime.replicas(config)
        body = {"model": config.served_model, "prompt": "x", "max_tokens": 1}
        answer = (await client.post(f"{replica.base_url}/completions", json=body)).json()
    return str(answer["choices"][0]["text"] if "choices" in answer else answer["error"]["message"])


def pids(runtime: LocalRuntime) -> dict[str, int | None]:
    assert runtime.fleet is not None
    return {name: runtime.fleet.server(name).guard_pid for name in runtime.fleet.specs}


def spec(runtime: LocalRuntime, name: str) -> ServerSpec:
    assert runtime.fleet is not None
    return runtime.fleet.specs[name]


async def test_servers_start_for_new_experts_and_stop_for_those_gone(root: Path) -> None:
    async with runtime_in(root) as runtime:
        await runtime.settle([launched("law"), launched("code")])
        await ready(runtime, "law", "code")
        before = pids(runtime)
        await runtime.settle([launched("code")])
        assert pids(runtime) == {"code": before["code"]}
        assert runtime.state("law") is None


async def test_settling_twice_changes_nothing(root: Path) -> None:
    wish = [launched("law"), adapter("tax")]
    async with runtime_in(root) as runtime:
        await runtime.settle(wish)
        await ready(runtime, "law", "tax")
        before = pids(runtime)
        await runtime.settle(wish)
        assert pids(runtime) == before
        assert runtime.state("tax") == "ready"


async def test_a_changed_launch_section_starts_the_server_anew(root: Path) -> None:
    async with runtime_in(root) as runtime:
        await runtime.settle([launched("law"), launched("code")])
        await ready(runtime, "law", "code")
        before = pids(runtime)
        await runtime.settle([launched("law", args=["--max-model-len", "64"]), launched("code")])
        await ready(runtime, "law")
        after = pids(runtime)
        assert (after["code"], after["law"] != before["law"]) == (before["code"], True)
        assert spec(runtime, "law").args == ("--max-model-len", "64")


async def test_a_description_that_changed_leaves_the_server_alone(root: Path) -> None:
    async with runtime_in(root) as runtime:
        await runtime.settle([launched("law")])
        await ready(runtime, "law")
        before = pids(runtime)
        await runtime.settle([launched("law").model_copy(update={"description": "statutes"})])
        assert pids(runtime) == before


async def test_an_adapter_is_loaded_and_unloaded_while_its_base_runs(root: Path) -> None:
    base, tax = launched("law", max_adapters=2), adapter("tax")
    async with runtime_in(root) as runtime:
        await runtime.settle([base])
        await ready(runtime, "law")
        before = pids(runtime)
        await runtime.settle([base, tax])
        assert runtime.state("tax") == "ready"
        assert await says(runtime, tax) == "law with tax"
        replicas = runtime.replicas(tax)
        await runtime.settle([base])
        assert pids(runtime) == before
        assert runtime.state("tax") is None
        assert replicas == runtime.replicas(base)


async def test_a_base_started_without_adapters_is_started_anew_once(root: Path) -> None:
    async with runtime_in(root) as runtime:
        await runtime.settle([launched("law")])
        await ready(runtime, "law")
        first = pids(runtime)
        await runtime.settle([launched("law"), adapter("tax")])
        await ready(runtime, "law", "tax")
        second = pids(runtime)
        await runtime.settle([launched("law"), adapter("tax"), adapter("tort")])
        assert runtime.state("tort") == "ready"
        assert first != second == pids(runtime)


async def test_however_adapters_come_and_go_the_base_answers_as_itself(root: Path) -> None:
    base = launched("law", max_adapters=2)
    async with runtime_in(root) as runtime:
        await runtime.settle([base])
        await ready(runtime, "law")
        for names in (["tax"], ["tort"], ["tax", "sea"], ["air", "sea"], ["tort", "tax", "air"], [], ["sea", "tax"]):
            riders = [adapter(name) for name in names]
            await runtime.settle([base, *riders])
            for rider in riders:
                async with runtime.holding(rider.name, time.monotonic() + 5):
                    assert await says(runtime, rider) == f"law with {rider.name}"
                assert await says(runtime, base) == "base"


async def test_the_least_recently_used_adapter_makes_way_and_comes_back_when_asked(root: Path) -> None:
    wish = [launched("law", max_adapters=1), adapter("tax"), adapter("tort")]
    async with runtime_in(root) as runtime:
        await runtime.settle(wish)
        await ready(runtime, "law", "tax", "tort")
        assert "does not exist" in await says(runtime, adapter("tort"))
        for name in ("tort", "tax", "tort"):
            async with runtime.holding(name, time.monotonic() + 5):
                assert await says(runtime, adapter(name)) == f"law with {name}"
                assert runtime.state("tax") == runtime.state("tort") == "ready"


async def test_who_is_new_is_tried_at_once_even_where_all_places_are_taken(root: Path) -> None:
    base, odd = launched("law", max_adapters=1), adapter("odd")
    write_adapter(root / "odd")
    (root / "odd" / "adapter_config.json").write_text(json.dumps({"r": 8, "refused_with": "no such module"}))
    async with runtime_in(root) as runtime:
        await runtime.settle([base, adapter("tax")])
        await ready(runtime, "law", "tax")
        await runtime.settle([base, adapter("tax"), adapter("tort")])
        assert await says(runtime, adapter("tort")) == "law with tort"
        await runtime.settle([base, adapter("tax"), adapter("tort"), odd])
        assert (runtime.state("odd"), runtime.state("tax"), runtime.state("tort")) == ("failed", "ready", "ready")
        async with runtime.holding("tax", time.monotonic() + 5):
            assert await says(runtime, adapter("tax")) == "law with tax"


async def test_an_adapter_in_use_is_waited_for(root: Path) -> None:
    wish = [launched("law", max_adapters=1), adapter("tax"), adapter("tort")]
    async with runtime_in(root) as runtime:
        await runtime.settle(wish)
        await ready(runtime, "law", "tax")

        async def ask(name: str) -> str:
            async with runtime.holding(name, time.monotonic() + 5):
                return await says(runtime, adapter(name))

        async with runtime.holding("tax", time.monotonic() + 5):
            waiting = asyncio.create_task(ask("tort"))
            with pytest.raises(ExpertOverloaded, match="'tort' found no free adapter place on 'law'"):
                async with runtime.holding("tort", time.monotonic() + 0.1):
                    pass
            assert await says(runtime, adapter("tax")) == "law with tax"
        assert await waiting == "law with tort"


async def test_a_stream_of_requests_for_one_adapter_does_not_starve_another(root: Path) -> None:
    wish = [launched("law", max_adapters=1), adapter("tax"), adapter("tort")]
    async with runtime_in(root) as runtime:
        await runtime.settle(wish)
        await ready(runtime, "law", "tax")

        async def use_tax(begins_after: float) -> None:
            await asyncio.sleep(begins_after)
            async with runtime.holding("tax", time.monotonic() + 20):
                await asyncio.sleep(0.3)

        overlapping = [asyncio.create_task(use_tax(0.1 * number)) for number in range(60)]
        await asyncio.sleep(0.2)
        begun = time.monotonic()
        async with runtime.holding("tort", time.monotonic() + 20):
            assert time.monotonic() - begun < 4
            assert await says(runtime, adapter("tort")) == "law with tort"
        await asyncio.gather(*overlapping)


async def test_a_server_that_died_gets_its_adapters_back(root: Path) -> None:
    base = launched("law", max_adapters=2)
    async with runtime_in(root) as runtime:
        await runtime.settle([base])
        await ready(runtime, "law")
        await runtime.settle([base, adapter("tax")])
        assert runtime.fleet is not None
        await runtime.fleet.restart("law")
        await until(lambda: runtime.state("law") != "ready")
        await ready(runtime, "law", "tax")
        assert await says(runtime, adapter("tax")) == "law with tax"


async def test_changed_weights_are_loaded_from_their_new_folder(root: Path) -> None:
    async with runtime_in(root) as runtime:
        await runtime.settle([launched("law"), adapter("tax")])
        await ready(runtime, "law", "tax")
        await runtime.settle([launched("law"), adapter("tax", "tort")])
        assert await says(runtime, adapter("tax")) == "law with tort"


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ([launched("law"), adapter("far", "nowhere")], "'far' is .*nowhere, which does not exist"),
        ([launched("law"), adapter("big")], "'big' has rank 64, .* takes up to 16: set launch.max_adapter_rank"),
        ([launched("law", max_adapters=0), adapter("tax")], "whose launch.max_adapters is 0"),
        ([launched("law", model="./none")], "which does not exist"),
        ([adapter("tax", base="nobody")], "adapter on 'nobody', which is not an expert here"),
    ],
)
async def test_what_cannot_run_is_refused_and_nothing_changes(root: Path, wish: list[ExpertConfig], why: str) -> None:
    write_adapter(root / "big", 64)
    before = [launched("law"), adapter("sea")]
    async with runtime_in(root) as runtime:
        await runtime.settle(before)
        await ready(runtime, "law", "sea")
        running = pids(runtime)
        with pytest.raises(ConfigError, match=why):
            await runtime.settle(wish)
        assert (pids(runtime), runtime.state("sea")) == (running, "ready")


async def test_what_the_server_refuses_is_failed_with_its_words_and_its_base_serves_on(root: Path) -> None:
    base, odd = launched("law", max_adapters=2), adapter("odd")
    write_adapter(root / "odd")
    (root / "odd" / "adapter_config.json").write_text(json.dumps({"r": 8, "refused_with": "DoRA is not supported"}))
    async with runtime_in(root) as runtime:
        await runtime.settle([base, odd, adapter("tax")])
        await ready(runtime, "law", "tax")
        assert runtime.state("odd") == "failed"
        assert runtime.failure("odd") == "vLLM does not take the adapter 'odd': DoRA is not supported"
        assert await says(runtime, base) == "base"
        with pytest.raises(ExpertRejected, match="DoRA"):
            async with runtime.holding("odd", time.monotonic() + 5):
                pass
        write_adapter(root / "mended")
        await runtime.settle([base, adapter("odd", "mended"), adapter("tax")])
        assert (runtime.state("odd"), runtime.failure("odd")) == ("ready", "")


async def test_a_newer_wish_supersedes_those_that_wait(root: Path) -> None:
    async with runtime_in(root) as runtime:
        wishes = [[launched("law")], [launched("law"), launched("tmp")], [launched("code")]]
        await asyncio.gather(*(runtime.settle(wish) for wish in wishes))
        assert runtime.fleet is not None
        assert set(runtime.fleet.specs) == {"code"}


async def test_without_vllm_a_launched_expert_is_refused(tmp_path: Path) -> None:
    async with make_client() as client, LocalRuntime(tmp_path, VllmBackend(client), find=lambda: None) as runtime:
        with pytest.raises(ConfigError, match="'law' is to be started .* no vLLM environment"):
            await runtime.settle([launched("law")])
        far = ExpertConfig.model_validate({"name": "far", "replicas": [{"base_url": "http://box:8000/v1"}]})
        await runtime.settle([far])
        assert [replica.base_url for replica in runtime.replicas(far)] == ["http://box:8000/v1"]
        assert runtime.state("far") is None


async def test_servers_that_are_not_to_start_are_asleep(root: Path) -> None:
    async with runtime_in(root, starts=False) as runtime:
        await runtime.settle([launched("law"), adapter("tax")])
        assert (runtime.state("law"), runtime.state("tax")) == ("asleep", "asleep")
        assert runtime.fleet is not None
        await runtime.fleet.server("law").start()
        await ready(runtime, "law", "tax")
        assert await says(runtime, adapter("tax")) == "law with tax"


async def test_a_server_in_sleep_mode_is_given_its_adapters_when_it_woke(root: Path) -> None:
    base, tax = launched("law", max_adapters=2), adapter("tax")
    async with runtime_in(root, "gpu", gpus=(), sleeps=True) as runtime, make_client() as client:
        await runtime.settle([base])
        await ready(runtime, "law")
        backend, (at,) = VllmBackend(client), runtime.replicas(base)
        await backend.sleep("law", at)
        await runtime.settle([base, tax])
        assert (runtime.state("law"), runtime.state("tax")) == ("ready", "starting")
        await backend.wake("law", at)
        async with runtime.holding("tax", time.monotonic() + 5):
            assert await says(runtime, tax) == "law with tax"
        assert runtime.state("tax") == "ready"
