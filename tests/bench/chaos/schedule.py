"""What goes wrong when: a seed and a length make a list of faults, always the same. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from tests.bench.chaos.expert import FAULTS

Place = Literal["replica", "redis", "gateway"]
CALM_AT_END_SECONDS = 12.0
"""Nothing begins so late that it, and the rest a replica gets after faults, would reach into the last check."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that goes wrong: what, at which of its kind (several for a storm), from when, for how long; seconds."""

    at: float
    seconds: float
    place: Place
    kind: str
    targets: tuple[int, ...]


def schedule(seconds: float, seed: int, replicas: int, gateways: int) -> list[Fault]:
    """Return the faults of one run, in order."""
    dice, until = random.Random(seed), seconds - CALM_AT_END_SECONDS
    found = [
        *_replica_faults(dice, until, replicas),
        *_redis_faults(dice, until),
        *_gateway_faults(dice, until, gateways),
    ]
    return sorted(fault for fault in found if fault.at + fault.seconds <= until)


def _replica_faults(dice: random.Random, until: float, replicas: int) -> list[Fault]:
    """A fault every second or two; of six one is a storm over most replicas, of five one a kill."""
    found, at = [], 3.0
    while at < until:
        storm = dice.random() < 0.15
        kind = dice.choice(("429", "500", "503")) if storm else "kill" if dice.random() < 0.2 else dice.choice(FAULTS)
        count = dice.randint(replicas // 2, replicas) if storm else 1
        targets = tuple(sorted(dice.sample(range(replicas), count)))
        found.append(Fault(at, dice.uniform(1, 3 if storm else 7), "replica", kind, targets))
        at += dice.uniform(0.5, 2.5)
    return found


def _redis_faults(dice: random.Random, until: float) -> list[Fault]:
    """Redis goes away for a few seconds in every half minute."""
    found, at = [], dice.uniform(8, 14)
    while at < until:
        found.append(Fault(at, dice.uniform(2, 6), "redis", "kill", (0,)))
        at += dice.uniform(25, 40)
    return found


def _gateway_faults(dice: random.Random, until: float, gateways: int) -> list[Fault]:
    """Gateways are killed and told to end by turns, one at a time; each begins again at once."""
    found, at, number = [], 18.0, 0
    while at < until:
        found.append(Fault(at, 2.0, "gateway", ("SIGKILL", "SIGTERM")[number % 2], (number // 2 % gateways,)))
        at, number = at + dice.uniform(28, 40), number + 1
    return found
