"""Have kept answers forgotten by every process: each may keep its own, so they are told through the store."""

from __future__ import annotations

import asyncio
import logging
import time

from experts.store import ABSENT, Store, StoreError
from gateway.cache.replays import Replays
from gateway.logs import facts

log = logging.getLogger(__name__)
PREFIX = "cache-forgotten/"
"""Documents by whose answers were forgotten last, and when; the one without a name is for everybody's."""
RETRY_SECONDS = 1.0


class Forgetting:
    """Tells this process and all others. Both are borrowed; `follow` hears what others tell."""

    def __init__(self, store: Store, replays: Replays) -> None:
        self._store, self._replays = store, replays
        self._told: set[int] = set()

    async def everywhere(self, owner: str | None) -> int:
        """Forget the answers of one key, or of all where it is None; returns how many were kept here, or in Redis.

        Other processes forget theirs as soon as they hear of it, within a second.

        Raises:
            StoreError: they could not be forgotten, or the others could not be told.
        """
        count = await self._replays.forget(owner)
        told = await self._store.put(f"{PREFIX}{owner or ''}", {"owner": owner, "at": time.time()})
        self._told.add(told.version)
        return count

    async def follow(self) -> None:
        """Forget what other processes are told to, for as long as the store is open; not what was told before."""
        after: int | None = None
        while not self._store.closed:
            try:
                if after is None:
                    after = max((each.version for each in await self._store.find(PREFIX)), default=ABSENT)
                async for change in self._store.watch(PREFIX, after=after):
                    if change.document is not None and change.version not in self._told:
                        await self._replays.forget(change.document.body["owner"])
                    self._told.discard(change.version)
                    after = change.version
            except StoreError as error:
                log.warning("whose answers to forget cannot be read", extra=facts(error=str(error)))
                await asyncio.sleep(RETRY_SECONDS)
