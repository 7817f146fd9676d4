"""Promise 18, in small: after hundreds of requests of every kind, memory and descriptors are where they were.

The long run is a benchmark; this one sees a leak of a descriptor, of a task, or of thirty kilobytes a request.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.integration.promises.asking import CHAT, ask, begin, gauges, leave, until
from tests.processes import free_port, started, wait_for

A_ROUND = 20
KINDS = 6
MOST_KIB_A_REQUEST = 30.0


async def one_round(client: httpx.AsyncClient) -> None:
    """Send one request of each kind: whole, streamed, fused, failing, over the limit of time, left in the middle."""
    left = asyncio.create_task(begin(client, ask("long", stream=True)))
    answers = await asyncio.gather(
        client.post(CHAT, json=ask()),
        client.post(CHAT, json=ask(stream=True)),
        client.post(CHAT, json=ask("council", routing={"experts": {"allow": ["math", "law"]}, "fusion": "vote"})),
        client.post(CHAT, json=ask("broken")),
        client.post(CHAT, json=ask("long", routing={"deadline_ms": 50})),
    )
    await leave(left)
    assert [200, 200, 200, 503, 504] == [answer.status_code for answer in answers]


def held(pid: int) -> tuple[int, int]:
    """Return resident KiB and open descriptors of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return resident, len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_18_memory_and_descriptors_stay_flat_over_requests_of_every_kind(tmp_path: Path) -> None:
    math, law, broken = FakeExpert(), FakeExpert(), FakeExpert(status=500)
    long = FakeExpert(reply=lambda _: " ".join(["word"] * 500), word_delay=0.02)
    fakes = {"math": math, "law": law, "broken": broken, "long": long}
    port, log, config = free_port(), tmp_path / "log", tmp_path / "config.json"
    async with serving(*fakes.values()), AsyncExitStack() as stack:
        config.write_text(json.dumps({"experts": [expert_record(name, fake) for name, fake in fakes.items()]}))
        command = ("tests.integration.one_gateway", str(config), str(port))
        process = stack.enter_context(started(*command, log=log, CONSILIUM_STORE=":memory:"))
        url = f"http://127.0.0.1:{port}"
        await asyncio.to_thread(wait_for, f"{url}/health", process, log)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        for _ in range(A_ROUND):  # what grows once, grows here
            await one_round(client)
        first, descriptors = held(process.pid)
        for _ in range(2 * A_ROUND):
            await one_round(client)
        await until(lambda: not any(fake.running for fake in fakes.values()), 2)
        last, after = held(process.pid)
        left = await gauges(client)

    assert (last - first) / (2 * A_ROUND * KINDS) < MOST_KIB_A_REQUEST
    assert after <= descriptors + 8
    assert {} == left
