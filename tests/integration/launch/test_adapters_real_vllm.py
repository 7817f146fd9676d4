"""Adapters that come and go on a real vLLM: the pocket base, one start, and what each of its models answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from experts.backends import VllmBackend, make_client
from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.launch import Fleet, LocalRuntime, find_environment, plan_servers
from tests.integration.launch.tiny import write_adapter

START_SECONDS = 300
ENVIRONMENT = find_environment()
QUESTIONS = (
    "What is 417 plus 268?",
    "What is the capital of Kenya?",
    "Give the plural of mouse.",
    "What is 9 times 12?",
)

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.long,
    pytest.mark.slow,
    pytest.mark.timeout(2 * START_SECONDS + 60),
    pytest.mark.skipif(ENVIRONMENT is None, reason="no vLLM here: create_environment makes one"),
]


def base(**launch: object) -> ExpertConfig:
    fields = {"model": "builtin:pocket/base", "max_adapter_rank": 64, **launch}
    return ExpertConfig.model_validate({"name": "base", "backend": "vllm", "launch": fields})


def adapter(name: str) -> ExpertConfig:
    return ExpertConfig.model_validate({"name": name, "adapter": {"base": "base", "path": f"builtin:pocket/{name}"}})


@asynccontextmanager
async def runtime_in(folder: Path) -> AsyncIterator[LocalRuntime]:
    async with make_client() as client, LocalRuntime(folder, VllmBackend(client)) as runtime:
        yield runtime


async def ready(runtime: LocalRuntime, *experts: str) -> None:
    async with asyncio.timeout(START_SECONDS):
        while {runtime.state(expert) for expert in experts} != {"ready"}:
            assert "failed" not in {runtime.state(expert) for expert in experts}, [*map(runtime.failure, experts)]
            await asyncio.sleep(0.2)


async def ask(url: str, expert: ExpertConfig, question: str = QUESTIONS[0]) -> httpx.Response:
    """Ask greedily for at most 96 tokens."""
    body = {"model": expert.served_model, "messages": [{"role": "user", "content": question}]}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return await client.post(f"{url}/chat/completions", json={**body, "temperature": 0, "max_tokens": 96})


async def answers_at(url: str, expert: ExpertConfig) -> list[str]:
    """Return the answers to every question."""
    return [
        str((await ask(url, expert, question)).raise_for_status().json()["choices"][0]["message"]["content"])
        for question in QUESTIONS
    ]


async def answers(runtime: LocalRuntime, expert: ExpertConfig) -> list[str]:
    """Return the answers of whom the runtime says answers, with the adapter held."""
    async with runtime.holding(expert.name, time.monotonic() + 60):
        return await answers_at(runtime.replicas(expert)[0].base_url, expert)


async def is_unloaded(runtime: LocalRuntime, expert: ExpertConfig) -> bool:
    return (await ask(runtime.replicas(base())[0].base_url, expert)).status_code == 404


async def test_adapters_come_take_turns_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ENVIRONMENT is not None
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONSILIUM_VLLM_PYTHON", str(ENVIRONMENT.python))
    alone, math, geography = base(max_adapters=1), adapter("math"), adapter("geography")
    async with runtime_in(tmp_path) as runtime:
        await runtime.settle([alone])
        await ready(runtime, "base")
        plain = await answers(runtime, alone)

        await runtime.settle([alone, math])
        assert runtime.state("math") == "ready"
        by_math = await answers(runtime, math)
        assert by_math != plain
        assert "685" in by_math[0]
        assert await answers(runtime, alone) == plain

        await runtime.settle([alone, math, geography])
        for _ in range(2):  # one place: each makes way for the other
            by_geography = await answers(runtime, geography)
            assert "Nairobi" in by_geography[1]
            assert await is_unloaded(runtime, math)
            assert await answers(runtime, alone) == plain
            assert await answers(runtime, math) == by_math
            assert await is_unloaded(runtime, geography)
            assert await answers(runtime, alone) == plain

        await runtime.settle([alone])
        assert await is_unloaded(runtime, math)
        assert await is_unloaded(runtime, geography)

        with pytest.raises(ConfigError, match="hidden size"):
            await runtime.settle([alone, _for_another_model(tmp_path)])

    (spec,) = plan_servers([alone, math], tmp_path, ENVIRONMENT)
    async with Fleet([spec], ENVIRONMENT) as fleet:  # the adapter as --lora-modules loads it, from the start
        await fleet.wait_ready(START_SECONDS)
        assert await answers_at(fleet.base_url("math"), math) == by_math


def _for_another_model(folder: Path) -> ExpertConfig:
    write_adapter(folder / "tiny")
    return ExpertConfig.model_validate({"name": "tiny", "adapter": {"base": "base", "path": str(folder / "tiny")}})
