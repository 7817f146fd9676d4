"""What fusion costs in time and memory: experts of known delays over real sockets, a gateway in a process of its own.

    python -m tests.bench.fusion_time [--rounds 15] [--requests 10000] [--only fan-out,quorum,leaving,memory]

fan-out   three experts and a fuser against the slowest expert alone plus the fuser alone, each through the gateway
quorum    two of three answers are enough: when the first fused token is here, when the third's server hears of it
leaving   the client goes away while candidates are awaited: when the last of their servers hears of it
memory    fused requests one after the other, 16 at a time: what the gateway's process holds, and how that grows

A row says what was asked for and what was measured; the exit status is 1 when a row misses what was asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from tests.bench.fusion_time_server import canned
from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.processes import free_port, started, wait_for

ALL = "fan-out,quorum,leaving,memory"
FAN_OUT, FIRST_TOKEN_SECONDS, CANCELLED_SECONDS, GROWTH_KIB = 1.15, 0.25, 1.0, 0.5
"""What is asked for: the ratio; seconds beyond the delays of experts and fuser; seconds; KiB a request."""
WARM_UP, AT_ONCE, SAMPLES = 3_000, 16, 20
REMEMBERED = 500
"""Decisions that feedback can be given on: kept on purpose, so bounded here before measuring begins."""


@dataclass
class Timed(FakeExpert):
    """A fake that notes when each answer ended, by itself or by being aborted."""

    ended: list[float] = field(default_factory=list)

    async def _events(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        try:
            async for event in super()._events(body):
                yield event
        finally:
            self.ended.append(time.monotonic())


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured against what was asked for."""

    what: str
    asked: str
    measured: str
    met: bool

    def __str__(self) -> str:
        return f"| {self.what} | {self.asked} | {self.measured} | {'met' if self.met else 'MISSED'} |"


@asynccontextmanager
async def gateway(records: Sequence[dict[str, Any]], **fusion: Any) -> AsyncIterator[tuple[httpx.AsyncClient, int]]:
    """Run a gateway over these experts, the last one its default; yield a client of it, and its process's id."""
    learning = {"remember": REMEMBERED}
    routing = {"policy": "uniform", "staged": False, "learning": learning, "default": records[-1]["name"]}
    with tempfile.TemporaryDirectory() as folder:
        config, log, port = Path(folder) / "config.json", Path(folder) / "log", free_port()
        config.write_text(json.dumps({"experts": records, "fusion": fusion, "routing": routing}))
        url = f"http://127.0.0.1:{port}"
        with started("tests.integration.one_gateway", str(config), str(port), log=log, **os.environ) as process:
            await asyncio.to_thread(wait_for, f"{url}/health", process, log)
            limits = httpx.Limits(max_connections=AT_ONCE)
            async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
                await ready(client, {record["name"] for record in records})
                yield client, process.pid


@asynccontextmanager
async def council_of(fakes: Mapping[str, FakeExpert], **fusion: Any) -> AsyncIterator[tuple[httpx.AsyncClient, int]]:
    """Serve these experts and run a gateway over them; the one called "fuser" writes and is no candidate."""
    async with serving(*fakes.values()):
        records = [expert_record(name, fake, routed=name != "fuser") for name, fake in fakes.items()]
        async with gateway(records, **({"fuser": "fuser"} if "fuser" in fakes else {}), **fusion) as found:
            yield found


async def ready(client: httpx.AsyncClient, names: set[str]) -> None:
    """Wait until every expert is."""
    for _ in range(400):
        states = (await client.get("/health")).json()["experts"]
        if all(states.get(name) == "ready" for name in names):
            return
        await asyncio.sleep(0.025)
    raise SystemExit("the experts did not get ready")


def body(model: str, number: int, fusion: str = "synthesize") -> dict[str, Any]:
    """Return a streamed request."""
    routing = {"fusion": fusion} if model == "council" else {}
    question = {"role": "user", "content": f"Please tell me about number {number}, with only the number."}
    return {"model": model, "messages": [question], "stream": True, "routing": routing}


async def streamed(client: httpx.AsyncClient, asked: dict[str, Any]) -> tuple[float, float]:
    """Return when (monotonic) the first and the last token of an answer were here."""
    first = last = 0.0
    async with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
        assert answer.status_code == 200, await answer.aread()
        async for line in answer.aiter_lines():
            if '"content":"' in line and '"content":""' not in line:
                last = time.monotonic()
                first = first or last
    assert first, "the answer had no text"
    return first, last


def words(count: int) -> Any:
    """Return a reply of so many words."""
    return lambda _: " ".join(["word"] * count)


async def fan_out(rounds: int) -> list[Row]:
    """Return how three experts and a fuser compare with the slowest alone plus the fuser alone."""
    delays = {"one": 0.2, "two": 0.3, "three": 0.4, "fuser": 0.2}
    fakes = {name: FakeExpert(reply=words(20), first_token_delay=s, word_delay=0.02) for name, s in delays.items()}
    taken: dict[str, list[float]] = {name: [] for name in ("three", "fuser", "council")}
    async with council_of(fakes) as (client, _):
        for number in range(-1, rounds):
            for model, seconds in taken.items():
                begun = time.monotonic()
                _, last = await streamed(client, body(model, number))
                seconds += [last - begun] if number >= 0 else []
    slowest, fuser, council = (statistics.median(taken[name]) for name in ("three", "fuser", "council"))
    ratio = council / (slowest + fuser)
    ratios = [each / (slowest + fuser) for each in taken["council"]]
    told = f"{ratio:.3f} (worst of {rounds}: {max(ratios):.3f}); {council:.2f} s for {slowest:.2f} + {fuser:.2f} s"
    return [Row("last token, fan-out of 3 and the fuser", f"<= {FAN_OUT} x both alone", told, ratio <= FAN_OUT)]


