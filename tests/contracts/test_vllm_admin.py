"""What only vLLM has, over real sockets: adapters come and go, the server sleeps, tokens are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from experts.backends import VllmBackend, make_client
from experts.errors import ExpertRejected, ExpertUnavailable
from experts.registry import Replica
from tests.fakes.expert import FakeExpert, FakeVllm, serving


@pytest.fixture
async def backend() -> AsyncIterator[VllmBackend]:
    async with make_client() as client:
        yield VllmBackend(client)


async def test_an_adapter_is_loaded_listed_and_unloaded(backend: VllmBackend) -> None:
    fake = FakeExpert(models=("base",), vllm=FakeVllm())
    async with serving(fake):
        at = Replica(fake.url)
        await backend.load_adapter("tax", at, "tax", "/adapters/tax")
        assert await backend.models("tax", at) == {"base": "", "tax": "/adapters/tax"}
        await backend.unload_adapter("tax", at, "tax")
        assert await backend.models("tax", at) == {"base": ""}


async def test_loading_and_unloading_twice_change_nothing(backend: VllmBackend) -> None:
    fake = FakeExpert(vllm=FakeVllm())
    async with serving(fake):
        for _ in range(2):
            await backend.load_adapter("tax", Replica(fake.url), "tax", "/adapters/tax")
        for _ in range(2):
            await backend.unload_adapter("tax", Replica(fake.url), "tax")


async def test_vllms_reason_not_to_take_an_adapter_is_passed_on(backend: VllmBackend) -> None:
    fake = FakeExpert(vllm=FakeVllm(refusal="LoRA rank 64 is greater than max_lora_rank 16."))
    async with serving(fake):
        with pytest.raises(ExpertRejected, match="vLLM does not take the adapter 'tax': LoRA rank 64 is greater"):
            await backend.load_adapter("tax", Replica(fake.url), "tax", "/adapters/tax")


async def test_a_server_not_started_for_it_is_told_apart_and_how_to_start_it(backend: VllmBackend) -> None:
    fake = FakeExpert()
    async with serving(fake):
        at = Replica(fake.url)
        with pytest.raises(ExpertRejected, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
            await backend.load_adapter("tax", at, "tax", "/adapters/tax")
        with pytest.raises(ExpertRejected, match="--enable-sleep-mode and VLLM_SERVER_DEV_MODE=1"):
            await backend.sleep("law", at)


async def test_a_server_sleeps_and_wakes(backend: VllmBackend) -> None:
    fake = FakeExpert(vllm=(vllm := FakeVllm()))
    async with serving(fake):
        at = Replica(fake.url)
        await backend.sleep("law", at, level=2)
        assert (vllm.asleep, await backend.is_sleeping("law", at)) == (2, True)
        await backend.wake("law", at)
        assert not await backend.is_sleeping("law", at)


async def test_slots_are_listed_and_emptied(backend: VllmBackend) -> None:
    fake = FakeExpert(vllm=FakeVllm(held={1, 2}))
    async with serving(fake):
        at = Replica(fake.url)
        assert await backend.adapter_ids("law", at) == {1, 2}
        await backend.drop_adapter("law", at, 2)
        await backend.drop_adapter("law", at, 1)
        assert await backend.adapter_ids("law", at) == set()


async def test_nobody_listening_is_unavailable(backend: VllmBackend) -> None:
    with pytest.raises(ExpertUnavailable):
        await backend.load_adapter("tax", Replica("http://127.0.0.1:9/v1"), "tax", "/adapters/tax")
