"""Adapters on vLLM servers that somebody else runs, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from experts.backends import VllmBackend, make_client
from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.launch import LocalRuntime
from tests.fakes.expert import FakeExpert, FakeVllm, serving


def far(*urls: str, **fields: Any) -> ExpertConfig:
    replicas = [{"base_url": url} for url in urls]
    return ExpertConfig.model_validate({"name": "far", "backend": "vllm", "replicas": replicas, **fields})


def adapter(name: str, path: str = "/their/disk/tax", base: str = "far") -> ExpertConfig:
    return ExpertConfig.model_validate({"name": name, "adapter": {"base": base, "path": path}})


@asynccontextmanager
async def runtime_in(folder: Path) -> AsyncIterator[LocalRuntime]:
    async with make_client() as client, LocalRuntime(folder, VllmBackend(client), find=lambda: None) as runtime:
        yield runtime


async def test_an_adapter_is_loaded_on_every_replica_and_unloaded_when_it_is_gone(tmp_path: Path) -> None:
    fakes = [FakeExpert(models=("far",), vllm=FakeVllm()) for _ in range(2)]
    async with serving(*fakes), runtime_in(tmp_path) as runtime:
        base = far(*(fake.url for fake in fakes))
        await runtime.settle([base, adapter("tax")])
        assert [fake.vllm and fake.vllm.folders for fake in fakes] == [{"tax": "/their/disk/tax"}] * 2
        assert [each.base_url for each in runtime.replicas(adapter("tax"))] == [fake.url for fake in fakes]
        assert runtime.state("tax") is None
        await runtime.settle([base])
        assert [fake.vllm and fake.vllm.folders for fake in fakes] == [{}, {}]


async def test_what_was_there_before_stays_when_the_expert_goes(tmp_path: Path) -> None:
    fake = FakeExpert(models=("far",), vllm=FakeVllm(folders={"tax": "/elsewhere", "other": "/o"}))
    async with serving(fake), runtime_in(tmp_path) as runtime:
        await runtime.settle([far(fake.url), adapter("tax")])
        assert runtime.state("tax") is None
        await runtime.settle([far(fake.url)])
        assert fake.vllm is not None
        assert fake.vllm.folders == {"tax": "/elsewhere", "other": "/o"}


async def test_a_refusal_is_the_adapters_failure(tmp_path: Path) -> None:
    fake = FakeExpert(models=("far",), vllm=FakeVllm(refusal="No adapter found for /their/disk/tax"))
    async with serving(fake), runtime_in(tmp_path) as runtime:
        await runtime.settle([far(fake.url), adapter("tax")])
        assert runtime.state("tax") == "failed"
        assert runtime.failure("tax") == "vLLM does not take the adapter 'tax': No adapter found for /their/disk/tax"
        assert fake.vllm is not None
        fake.vllm.refusal = ""
        await runtime.settle([far(fake.url), adapter("tax")])
        assert (runtime.state("tax"), runtime.failure("tax")) == (None, "")


async def test_a_server_that_forgot_is_told_again(tmp_path: Path) -> None:
    fake = FakeExpert(models=("far",), vllm=FakeVllm())
    async with serving(fake), runtime_in(tmp_path) as runtime:
        wish = [far(fake.url), adapter("tax")]
        await runtime.settle(wish)
        assert fake.vllm is not None
        fake.vllm.folders.clear()
        await runtime.settle(wish)
        assert set(fake.vllm.folders) == {"tax"}


async def test_a_server_that_is_away_is_left_for_later(tmp_path: Path) -> None:
    async with runtime_in(tmp_path) as runtime:
        await runtime.settle([far("http://127.0.0.1:9/v1"), adapter("tax")])
        assert runtime.state("tax") == "starting"


async def test_behind_the_openai_backend_nothing_is_loaded(tmp_path: Path) -> None:
    fake = FakeExpert(models=("far", "tax"))
    async with serving(fake), runtime_in(tmp_path) as runtime:
        await runtime.settle([far(fake.url, backend="openai"), adapter("tax")])
        assert runtime.state("tax") is None
        assert [each.base_url for each in runtime.replicas(adapter("tax"))] == [fake.url]


async def test_an_adapter_of_an_adapter_is_refused(tmp_path: Path) -> None:
    async with runtime_in(tmp_path) as runtime:
        with pytest.raises(ConfigError, match="which is an adapter itself: set adapter.base to 'far'"):
            await runtime.settle([far("http://box/v1"), adapter("tax"), adapter("vat", base="tax")])