async def quorum(rounds: int) -> list[Row]:
    """Return how long after the second of three answers the fuser's first token is here, and the third arm stopped."""
    fast, second = Timed(reply=words(5), word_delay=0.01), Timed(reply=words(5), first_token_delay=0.2, word_delay=0.01)
    slow, fuser = Timed(reply=words(5_000), word_delay=0.01), Timed(reply=words(5), first_token_delay=0.1)
    named = {"fast": fast, "second": second, "slow": slow, "fuser": fuser}
    begins, stops = [], []
    async with council_of(named, quorum=2, grace_seconds=0) as (client, _):
        for number in range(-1, rounds):
            first, _ = await streamed(client, body("council", number))
            await until(lambda number=number: len(slow.ended) == number + 2)
            if number >= 0:
                begins.append(first - second.ended[-1] - fuser.first_token_delay)
                stops.append(slow.ended[-1] - second.ended[-1])
    begin, worst = statistics.median(begins), max(stops)
    own, late = 1000 * fuser.first_token_delay, 1000 * max(begins)
    begun = f"{1000 * begin:.0f} ms (worst {late:.0f}) beyond the fuser's own {own:.0f}"
    stopped = f"{1000 * statistics.median(stops):.0f} ms (worst {1000 * worst:.0f}) after the quorum"
    bound, most = f"<= {1000 * FIRST_TOKEN_SECONDS:.0f} ms", f"<= {CANCELLED_SECONDS:.0f} s"
    return [
        Row("first fused token after the quorum", bound, begun, begin <= FIRST_TOKEN_SECONDS),
        Row("the arm that is not needed stops upstream", most, stopped, worst <= CANCELLED_SECONDS),
    ]


async def leaving(rounds: int) -> list[Row]:
    """Return how long after a client has left the last candidate's server hears of it."""
    fakes = {f"e{n}": Timed(reply=words(5_000), word_delay=0.01) for n in range(3)}
    stops = []
    async with council_of(fakes) as (client, _):
        for number in range(rounds):
            try:
                async with asyncio.timeout(0.4):
                    await streamed(client, body("council", number))
            except TimeoutError:
                left = time.monotonic()
            await until(lambda number=number: all(len(fake.ended) == number + 1 for fake in fakes.values()))
            stops.append(max(fake.ended[-1] for fake in fakes.values()) - left)
    told = f"{1000 * statistics.median(stops):.0f} ms (worst {1000 * max(stops):.0f})"
    worst = max(stops) <= CANCELLED_SECONDS
    return [Row("three arms stop when the client leaves", f"<= {CANCELLED_SECONDS:.0f} s", told, worst)]


async def until(condition: Any) -> None:
    """Wait for something, at most 30 s; what was late is seen in the times noted."""
    for _ in range(3_000):
        if condition():
            return
        await asyncio.sleep(0.01)


async def memory(requests: int) -> list[Row]:
    """Return how the gateway's memory grows over fused requests, after as many as fill what it keeps on purpose."""
    turns = asyncio.Semaphore(AT_ONCE)
    async with canned("Answer: 7", names := ("one", "two", "fuser")) as urls:
        records = [
            {"name": name, "replicas": [{"base_url": url}], "routed": name != "fuser"}
            for name, url in zip(names, urls, strict=True)
        ]
        async with gateway(records, fuser="fuser") as (client, pid):

            async def one(number: int) -> None:
                async with turns:
                    await streamed(client, body("council", number, "synthesize" if number % 2 else "vote"))

            held, begun = [], time.monotonic()
            step = max(1, requests // SAMPLES)
            for start in range(-WARM_UP, requests, step):
                await asyncio.gather(*(one(number) for number in range(start, start + step)))
                if start >= 0:
                    held.append(psutil.Process(pid).memory_info().rss / 1024)
            seconds = time.monotonic() - begun
    slope = float(np.polyfit(np.arange(len(held)) * step, held, 1)[0])
    told = (
        f"{slope:+.3f} KiB a request over {requests}; {held[0] / 1024:.1f} MiB after {WARM_UP} to warm up, "
        f"{held[-1] / 1024:.1f} at the end ({(requests + WARM_UP) / seconds:.0f} requests/s)"
    )
    return [Row("memory over fused requests", f"<= {GROWTH_KIB} KiB a request", told, slope <= GROWTH_KIB)]


async def measured(only: Sequence[str], rounds: int, requests: int) -> bool:
    """Print a row for everything measured; True when all is as asked for."""
    print("| | asked | measured | |\n|---|---|---|---|")
    met = True
    for name, measure in {"fan-out": fan_out, "quorum": quorum, "leaving": leaving, "memory": memory}.items():
        if name in only:
            for row in await measure(requests if name == "memory" else rounds):
                print(row, flush=True)
                met = met and row.met
    return met


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--only", default=ALL)
    chosen = parser.parse_args()
    sys.exit(not asyncio.run(measured(chosen.only.split(","), chosen.rounds, chosen.requests)))
