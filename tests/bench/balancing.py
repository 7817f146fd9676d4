"""Which replica gets a call? Ours (least outstanding, random ties) beside power of two choices, the first, and any.

Simulated: several gateways that know only their own calls; calls come at random and take an exponential time with a
mean of 1; a replica works on eight at once and lets the others wait. Printed: mean and 99th percentile of the wait.

python -m tests.bench.balancing [--calls 60000]
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence

from experts.balancer import choose
from experts.health import HealthBoard
from experts.registry import Replica

SLOTS = 8
Choice = Callable[[Sequence[Replica], HealthBoard, random.Random], Replica]


def ours(replicas: Sequence[Replica], board: HealthBoard, rng: random.Random) -> Replica:
    """Choose as the gateway does."""
    chosen = choose(replicas, board, draw=rng.random)
    assert chosen
    return chosen


def of_two(replicas: Sequence[Replica], board: HealthBoard, rng: random.Random) -> Replica:
    """Choose the less loaded of two drawn at random."""
    return min(rng.sample(replicas, 2), key=lambda replica: board.of(replica.base_url).in_flight)


def first(replicas: Sequence[Replica], board: HealthBoard, _: random.Random) -> Replica:
    """Choose the first of those with least calls."""
    return min(replicas, key=lambda replica: board.of(replica.base_url).in_flight)


def anyone(replicas: Sequence[Replica], _: HealthBoard, rng: random.Random) -> Replica:
    """Choose blindly."""
    return rng.choice(replicas)


class World:
    """Gateways, replicas and a clock; `waits` are the times that calls stood in a replica's queue."""

    def __init__(self, gateways: int, replicas: int) -> None:
        self.boards = [HealthBoard() for _ in range(gateways)]
        self.replicas = [Replica(f"http://{number}/v1") for number in range(replicas)]
        self.waits: list[float] = []
        self._queues = {replica.base_url: deque[tuple[HealthBoard, float]]() for replica in self.replicas}
        self._busy = {replica.base_url: 0 for replica in self.replicas}
        self._ends: list[tuple[float, int, str, HealthBoard]] = []

    def run(self, choice: Choice, load: float, calls: int, rng: random.Random) -> None:
        """Let so many calls come, at this share of what the replicas can do."""
        now, rate = 0.0, load * len(self.replicas) * SLOTS
        for _ in range(calls):
            now += rng.expovariate(rate)
            self._end_until(now, rng)
            board = rng.choice(self.boards)
            url = choice(self.replicas, board, rng).base_url
            board.of(url).in_flight += 1
            self._queues[url].append((board, now))
            self._serve(url, now, rng)

    def _serve(self, url: str, now: float, rng: random.Random) -> None:
        while self._queues[url] and self._busy[url] < SLOTS:
            board, came = self._queues[url].popleft()
            self._busy[url] += 1
            self.waits.append(now - came)
            heapq.heappush(self._ends, (now + rng.expovariate(1), len(self.waits), url, board))

    def _end_until(self, now: float, rng: random.Random) -> None:
        while self._ends and self._ends[0][0] <= now:
            ended, _, url, board = heapq.heappop(self._ends)
            self._busy[url] -= 1
            board.of(url).in_flight -= 1
            self._serve(url, ended, rng)


def measured(choice: Choice, gateways: int, replicas: int, load: float, calls: int) -> str:
    """Return mean and 99th percentile of the wait, as shown."""
    world = World(gateways, replicas)
    world.run(choice, load, calls, random.Random(1))
    waits = sorted(world.waits)
    return f"{sum(waits) / len(waits):.3f} / {waits[int(0.99 * len(waits))]:.3f}"


def main(calls: int) -> None:
    """Measure and print."""
    print("| gateways | replicas | load | least of all (ours) | two choices | first of least | any |")
    print("|---|---|---|---|---|---|---|")
    for gateways, replicas in ((1, 2), (1, 4), (1, 16), (4, 4), (8, 16)):
        for load in (0.7, 0.9):
            row = (measured(choice, gateways, replicas, load, calls) for choice in (ours, of_two, first, anyone))
            print(f"| {gateways} | {replicas} | {load:g} |", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=60_000)
    main(parser.parse_args().calls)
