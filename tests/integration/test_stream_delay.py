"""A stream's chunks leave when they are written, also on a connection that was used just before."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving

HELD_BACK_SECONDS = 0.04
"""How long Linux delays an acknowledgement; what waits for one is so late."""


async def test_the_first_token_is_not_held_back_until_the_headers_are_acknowledged() -> None:
    fake = FakeExpert(reply=lambda _: " ".join(["word"] * 30), first_token_delay=0.05)
    body: dict[str, Any] = {"model": "one", "messages": [{"role": "user", "content": "x"}], "stream": True}
    late = []
    async with serving(fake), gateway_over([expert_record("one", fake)]) as client:
        for _ in range(9):
            async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                times = [time.monotonic()] + [time.monotonic() async for _ in answer.aiter_raw()]
            late.append(max(later - earlier for earlier, later in pairwise(times)))

    assert min(late[4:]) < HELD_BACK_SECONDS / 2  # at first, and on a busy machine, a gap tells nothing
