"""What others do when memory holds fewer models than there are: swap in order, or what was used least recently.

FirstCome   strictly one after the other: whoever is first in line decides what is loaded, nobody overtakes
LeastRecent requests for awake models go through at once; the longest wait gets the place of the awake model that was
            used least recently, as soon as that one is idle
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from experts.residency.policy import Orders
from experts.residency.standing import Phase


class FirstCome:
    """Swap as requests come. `places` models are awake at once."""

    overtaking = False

    def __init__(self, names: list[str], places: int) -> None:
        self.places = places
        self.phases = dict.fromkeys(names, Phase.ASLEEP)
        self.used = dict.fromkeys(names, -math.inf)
        self.in_flight: Counter[str] = Counter()
        self.line: dict[int, str] = {}
        self.servers: dict[int, str] = {}

    def asked(self, now: float, server: str, request: int, *, background: bool = False) -> Orders:
        """A request comes to the end of the line."""
        self.line[request] = self.servers[request] = server
        return self._decide(now)

    def ended(self, now: float, request: int) -> Orders:
        """A request is over."""
        self.in_flight[self.servers[request]] -= 1
        return self._decide(now)

    def woke(self, now: float, server: str) -> Orders:
        """A model is awake."""
        self.phases[server] = Phase.RESIDENT
        return self._decide(now)

    def wake_failed(self, now: float, server: str) -> Orders:
        """Nothing fails in these comparisons."""
        raise NotImplementedError(server)

    def slept(self, now: float, server: str) -> Orders:
        """A model is asleep."""
        self.phases[server] = Phase.ASLEEP
        return self._decide(now)

    def tick(self, now: float) -> Orders:
        """Time changes nothing."""
        return Orders()

    def alarm(self, now: float) -> float:
        """Wait for events only."""
        return math.inf

    def _decide(self, now: float) -> Orders:
        orders = Orders()
        for request, server in list(self.line.items()) if self.overtaking else self._from_the_front():
            if self.phases[server] is Phase.RESIDENT:
                del self.line[request]
                self.in_flight[server] += 1
                self.used[server] = now
                orders += Orders(begin=(request,))
            elif not self.overtaking:
                break
        turns = dict.fromkeys(self.line.values() if self.overtaking else islice(self.line.values(), 1))
        asleep = [each for each in turns if self.phases[each] is Phase.ASLEEP]
        coming = sum(phase is Phase.SLEEPING for phase in self.phases.values())
        for place, server in enumerate(asleep):
            if place >= coming or self._held() < self.places:
                orders += self._make_way(server)
        return orders

    def _from_the_front(self) -> Iterator[tuple[int, str]]:
        while self.line:
            yield next(iter(self.line.items()))

    def _held(self) -> int:
        return sum(phase is not Phase.ASLEEP for phase in self.phases.values())

    def _make_way(self, server: str) -> Orders:
        awake = [name for name, phase in self.phases.items() if phase is Phase.RESIDENT]
        if self._held() < self.places:
            self.phases[server] = Phase.WAKING
            return Orders(wake=(server,))
        idle = [name for name in awake if not self.in_flight[name]]
        if not idle:
            return Orders()
        victim = min(idle, key=lambda name: self.used[name])
        self.phases[victim] = Phase.SLEEPING
        return Orders(sleep=(victim,))


class LeastRecent(FirstCome):
    """Let requests for awake models overtake; no bound on how long the others wait."""

    overtaking = True
