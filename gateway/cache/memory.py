"""Answers kept by one process, oldest first out."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from gateway.cache.base import ENTRY_BYTES, Kept


class _Entry(NamedTuple):
    content: bytes
    at: float

    @property
    def size(self) -> int:
        return len(self.content) + ENTRY_BYTES


class MemoryCache:
    """Keeps in this process; see `AnswerCache`.

    Args:
        ttl_seconds: how long.
        max_bytes: of everything together, `ENTRY_BYTES` for each entry included.
        clock: seconds, only moving forward.
    """

    def __init__(self, ttl_seconds: float, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl, self._max, self._clock = ttl_seconds, max_bytes, clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self.bytes = 0

    async def get(self, key: str) -> Kept | None:
        """Return what is kept; see `AnswerCache.get`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        age = self._clock() - entry.at
        if age < self._ttl:
            return Kept(entry.content, age)
        self._drop(key)
        return None

    async def put(self, key: str, content: bytes) -> None:
        """Keep it; see `AnswerCache.put`."""
        now = self._clock()
        fresh = _Entry(content, now)
        if fresh.size > self._max:
            return
        if key in self._entries:
            self._drop(key)
        while self._entries and self._full_or_old(fresh.size, now):
            self._drop(next(iter(self._entries)))
        self._entries[key] = fresh
        self.bytes += fresh.size

    async def forget(self, owner: str | None) -> int:
        """Drop it; see `AnswerCache.forget`."""
        gone = [key for key in self._entries if owner is None or key.startswith(f"{owner}:")]
        for key in gone:
            self._drop(key)
        return len(gone)

    async def aclose(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.bytes = 0

    def _full_or_old(self, size: int, now: float) -> bool:
        oldest = next(iter(self._entries.values()))
        return self.bytes + size > self._max or now - oldest.at >= self._ttl

    def _drop(self, key: str) -> None:
        self.bytes -= self._entries.pop(key).size
