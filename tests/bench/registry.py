"""Experts come and go under traffic: is any request lost, and how soon does every process know?

    python -m tests.bench.registry --seconds 120

Two gateways share one SQLite file. Requests (auto, council, streamed and whole) go to both in turn while twenty
experts are registered, changed, drained, resumed and deleted in loops through the one or the other. A change is visible
when the other process shows it. Experts and the encoder are fakes: what is measured is the gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.integration.test_two_gateways import gateways

CHURNERS = 20
RATE = 50.0
POLL_SECONDS = 0.1
GIVE_UP_SECONDS = 30.0
WORDS = 12
TOPICS = (
    "chess",
    "botany",
    "sailing",
    "knitting",
    "volcanoes",
    "heraldry",
    "beekeeping",
    "astronomy",
    "pottery",
    "rowing",
)


@dataclass
class Figures:
    """What was seen; times in seconds."""

    latencies: list[float] = field(default_factory=list)
    visible: list[float] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    answered_by: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


def question(draw: random.Random) -> str:
    """Return a question about what some expert of the moment may be for."""
    return (
        f"Please explain {draw.choice(TOPICS)} number {draw.randrange(CHURNERS)} to me, part {draw.randrange(10**6)}."
    )


async def request(client: httpx.AsyncClient, draw: random.Random, figures: Figures) -> None:
    """Send one request, whole or streamed; note how long it took, or what failed."""
    model = "council" if draw.random() < 0.1 else "auto"
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": question(draw)}]}
    if model == "council":
        body["routing"] = {"fusion": "vote"}
    if draw.random() < 0.5:
        body["stream"] = True
    begun = time.monotonic()
    try:
        response = await client.post("/v1/chat/completions", json=body)
    except httpx.HTTPError as error:
        figures.failed.append(repr(error))
        return
    figures.latencies.append(time.monotonic() - begun)
    whole = response.text.rstrip().endswith("[DONE]") if body.get("stream") else "choices" in response.text
    if response.status_code != 200 or not whole:
        figures.failed.append(f"{response.status_code} {response.text[-300:]}")
    figures.answered_by[response.headers.get("x-consilium-experts", "nobody").split(",")[0].split("-")[0]] += 1


async def traffic(clients: list[httpx.AsyncClient], rate: float, seconds: float, figures: Figures) -> None:
    """Send requests at a steady rate, whether earlier ones have been answered or not."""
    draw, begun, running = random.Random(1), time.monotonic(), set[asyncio.Task[None]]()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        task = asyncio.create_task(request(clients[number % len(clients)], draw, figures))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)


class Churner:
    """One expert that comes, changes and goes in a loop."""

    def __init__(self, number: int, fake: FakeExpert, clients: list[httpx.AsyncClient], figures: Figures) -> None:
        self.name, self._fake, self._clients, self._figures = f"churner-{number}", fake, clients, figures
        self._draw = random.Random(number)
        topic = TOPICS[number % len(TOPICS)]
        self._record = expert_record(self.name, fake, examples=[f"Please explain {topic} number {number}."])

    async def run(self, until: float) -> None:
        """Go round until then; a round begun is ended."""
        path = f"/admin/experts/{self.name}"
        await asyncio.sleep(self._draw.random())
        while time.monotonic() < until:
            await self._change("registered", "POST", "/admin/experts", self._record)
            await self._change("changed", "PATCH", path, {"limits": {"max_in_flight": self._draw.randrange(32, 256)}})
            await self._change("drained", "POST", f"{path}/drain")
            if self._draw.random() < 0.5:
                await self._change("resumed", "POST", f"{path}/resume")
            await self._change("deleted", "DELETE", f"{path}?drain_seconds=10")

    async def _change(self, what: str, method: str, path: str, body: Any = None) -> None:
        one, other = self._draw.sample(self._clients, 2)
        try:
            response = await one.request(method, path, json=body)
        except httpx.HTTPError as error:
            self._figures.failed.append(f"{what} {error!r}")
            return
        done = time.monotonic()
        if response.status_code >= 300:
            self._figures.failed.append(f"{what} {response.status_code} {response.text}")
            return
        self._figures.changes[what] += 1
        version = None if what == "deleted" else response.json()["version"]
        await self._seen(one, version, done, 0.0)
        self._figures.visible.append(await self._seen(other, version, done, GIVE_UP_SECONDS))
        await asyncio.sleep(self._draw.uniform(0.5, 2.0))

    async def _seen(self, client: httpx.AsyncClient, version: int | None, since: float, patience: float) -> float:
        """Return after how long a process shows the version (None: no expert); at most `patience`."""
        while True:
            shown = await client.get(f"/admin/experts/{self.name}")
            found = shown.json()["version"] if shown.status_code == 200 else None
            waited = time.monotonic() - since
            if found == version:
                return waited
            if waited > patience:
                self._figures.failed.append(f"{self.name} is at {found}, not {version}, after {waited:.1f} s")
                return waited
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[tuple[list[httpx.AsyncClient], list[FakeExpert]]]:
    """Run four fake servers, a generalist and a mathematician in the file, and two gateways."""
    fakes = [FakeExpert(first_token_delay=0.02, word_delay=0.01, reply=lambda _: "word " * WORDS) for _ in range(4)]
    async with serving(*fakes):
        records = [
            expert_record("general", fakes[0]),
            expert_record("math", fakes[1], domains=["math"], examples=["What is 2 + 2?"]),
        ]
        async with gateways(2, folder, records) as clients:
            yield clients, fakes


async def measured(
    folder: Path, seconds: float, rate: float = RATE, churners: int = CHURNERS
) -> tuple[Figures, Figures]:
    """Return what was seen in a short while without changes, and then with them."""
    calm, busy = Figures(), Figures()
    async with world(folder) as (clients, fakes):
        await traffic(clients, rate, min(20.0, seconds / 4), calm)
        rounds = [Churner(number, fakes[2 + number % 2], clients, busy) for number in range(churners)]
        until = time.monotonic() + seconds
        await asyncio.gather(traffic(clients, rate, seconds, busy), *(each.run(until) for each in rounds))
    return calm, busy


def milliseconds(values: list[float]) -> str:
    """Return median, 99th percentile and longest."""
    if not values:
        return "none"
    p50, p99 = np.percentile(values, [50, 99])
    return f"p50 {1000 * p50:.0f}, p99 {1000 * p99:.0f}, longest {1000 * max(values):.0f} ms"


def main() -> int:
    """Measure and print; fails when a request did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--churners", type=int, default=CHURNERS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        calm, busy = asyncio.run(measured(Path(folder), given.seconds, given.rate, given.churners))
    print(f"requests: {len(busy.latencies)} in {given.seconds:g} s, answered by {json.dumps(busy.answered_by)}")
    print(f"failed: {len(busy.failed)}, without changes {len(calm.failed)}")
    print(f"latency without changes: {milliseconds(calm.latencies)}")
    print(f"latency with changes: {milliseconds(busy.latencies)}")
    print(f"changes: {json.dumps(busy.changes)}")
    print(f"visible in the other process: {milliseconds(busy.visible)}")
    for failure in busy.failed[:10]:
        print(f"  {failure}")
    return int(bool(busy.failed))


if __name__ == "__main__":
    sys.exit(main())
