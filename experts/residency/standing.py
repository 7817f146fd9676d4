"""What the residency policy knows of one server. A record, its arithmetic, and no decision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

Request: TypeAlias = int
BACKGROUND_PATIENCE = 10.0
"""How many times as long as others a background request may wait; it counts the inverse of it."""
HEAT_SECONDS = 600.0
"""How long requests of the past count for keeping a server: they fade to 1/e in this time."""


class Phase(Enum):
    """Where a server is. In all but ASLEEP it holds its memory."""

    ASLEEP = "asleep"
    WAKING = "waking"
    RESIDENT = "resident"
    SLEEPING = "falling asleep"


@dataclass(frozen=True, slots=True)
class Server:
    """One thing that sleeps and wakes as a whole: a base model's server with the adapters that ride on it.

    Args:
        need_gib: memory it holds unless asleep.
        load_seconds: a guess of how long waking takes, until it was measured.
        sleep_after_seconds: put to sleep when nobody asked for so long; None never.
        pinned: never put to sleep to make room.
        seats: the GPUs it sits on, by number, and the share of each that it takes; empty: not known, or no GPU.
    """

    name: str
    need_gib: float = 0.0
    load_seconds: float = 60.0
    sleep_after_seconds: float | None = None
    pinned: bool = False
    seats: Mapping[int, float] = field(default_factory=dict)


@dataclass(slots=True)
class Queue:
    """Requests that wait, oldest first, by when they were asked."""

    asked: dict[Request, float] = field(default_factory=dict)
    total: float = 0.0

    def add(self, request: Request, now: float) -> None:
        """Append a request."""
        self.asked[request] = now
        self.total += now

    def drop(self, request: Request) -> bool:
        """Take one out; say whether it was here."""
        asked = self.asked.pop(request, None)
        self.total -= asked or 0.0
        return asked is not None

    def take(self) -> tuple[Request, ...]:
        """Take out all."""
        taken = tuple(self.asked)
        self.asked.clear()
        self.total = 0.0
        return taken

    def oldest(self) -> float:
        """Return when the oldest was asked; infinity when none waits."""
        return next(iter(self.asked.values()), math.inf)

    def weight(self, now: float, max_wait_seconds: float) -> float:
        """Return the requests counted, each once more for every `max_wait_seconds` it has waited."""
        count = len(self.asked)
        return count + (count * now - self.total) / max_wait_seconds


@dataclass(slots=True, eq=False)
class Standing:
    """One server's standing. Times are on the caller's clock, in seconds.

    Attributes:
        draining: resident, but finishing what runs there; others wait.
        dismissed: told to sleep by the operator; holds until somebody asks again.
        wanted_at: when the operator asked to wake it; None when that is done.
        retry_at: not tried before this time, after a failure.
    """

    server: Server
    phase: Phase = Phase.ASLEEP
    online: Queue = field(default_factory=Queue)
    background: Queue = field(default_factory=Queue)
    in_flight: set[Request] = field(default_factory=set)
    draining: bool = False
    dismissed: bool = False
    wanted_at: float | None = None
    changed_at: float = 0.0
    used_at: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    load_seconds: float = 0.0
    measured: bool = False
    heat: float = 0.0
    heated_at: float = 0.0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self.online.asked) + len(self.background.asked)

    @property
    def idle(self) -> bool:
        """Whether it is awake and nobody uses it."""
        return self.phase is Phase.RESIDENT and not self.in_flight and not self.waiting

    @property
    def open(self) -> bool:
        """Whether a request may begin at once."""
        return self.phase is Phase.RESIDENT and not self.draining and not self.dismissed

    def due_at(self, max_wait_seconds: float) -> float:
        """Return when the oldest of those who wait will have waited too long; infinity when none waits."""
        online = self.online.oldest() + max_wait_seconds
        background = self.background.oldest() + BACKGROUND_PATIENCE * max_wait_seconds
        return min(online, background, math.inf if self.wanted_at is None else self.wanted_at)

    def urgency(self, now: float, max_wait_seconds: float) -> float:
        """Return what waking it is worth: those who wait, weighed by age, for each second that loading takes."""
        patience = BACKGROUND_PATIENCE * max_wait_seconds
        behind = self.background.weight(now, patience) / BACKGROUND_PATIENCE
        return (self.online.weight(now, max_wait_seconds) + behind) / max(self.load_seconds, 0.001)

    def worth(self, now: float) -> float:
        """Return what keeping it is worth: requests of late times the seconds that loading it again takes."""
        return self.heat * math.exp((self.heated_at - now) / HEAT_SECONDS) * self.load_seconds

    def warm(self, now: float) -> None:
        """Count one request for `worth`."""
        self.heat = 1.0 + self.heat * math.exp((self.heated_at - now) / HEAT_SECONDS)
        self.heated_at = self.used_at = now

    def take(self) -> tuple[Request, ...]:
        """Take out everybody who waits, online ones first."""
        return (*self.online.take(), *self.background.take())
