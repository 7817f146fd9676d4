"""Remember how each replica fared. A replica that failed rests; overload and client errors are not faults.

    closed     it serves; after a fault it rests a moment, and others are preferred
    open       three faults in a row: where another expert stands in, that one is asked instead
    half open  its rest is over, or a probe has found it: one call at a time, until one is answered

The rest after a fault grows from 0.5 s to 8 s, shorter than a client's usual retry budget, so a server that
comes back is found again. A breaker never refuses: where nobody else can answer, the call is tried all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from experts.types import Endpoint

FIRST_REST_SECONDS = 0.5
LONGEST_REST_SECONDS = 8.0
MOST_DOUBLINGS = 16
LONGEST_PAUSE_SECONDS = 60.0
"""The longest Retry-After of a server that is heeded."""
LACKING_SECONDS = 600.0
"""How long it is remembered that a server does not speak an endpoint: it may be another one after a restart."""
FAULTS_THAT_OPEN = 3
SILENT_SECONDS = 10.0
"""How long a replica that nobody asks is taken to be as it was."""
Breaker: TypeAlias = Literal["closed", "half_open", "open"]


@dataclass(slots=True)
class ReplicaHealth:
    """One replica's standing. It rests after a fault, and pauses when it asks for that; both on the board's clock.

    `trying` counts the calls that began since its breaker opened and have not said anything yet; `heard` is when it
    last answered a call or a probe.
    """

    rests_until: float = 0.0
    pauses_until: float = 0.0
    faults_in_a_row: int = 0
    in_flight: int = 0
    trying: int = 0
    proven: bool = False
    heard: float = 0.0
    last_error: str = ""

    @property
    def free_at(self) -> float:
        """When it may serve again."""
        return max(self.rests_until, self.pauses_until)


class HealthBoard:
    """Standing of every replica by its base URL. `clock` is in seconds and only moves forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._replicas: dict[str, ReplicaHealth] = {}
        self._lacking: dict[tuple[str, Endpoint], float] = {}

    def of(self, base_url: str) -> ReplicaHealth:
        """Return the live record of one replica."""
        return self._replicas.setdefault(base_url, ReplicaHealth())

    def rests(self, base_url: str) -> bool:
        """Say whether the replica should be left alone for now; a half-open one while a call tries it."""
        record = self.of(base_url)
        tried = record.trying > 0 and record.faults_in_a_row >= FAULTS_THAT_OPEN
        return tried or record.free_at > self.clock()

    def breaker(self, base_url: str) -> Breaker:
        """Return the state of its breaker."""
        record = self.of(base_url)
        if record.faults_in_a_row < FAULTS_THAT_OPEN:
            return "closed"
        return "open" if record.rests_until > self.clock() else "half_open"

    def shut_off(self, base_url: str) -> bool:
        """Say whether another expert is to be preferred to it: its breaker is open, or half open and being tried; or
        it has asked for a pause.
        """
        record = self.of(base_url)
        broken = record.faults_in_a_row >= FAULTS_THAT_OPEN and self.rests(base_url)
        return broken or record.pauses_until > self.clock()

    def served(self, base_url: str) -> None:
        """Record that it answered a call: any rest ends."""
        record = self.of(base_url)
        record.rests_until = record.pauses_until = 0.0
        record.faults_in_a_row, record.last_error = 0, ""
        record.proven, record.heard = True, self.clock()

    def found(self, base_url: str) -> None:
        """Record that a probe found it: its rest ends, but an open breaker closes only once a call was answered."""
        record = self.of(base_url)
        record.rests_until = 0.0
        record.proven, record.heard, record.last_error = True, self.clock(), ""

    def missed(self, base_url: str, error: str) -> None:
        """Record that a probe did not find it: it is not ready, but no call has failed."""
        record = self.of(base_url)
        record.proven, record.last_error = False, error

    def doubtful(self, base_url: str) -> bool:
        """Say whether nobody knows if it would answer: it has not since its last fault, or is silent for a while."""
        record = self.of(base_url)
        silent = not record.in_flight and self.clock() - record.heard > SILENT_SECONDS
        return not record.proven or silent

    def failed(self, base_url: str, error: str) -> None:
        """Record a fault (no connection, 5xx, timeout): it rests, longer each time in a row."""
        record = self.of(base_url)
        doublings = min(record.faults_in_a_row, MOST_DOUBLINGS)
        rest = min(FIRST_REST_SECONDS * 2**doublings, LONGEST_REST_SECONDS)
        record.faults_in_a_row += 1
        record.rests_until = self.clock() + rest
        record.last_error = error
        record.proven = False

    def lacking(self, base_url: str, endpoint: Endpoint) -> None:
        """Record that its server does not speak an endpoint: no fault, and nothing to rest for."""
        self._lacking[base_url, endpoint] = self.clock() + LACKING_SECONDS

    def lacks(self, base_url: str, endpoint: Endpoint) -> bool:
        """Say whether its server was lately found not to speak an endpoint."""
        return self._lacking.get((base_url, endpoint), 0.0) > self.clock()

    def overloaded(self, base_url: str, retry_after_seconds: float) -> None:
        """Record that it asked for a pause: it rests that long, and this is no fault."""
        record = self.of(base_url)
        pause = min(retry_after_seconds, LONGEST_PAUSE_SECONDS)
        record.pauses_until = max(record.pauses_until, self.clock() + pause)
