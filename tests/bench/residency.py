"""Many experts on few GPUs: our residency policy beside swapping in order and beside least recently used, simulated.

    python -m tests.bench.residency [--experts 16] [--hours 8] [--measured FILE | --load-seconds 30 ...]

Requests come at random (Poisson), some experts are asked for often and most seldom (Zipf); each GPU holds one expert.
Times are given: measured ones from a FILE that `tests.bench.batching --json` wrote, or by hand. Nothing runs but the
policies themselves, so a day takes seconds. The same requests are put to every policy.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from experts.residency.policy import Bounds, ResidencyPolicy
from experts.residency.standing import Server
from tests.bench.residency_baselines import FirstCome, LeastRecent
from tests.bench.residency_world import Job, Played, Policy, World, percentile

OURS, IN_ORDER, RECENT = "ours", "in order", "least recent"


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: to wake, to sleep, and to answer one request (the mean of an exponential distribution)."""

    load: float
    sleep: float
    service: float


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on so many GPUs. Waits are in seconds, until the server begins with the request.

    `within` says whether every wait kept the bound that is stated for it (ours only).
    """

    gpus: int
    policy: str
    loads: int
    p50: float
    p95: float
    longest: float
    within: bool | None


def traffic(experts: list[str], per_minute: float, hours: float, service: float, skew: float, seed: int) -> list[Job]:
    """Return requests of some hours: Poisson arrivals, the i-th expert asked for in proportion to i ** -skew."""
    draw = random.Random(seed)
    weights = [(rank + 1) ** -skew for rank in range(len(experts))]
    jobs, now = [], 0.0
    while (now := now + draw.expovariate(per_minute / 60)) < hours * 3600:
        jobs.append(Job(now, draw.choices(experts, weights)[0], draw.expovariate(1 / service)))
    return jobs


def policies(experts: list[str], gpus: int, max_wait_seconds: float) -> dict[str, Policy]:
    """Return what is compared."""
    return {
        OURS: ResidencyPolicy([Server(name) for name in experts], Bounds(gpus, None, max_wait_seconds)),
        IN_ORDER: FirstCome(experts, gpus),
        RECENT: LeastRecent(experts, gpus),
    }


def keeps_the_bound(played: Played, jobs: list[Job], max_wait_seconds: float, times: Times) -> bool:
    """Say whether every request was let through within W + (n + 2) * (D + S + L); see `experts.residency.policy`."""
    drain = max((played.done[number] - at for number, at in played.admitted.items()), default=0.0)
    turn = drain + times.sleep + times.load
    waiting: dict[int, str] = {}
    for number, job in enumerate(jobs):
        waiting = {n: s for n, s in waiting.items() if played.admitted[n] > job.at}
        older = {server for server in waiting.values() if server != job.server}
        if played.admitted[number] - job.at > max_wait_seconds + (len(older) + 2) * turn:
            return False
        waiting[number] = job.server
    return True


def rows(jobs: list[Job], experts: list[str], gpus: int, times: Times, places: int, max_wait: float) -> list[Row]:
    """Play the jobs against every policy."""
    found = []
    for name, policy in policies(experts, gpus, max_wait).items():
        world = World(policy, dict.fromkeys(experts, times.load), sleep_seconds=times.sleep, places=places)
        played = world.play(jobs)
        waits = [played.begun[number] - job.at for number, job in enumerate(jobs)]
        shares = percentile(waits, 0.5), percentile(waits, 0.95), max(waits)
        within = keeps_the_bound(played, jobs, max_wait, times) if name == OURS else None
        found.append(Row(gpus, name, played.loads.total(), *shares, within))
    return found


def table(found: list[Row], jobs: int) -> str:
    """Return the rows as a table in Markdown."""
    lines = ["| GPUs | policy | loads per 100 requests | wait p50, s | p95, s | longest, s | bound |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in found:
        bound = {True: "kept", False: "broken", None: "none"}[row.within]
        swaps = 100 * row.loads / jobs
        lines.append(
            f"| {row.gpus} | {row.policy} | {swaps:.1f} | {row.p50:.1f} | {row.p95:.1f} | {row.longest:.0f} | {bound} |"
        )
    return "\n".join(lines)


def times_of(options: argparse.Namespace) -> Times:
    """Return the times to play with: measured, or given."""
    if options.measured is None:
        return Times(options.load_seconds, options.sleep_seconds, options.service_seconds)
    read = json.loads(options.measured.read_text())
    return Times(read["load_seconds"], read["sleep_seconds"], read["service_seconds"])


def main() -> int:
    """Print the table; return 1 when our bound was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experts", type=int, default=16)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--per-minute", type=float, default=10, help="requests")
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--skew", type=float, default=1.0, help="exponent of Zipf's law")
    parser.add_argument("--load-seconds", type=float, default=30)
    parser.add_argument("--sleep-seconds", type=float, default=1)
    parser.add_argument("--service-seconds", type=float, default=5)
    parser.add_argument("--places", type=int, default=16, help="requests a server answers side by side")
    parser.add_argument("--max-wait-seconds", type=float, default=60)
    parser.add_argument("--measured", type=Path, help="JSON with load_seconds, sleep_seconds, service_seconds")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    times, experts = times_of(options), [f"e{number:02d}" for number in range(options.experts)]
    jobs = traffic(experts, options.per_minute, options.hours, times.service, options.skew, options.seed)
    found = []
    for gpus in options.gpus:
        found += rows(jobs, experts, gpus, times, options.places, options.max_wait_seconds)
    print(f"{len(jobs)} requests in {options.hours:g} h for {len(experts)} experts; seconds: {times}\n")
    print(table(found, len(jobs)))
    return 1 if any(row.within is False for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
