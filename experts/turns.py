"""Who is next, of those who wait at one priority: clients take turns, and each one's calls go in the order they came.

A client that sends a thousand calls at once delays another's single call by one place, not by a thousand. Round robin
over clients with equal shares; a client that comes (back) stands behind those who wait already.
"""

from __future__ import annotations

import asyncio
from typing import TypeAlias

Turn: TypeAlias = asyncio.Future[bool]
"""Done once it holds a place (True), or has been sent away (False)."""


class Turns:
    """Those who wait at one priority. Joining, leaving and being served take constant time."""

    def __init__(self) -> None:
        self._clients: dict[str, dict[Turn, None]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def join(self, turn: Turn, client: str) -> None:
        """Stand behind the client's other calls."""
        self._clients.setdefault(client, {})[turn] = None
        self._waiting += 1

    def leave(self, turn: Turn, client: str) -> None:
        """Wait no longer."""
        mine = self._clients[client]
        del mine[turn]
        self._waiting -= 1
        if not mine:
            del self._clients[client]

    def serve(self) -> Turn:
        """Return whose turn it is, and let the client's next one stand behind all other clients."""
        client, mine = next(iter(self._clients.items()))
        turn = next(iter(mine))
        self.leave(turn, client)
        if client in self._clients:
            self._clients[client] = self._clients.pop(client)
        return turn

    def waiting_of(self, client: str) -> int:
        """Return how many calls of a client wait."""
        return len(self._clients.get(client, ()))

    def longest(self) -> tuple[str, int]:
        """Return who has most calls waiting, and how many; of several the one who comes first."""
        client = max(self._clients, key=self.waiting_of, default="")
        return client, self.waiting_of(client)

    def send_away_last(self, client: str) -> Turn:
        """Return the client's newest call, which waits no longer."""
        turn = next(reversed(self._clients[client]))
        self.leave(turn, client)
        return turn
