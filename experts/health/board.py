"""Remember how each replica fared. A replica that failed rests; overload and client errors are not faults.

The rest after a fault grows from 0.5 s to 8 s, shorter than a client's usual retry budget, so a server that
comes back is found again. When every replica rests, the balancer still sends one request: that is the probe.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_REST_SECONDS = 0.5
LONGEST_REST_SECONDS = 8.0


@dataclass(slots=True)
class ReplicaHealth:
    """One replica's standing. `rests_until` is on the board's clock; 0 means it may serve now."""

    rests_until: float = 0.0
    faults_in_a_row: int = 0
    in_flight: int = 0
    proven: bool = False
    last_error: str = ""


class HealthBoard:
    """Standing of every replica by its base URL. `clock` is in seconds and only moves forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._replicas: dict[str, ReplicaHealth] = {}

    def of(self, base_url: str) -> ReplicaHealth:
        """Return the live record of one replica."""
        return self._replicas.setdefault(base_url, ReplicaHealth())

    def rests(self, base_url: str) -> bool:
        """Say whether the replica should be left alone for now."""
        return self.of(base_url).rests_until > self.clock()

    def served(self, base_url: str) -> None:
        """Record that it answered: any rest ends."""
        record = self.of(base_url)
        record.rests_until, record.faults_in_a_row, record.last_error = 0.0, 0, ""
        record.proven = True

    def failed(self, base_url: str, error: str) -> None:
        """Record a fault (no connection, 5xx, timeout): it rests, longer each time in a row."""
        record = self.of(base_url)
        rest = min(FIRST_REST_SECONDS * 2**record.faults_in_a_row, LONGEST_REST_SECONDS)
        record.faults_in_a_row += 1
        record.rests_until = self.clock() + rest
        record.last_error = error
        record.proven = False

    def overloaded(self, base_url: str, retry_after_seconds: float) -> None:
        """Record that it asked for a pause: it rests that long, and this is no fault."""
        record = self.of(base_url)
        record.rests_until = max(record.rests_until, self.clock() + min(retry_after_seconds, 60.0))
