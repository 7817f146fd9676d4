"""One soak: a gateway gets half of what it can do, which is measured first, for long, and is weighed all along.

One gateway process with what it needs (a Redis, three experts of two replicas, as in chaos, without the faults). What
it remembers of late is bounded by `SMALL` instead of by tens of thousands: it is full when the weighing begins, as in
a gateway that has run for hours. Arrivals are in the open: a request begins when it is time, not when another has
ended. One in twelve clients leaves.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from tests.bench.chaos.clients import Clients, Tally, made_up
from tests.bench.chaos.run import idle
from tests.bench.chaos.world import World, world
from tests.bench.soak.trend import Trend, trend

CAPACITY_CLIENTS = 48
FILLS, LONGEST_FILLING_SECONDS = 2_500, 60.0
"""Requests after which the 2,000 conversations that the router remembers are full."""
SMALL = {"routing": {"learning": {"remember": 500}, "encoder": {"cache_size": 200}}}
WEIGHED_EVERY_SECONDS = 0.25
MEMORY_SHARE, MEMORY_LEAST = 0.02, 4 * 1024 * 1024
"""Growth that counts: of the level, and in bytes at least; a heap breathes by less."""
DESCRIPTORS_LEAST = 8
MOST_UNDER_WAY = 64


@dataclass
class Weights:
    """Memory in bytes and open descriptors of a process, by seconds since the load began."""

    times: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)

    async def weigh(self, pid: int, until: Callable[[], bool]) -> None:
        """Weigh until told that it is enough."""
        process, begun = psutil.Process(pid), time.monotonic()
        while not until():
            self.times.append(time.monotonic() - begun)
            self.memory.append(process.memory_info().rss)
            self.descriptors.append(process.num_fds())
            await asyncio.sleep(WEIGHED_EVERY_SECONDS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a soak found; `rate` in requests a second, `left_over` are gauges that did not return to zero."""

    tally: Tally
    rate: float
    memory: Trend
    descriptors: Trend
    left_over: list[str]

    @property
    def wrong(self) -> list[str]:
        """Return everything that must not have happened."""
        found = [*self.tally.violations, *self.left_over]
        if self.memory.grown() > max(MEMORY_SHARE * self.memory.level, MEMORY_LEAST):
            found.append(f"memory grew by {self.memory.grown() / 2**20:.1f} MiB at least: {self.memory}")
        if self.descriptors.grown() > DESCRIPTORS_LEAST:
            found.append(f"descriptors grew by {self.descriptors.grown():.0f} at least: {self.descriptors}")
        return found


async def run(folder: Path, seconds: float, seed: int) -> Outcome:
    """Soak a gateway for so long; the first fifth, two minutes at most, is the warm-up."""
    async with world(folder, gateways=1, **SMALL) as found:
        most = await capacity(found, seed)
        tally, weights, begun = Tally(), Weights(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(weights.weigh(found.gateways[0].pid, lambda: time.monotonic() > begun + seconds))
            group.create_task(in_the_open(found, tally, most / 2, seconds, seed))
        left_over = await idle(found)
    warm_up = min(120.0, seconds / 5)
    memory = trend(weights.times, weights.memory, warm_up)
    return Outcome(tally, most / 2, memory, trend(weights.times, weights.descriptors, warm_up), left_over)


async def capacity(found: World, seed: int) -> float:
    """Fill what the gateway remembers, and return the requests a second it answers to clients that never pause."""
    tally, begun = Tally(), time.monotonic()
    clients = Clients([found.gateways[0].url], lambda *_: False, tally)
    async with asyncio.TaskGroup() as group:
        group.create_task(clients.run(CAPACITY_CLIENTS, seed, 0.0))
        while tally.outcomes.total() < FILLS and time.monotonic() < begun + LONGEST_FILLING_SECONDS:
            await asyncio.sleep(0.1)
        clients.stopped = True
    return tally.outcomes.total() / (time.monotonic() - begun)


async def in_the_open(found: World, tally: Tally, rate: float, seconds: float, seed: int) -> None:
    """Begin a request whenever it is time to (Poisson arrivals); what piles up on a busy machine is left out."""
    dice, clients = random.Random(seed), Clients([found.gateways[0].url], lambda *_: False, tally)
    begun, at = time.monotonic(), 0.0
    under_way: set[asyncio.Task[str]] = set()
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(30)) as session,
        asyncio.TaskGroup() as group,
    ):
        while at < seconds:
            await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
            asked = made_up(dice)
            if len(under_way) < MOST_UNDER_WAY:
                under_way.add(task := group.create_task(clients.ask(session, 0, asked)))
                task.add_done_callback(under_way.discard)
            else:
                tally.outcomes["not sent"] += 1
            at += dice.expovariate(rate)
