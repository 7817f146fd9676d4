"""One run: clients ask while a schedule of faults is carried out; then all is put right and looked at."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.bench.chaos.clients import Clients, Tally
from tests.bench.chaos.schedule import Fault, schedule
from tests.bench.chaos.world import Away, World, world

STARTING_SECONDS = 1.0
"""After a gateway answers again, how long a connection to its forerunner may still turn out broken."""
CALM_SECONDS, RECOVERY_SECONDS = 5.0, 10.0
IDLE_SECONDS = 10.0
"""Longest until everything under way has ended, once nobody asks any more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found. `calm` is the load after the last fault; `left_over` are gauges that did not return to zero."""

    tally: Tally
    calm: Tally
    faults: Counter[str]
    left_over: list[str]
    seconds: float

    @property
    def wrong(self) -> list[str]:
        """Return everything that must not have happened."""
        late = [f"after the last fault: {each}: {n}" for each, n in self.calm.outcomes.items() if each not in HARMLESS]
        return [*self.tally.violations, *self.calm.violations, *late, *self.left_over]


HARMLESS = frozenset({"answered", "client left"})


async def run(folder: Path, seconds: float, seed: int, clients: int = 24) -> Outcome:
    """Run chaos for so many seconds."""
    async with world(folder) as found:
        faults = schedule(seconds, seed, len(found.replicas), len(found.gateways))
        begun, tally, calm = time.monotonic(), Tally(), Tally()
        async with asyncio.TaskGroup() as group:
            asking = Clients([each.url for each in found.gateways], found.excused, tally)
            group.create_task(asking.run(clients, seed, 0.1))
            await carried_out(found, faults, begun + seconds)
            asking.stopped = True
        await settled(found)
        async with asyncio.TaskGroup() as group:
            asking = Clients([each.url for each in found.gateways], lambda *_: False, calm)
            group.create_task(asking.run(clients, seed + 1000, 0.1))
            await asyncio.sleep(CALM_SECONDS)
            asking.stopped = True
        left_over = await idle(found)
    kinds = Counter(f"{fault.place} {fault.kind}" for fault in faults)
    return Outcome(tally, calm, kinds, left_over, time.monotonic() - begun)


async def carried_out(found: World, faults: list[Fault], until: float) -> None:
    """Have every fault happen at its time, and end; return when the time is up."""
    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for fault in faults:
            await asyncio.sleep(max(0.0, begun + fault.at - time.monotonic()))
            group.create_task(HAPPENS[fault.place](found, fault))
        await asyncio.sleep(max(0.0, until - time.monotonic()))


async def at_replicas(found: World, fault: Fault) -> None:
    """Have replicas misbehave for a while, or kill them and begin them again."""
    for target in fault.targets:
        if fault.kind == "kill":
            await found.replicas[target].end(signal.SIGKILL)
        else:
            await found.tell(target, fault.kind)
    await asyncio.sleep(fault.seconds)
    for target in fault.targets:
        if fault.kind == "kill":
            found.replicas[target].start()
        else:
            await found.tell(target, "none")


async def at_redis(found: World, fault: Fault) -> None:
    """Kill Redis and start it again."""
    found.redis.kill()
    await asyncio.sleep(fault.seconds)
    await asyncio.to_thread(found.redis.start)


async def at_gateways(found: World, fault: Fault) -> None:
    """End a gateway, one way or the other, and begin it again at once."""
    for target in fault.targets:
        process = found.gateways[target]
        process.away.append(Away(time.monotonic(), gently=fault.kind == "SIGTERM"))
        await process.end(signal.Signals[fault.kind])
        process.start()
        await process.up(found.session, "/health/readiness")
        process.away[-1].until = time.monotonic() + STARTING_SECONDS


HAPPENS = {"replica": at_replicas, "redis": at_redis, "gateway": at_gateways}


async def settled(found: World) -> None:
    """Put every replica right, and give the gateways the time to find that out."""
    for number, replica in enumerate(found.replicas):
        await replica.up(found.session, "/stats")
        await found.tell(number, "none")
    await asyncio.gather(*(each.up(found.session, "/health/readiness") for each in found.gateways))
    await asyncio.sleep(RECOVERY_SECONDS)


async def idle(found: World) -> list[str]:
    """Wait until nothing is under way anywhere, and return what still is."""
    deadline = time.monotonic() + IDLE_SECONDS
    while True:
        left = [f"gateway {n}: {g}" for n in range(len(found.gateways)) if (g := await found.gauges(n))]
        left += [
            f"replica {n} runs {running}"
            for n in range(len(found.replicas))
            if (running := (await found.stats(n))["running"])
        ]
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.2)
