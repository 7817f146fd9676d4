"""Who is next, of those who wait at one priority: clients take turns, and each one's calls go in the order they came.

A client that sends a thousand calls at once delays another's single call by one turn, not by a thousand. Weighted round
robin: a client with share 3 is served three times in its turn; one that comes (back) stands behind those who wait.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TypeAlias

Turn: TypeAlias = asyncio.Future[bool]
"""Done once it holds a place (True), or has been sent away (False)."""


@dataclass(slots=True)
class _Waiting:
    """One client's calls, in the order they came, and how often it is still served before others are."""

    share: int
    left: int
    turns: dict[Turn, None] = field(default_factory=dict)


class Turns:
    """Those who wait at one priority. Joining, leaving and being served take constant time."""

    def __init__(self) -> None:
        self._clients: dict[str, _Waiting] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def join(self, turn: Turn, client: str, share: int = 1) -> None:
        """Stand behind the client's other calls."""
        mine = self._clients.setdefault(client, _Waiting(share, share))
        mine.share = share
        mine.turns[turn] = None
        self._waiting += 1

    def leave(self, turn: Turn, client: str) -> None:
        """Wait no longer."""
        mine = self._clients[client]
        del mine.turns[turn]
        self._waiting -= 1
        if not mine.turns:
            del self._clients[client]

    def serve(self) -> Turn:
        """Return whose turn it is; a client that has had its share stands behind all others then."""
        client, mine = next(iter(self._clients.items()))
        turn = next(iter(mine.turns))
        mine.left -= 1
        self.leave(turn, client)
        if client in self._clients and mine.left <= 0:
            mine.left = mine.share
            self._clients[client] = self._clients.pop(client)
        return turn

    def waiting_of(self, client: str) -> float:
        """Return how many calls of a client wait, for each turn it has."""
        mine = self._clients.get(client)
        return 0.0 if mine is None else len(mine.turns) / mine.share

    def longest(self) -> str:
        """Return who has most calls waiting for its share; of several the one who comes first."""
        return max(self._clients, key=self.waiting_of)

    def send_away_last(self, client: str) -> Turn:
        """Return the client's newest call, which waits no longer."""
        turn = next(reversed(self._clients[client].turns))
        self.leave(turn, client)
        return turn
