"""What a shared Redis takes: the time of a write, how soon another process sees it, updates of one document.

    python -m tests.bench.shared_store [--seconds 4] [--writers 8]

A real redis-server on this machine that syncs every write to the disk, stores as gateways open them.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from experts.store import VersionConflict
from experts.store.redis import RedisStore
from tests.redis_server import redis_server


async def latencies(url: str, seconds: float) -> tuple[list[float], list[float]]:
    """Return the milliseconds of writes, and of their way to a watcher of another store."""
    ours, theirs = RedisStore(url), RedisStore(url)
    written, seen = [], []
    changes, until = theirs.watch("a"), time.monotonic() + seconds
    await ours.put("a", {"n": 0})
    await anext(changes)
    while time.monotonic() < until:
        begun = time.monotonic()
        await ours.put("a", {"n": 1})
        written.append(1000 * (time.monotonic() - begun))
        await anext(changes)
        seen.append(1000 * (time.monotonic() - begun))
    await changes.aclose()
    await asyncio.gather(ours.aclose(), theirs.aclose())
    return written, seen


async def updates(url: str, writers: int, seconds: float) -> tuple[int, int]:
    """Return how many compare-and-set updates of one document succeeded, and how many were in conflict."""
    done, lost, until = 0, 0, time.monotonic() + seconds

    async def count(store: RedisStore) -> None:
        nonlocal done, lost
        while time.monotonic() < until:
            found = await store.get("n")
            body, version = (found.body, found.version) if found else ({"n": 0}, 0)
            try:
                await store.put("n", {"n": body["n"] + 1}, expected=version)
                done += 1
            except VersionConflict:
                lost += 1

    stores = [RedisStore(url) for _ in range(writers)]
    await asyncio.gather(*(count(store) for store in stores))
    await asyncio.gather(*(store.aclose() for store in stores))
    return done, lost


async def measure(url: str, writers: int, seconds: float) -> None:
    """Print what was found."""
    written, seen = await latencies(url, seconds)
    for what, sample in (("write", written), ("seen by another's watcher", seen)):
        p99 = sorted(sample)[int(0.99 * len(sample))]
        print(f"{what}: p50 {statistics.median(sample):.1f} ms, p99 {p99:.1f} ms, {len(sample)} times")
    for count in (1, writers):
        done, lost = await updates(url, count, seconds)
        print(f"one document, {count} writers: {done / seconds:.0f} updates/s, {lost / (done + lost):.0%} in conflict")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--writers", type=int, default=8)
    chosen = parser.parse_args()
    with redis_server() as server:
        asyncio.run(measure(server.url, chosen.writers, chosen.seconds))
