"""Places at an expert are bounded, and so is the queue for them."""

from __future__ import annotations

import asyncio

import pytest

from experts.admission import Admission
from experts.config import LimitsConfig
from experts.errors import ExpertOverloaded, ExpertTimeout

LIMITS = LimitsConfig(max_in_flight=1, max_queue=1)


async def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    admission, release = Admission(), asyncio.Event()

    async def hold() -> None:
        async with admission.place("math", LIMITS, 5):
            await release.wait()

    holders = [asyncio.create_task(hold()), asyncio.create_task(hold())]
    await asyncio.sleep(0.01)
    with pytest.raises(ExpertOverloaded, match="1 requests waiting"):
        async with admission.place("math", LIMITS, 5):
            pass
    assert (1, 1) == (admission.running["math"], admission.waiting["math"])
    release.set()
    await asyncio.gather(*holders)
    async with admission.place("math", LIMITS, 5):
        assert 1 == admission.running["math"]
    assert (0, 0) == (admission.running["math"], admission.waiting["math"])


async def test_waiting_for_a_place_ends_in_time() -> None:
    admission = Admission()
    async with admission.place("math", LIMITS, 5):
        with pytest.raises(ExpertTimeout, match="no free place in 0.05 s"):
            async with admission.place("math", LIMITS, 0.05):
                pass
    assert 0 == admission.waiting["math"]


async def test_experts_do_not_share_places() -> None:
    admission = Admission()
    async with admission.place("math", LIMITS, 5), admission.place("law", LIMITS, 0.05):
        assert {"math": 1, "law": 1} == admission.running
