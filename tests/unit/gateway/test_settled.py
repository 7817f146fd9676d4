"""Work that asks experts begins once it is known who can answer: of all, or of those it will ask."""

from __future__ import annotations

import asyncio

import pytest

from experts.config import ExpertConfig
from experts.registry import Expert, Registry
from gateway.batches import settled


def registry(*names: str) -> Registry:
    configs = [ExpertConfig.model_validate({"name": n, "replicas": [{"base_url": "http://x/v1"}]}) for n in names]
    return Registry([Expert(config, config.profile(), ()) for config in configs])


async def test_a_server_that_starts_is_waited_for() -> None:
    states = {"a": "starting", "b": "ready"}
    waiting = asyncio.create_task(settled(registry("a", "b"), states.__getitem__))
    await asyncio.sleep(0.2)
    early = waiting.done()
    states["a"] = "ready"
    await asyncio.wait_for(waiting, 5)

    assert not early


@pytest.mark.parametrize("other", ["starting", "unreachable"])
async def test_who_will_not_be_asked_is_not_waited_for(other: str) -> None:
    states = {"a": "ready", "b": other}

    await asyncio.wait_for(settled(registry("a", "b"), states.__getitem__, ["a"]), 1)
