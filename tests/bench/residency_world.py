"""A world of servers that take time to wake, in which a residency policy can be played. Discrete events, no waiting.

A server answers up to `places` requests side by side, each for its own service time, and the rest one after another.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from experts.residency.policy import Orders


class Policy(Protocol):
    """What is played; `ResidencyPolicy`, or another way of doing it."""

    def asked(self, now: float, server: str, request: int, *, background: bool = False) -> Orders: ...

    def ended(self, now: float, request: int) -> Orders: ...

    def woke(self, now: float, server: str) -> Orders: ...

    def wake_failed(self, now: float, server: str) -> Orders: ...

    def slept(self, now: float, server: str) -> Orders: ...

    def tick(self, now: float) -> Orders: ...

    def alarm(self, now: float) -> float: ...


@dataclass(frozen=True, slots=True)
class Job:
    """One request: when it comes, for which server, how long it is answered."""

    at: float
    server: str
    service_seconds: float
    background: bool = False


@dataclass(slots=True)
class Played:
    """What happened. `admitted` (the policy let it through), `begun` (the server began with it) and `done` are times by
    job number; `refused` lists those turned away.
    """

    admitted: dict[int, float] = field(default_factory=dict)
    begun: dict[int, float] = field(default_factory=dict)
    done: dict[int, float] = field(default_factory=dict)
    refused: list[int] = field(default_factory=list)
    loads: Counter[str] = field(default_factory=Counter)
    awake: set[str] = field(default_factory=set)
    running: dict[str, set[int]] = field(default_factory=dict)


class World:
    """Play jobs against a policy.

    Args:
        load_seconds, sleep_seconds: how long waking and going to sleep take, by server and for all.
        places: requests a server answers side by side.
        failing: how many of a server's first attempts to wake fail.
        watch: called after every event with the time, to check what must always hold.
    """

    def __init__(
        self,
        policy: Policy,
        load_seconds: Mapping[str, float],
        *,
        sleep_seconds: float = 0.0,
        places: int = 1_000_000,
        failing: Mapping[str, int] | None = None,
        watch: Callable[[float, Played], None] = lambda now, played: None,
    ) -> None:
        self.policy, self.load_seconds, self.sleep_seconds = policy, load_seconds, sleep_seconds
        self.places, self.failing, self.watch = places, Counter(failing or {}), watch
        self.played = Played(running={name: set() for name in load_seconds})
        self._lines: dict[str, deque[int]] = {name: deque() for name in load_seconds}
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = itertools.count()

    def play(self, jobs: list[Job]) -> Played:
        """Run until nothing is left to happen."""
        self._jobs = jobs
        for number, job in enumerate(jobs):
            self._at(job.at, partial(self._asked, number, job))
        now = 0.0
        while self._events or not self._finished():
            alarm = self.policy.alarm(now)
            at = self._events[0][0] if self._events else math.inf
            now = min(at, alarm)
            if now == math.inf:
                break
            if alarm < at:
                self._carry_out(now, self.policy.tick(now))
            else:
                heapq.heappop(self._events)[2](now)
            self.watch(now, self.played)
        return self.played

    def _finished(self) -> bool:
        return len(self.played.done) + len(self.played.refused) == len(self._jobs)

    def _at(self, when: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._number), what))

    def _asked(self, number: int, job: Job, now: float) -> None:
        self._carry_out(now, self.policy.asked(now, job.server, number, background=job.background))

    def _carry_out(self, now: float, orders: Orders) -> None:
        for name in orders.sleep:
            assert not self.played.running[name], f"{name} is put to sleep while it answers"
            self._at(now + self.sleep_seconds, partial(self._slept, name))
        for name in orders.wake:
            assert name not in self.played.awake, f"{name} is woken twice"
            self.played.awake.add(name)
            self._at(now + self.load_seconds[name], partial(self._woke, name))
        self.played.refused += orders.refuse
        for number in orders.begin:
            server = self._jobs[number].server
            assert server in self.played.awake, f"{server} is asked while it sleeps"
            self._lines[server].append(number)
            self.played.admitted[number] = now
        for server in {self._jobs[number].server for number in orders.begin}:
            self._serve(now, server)

    def _woke(self, server: str, now: float) -> None:
        if self.failing[server] > 0:
            self.failing[server] -= 1
            self.played.awake.discard(server)
            self._carry_out(now, self.policy.wake_failed(now, server))
            return
        self.played.loads[server] += 1
        self._carry_out(now, self.policy.woke(now, server))

    def _slept(self, server: str, now: float) -> None:
        self.played.awake.discard(server)
        self._carry_out(now, self.policy.slept(now, server))

    def _serve(self, now: float, server: str) -> None:
        line, running = self._lines[server], self.played.running[server]
        while line and len(running) < self.places:
            number = line.popleft()
            running.add(number)
            self.played.begun[number] = now
            ends = now + self._jobs[number].service_seconds
            self._at(ends, partial(self._ended, number, server))

    def _ended(self, number: int, server: str, now: float) -> None:
        self.played.done[number] = now
        self.played.running[server].discard(number)
        self._serve(now, server)
        self._carry_out(now, self.policy.ended(now, number))


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that `share` of the values do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
