"""Amounts by second, of the last `SPAN` seconds."""

from __future__ import annotations

import math

from gateway.limits.base import SPAN


class Window:
    """A sliding window; seconds that have left it are forgotten. `now` only moves forward."""

    __slots__ = ("_amounts", "total")

    def __init__(self) -> None:
        self._amounts: dict[int, int] = {}
        self.total = 0

    def move(self, now: float) -> None:
        """Forget what has left the window."""
        oldest = math.floor(now) - SPAN
        while self._amounts and (first := next(iter(self._amounts))) <= oldest:
            self.total -= self._amounts.pop(first)

    def add(self, second: int, amount: int) -> None:
        """Add to the current second."""
        if not amount:
            return
        self._amounts[second] = self._amounts.get(second, 0) + amount
        self.total += amount

    def take_back(self, second: int, amount: int) -> None:
        """Take from a second, at most what is there; nothing when it has left the window."""
        taken = min(amount, self._amounts.get(second, 0))
        if taken:
            self._amounts[second] -= taken
            self.total -= taken

    def wait_seconds(self, now: float, limit: int, amount: int) -> float:
        """Return how long it takes until so much more fits; 0 when it does."""
        over, wait = self.total + amount - limit, 0.0
        for second, there in self._amounts.items():
            if over <= 0:
                break
            over -= there
            wait = second + SPAN - now
        return max(0.0, wait)

    def reset_seconds(self, now: float) -> float:
        """Return how long it takes until nothing of it counts."""
        newest = next((second for second in reversed(self._amounts) if self._amounts[second]), None)
        return 0.0 if newest is None else newest + SPAN - now
