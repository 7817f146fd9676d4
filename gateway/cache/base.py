"""Where answers are kept to be said again. `tests/contracts/test_caches.py` holds every kind to the same promises.

A cache may forget at any time and does not fail: what it cannot say is a miss, what it cannot keep is not kept.

    AnswerCache   memory.py in this process; redis.py in a Redis that several gateways share
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

ENTRY_BYTES = 768
"""What an entry takes beside its content, which counts against the bound: as measured, 320 in a process and 716 in
Redis, where the key stands three times.
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept under a key, and for how long it has been."""

    content: bytes
    age_seconds: float


class AnswerCache(Protocol):
    """Content by key, for a while, and never more of it than a bound. Whoever opened it closes it."""

    async def get(self, key: str) -> Kept | None:
        """Return what is kept; None when nothing is, when it is too old, or when nobody can say."""
        ...

    async def put(self, key: str, content: bytes) -> None:
        """Keep UTF-8 text in place of whatever was there; the oldest goes where there is no room."""
        ...

    async def forget(self, owner: str | None) -> int:
        """Drop the content of every key that begins with `owner` and a colon, of all keys where it is None.

        Returns how many there were.

        Raises:
            StoreError: some may be left; the one call that fails, since nobody may think that they are gone.
        """
        ...

    async def aclose(self) -> None:
        """Close it; what it holds may be gone."""
        ...
