"""Which expert a session has: a small memory with an end, so that a conversation stays where it is.

A session is a name that a client chooses (`x-consilium-session`), apart for each key. Kept in this process.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from router.types import Incumbent, RoutingDecision

MOST_SESSIONS = 10_000
Session = tuple[str, str]
"""The client's key and the session's name."""


class Sessions:
    """Experts by session, least recently used out first.

    Args:
        ttl_seconds: how long an idle session is remembered.
        most: sessions kept.
        clock: seconds, only moving forward.
    """

    def __init__(
        self, ttl_seconds: float, most: int = MOST_SESSIONS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.ttl_seconds, self.most, self._clock = ttl_seconds, most, clock
        self._kept: OrderedDict[Session, tuple[float, Incumbent]] = OrderedDict()

    def incumbent(self, session: Session | None) -> Incumbent | None:
        """Return who answered last, or None."""
        if session is None or session not in self._kept:
            return None
        seen, incumbent = self._kept[session]
        if self._clock() - seen <= self.ttl_seconds:
            return incumbent
        del self._kept[session]
        return None

    def answered(self, session: Session | None, decision: RoutingDecision) -> None:
        """Remember whom a decision chose; several experts together are nobody's conversation."""
        if session is None or len(decision.assignments) != 1:
            return
        topic = max(decision.domains, key=lambda domain: decision.domains[domain], default=None)
        incumbent = Incumbent(decision.assignments[0].expert, decision.policy, topic)
        self._kept[session] = (self._clock(), incumbent)
        self._kept.move_to_end(session)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
