"""The keys there are, in every process: written to the store here, and followed there when another process writes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from experts.store import ABSENT, Document, Store, StoreError
from gateway.errors import InvalidRequest, UnknownKey
from gateway.keys.record import PREFIX, KeyBody, KeyRecord, body_of, changed, made, record_of, said_of
from gateway.logs import facts

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0


class KeyBook:
    """What the store says about keys. `load` it first; `follow` keeps it so.

    Args:
        store: where the records are; borrowed.
        clock: seconds since 1970.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store, self.clock = store, clock
        self._versions: dict[str, int] = {}
        self._by_id: dict[str, KeyRecord] = {}
        self._by_hash: dict[str, KeyRecord] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[KeyRecord]:
        return iter(sorted(self._by_id.values(), key=lambda record: (record.created_at, record.id)))

    async def load(self) -> None:
        """Read what there is.

        Raises:
            StoreError: it cannot be read. Without it nobody knows whether this gateway is an open one.
        """
        for document in await self._store.find(PREFIX):
            self._note(document.key, document.version, document)

    async def follow(self) -> None:
        """Take over what other processes write, for as long as the store is open."""
        while not self._store.closed:
            try:
                async for change in self._store.watch(PREFIX, after=max(self._versions.values(), default=ABSENT)):
                    self._note(change.key, change.version, change.document)
            except StoreError as error:
                log.warning("changes of keys cannot be read", extra=facts(error=str(error)))
                await asyncio.sleep(RETRY_SECONDS)

    def by_hash(self, digest: str) -> KeyRecord | None:
        """Return the key with this hash, whatever its state."""
        return self._by_hash.get(digest)

    def by_id(self, key_id: str) -> KeyRecord | None:
        """Return the key with this id, whatever its state."""
        return self._by_id.get(key_id)

    async def create(self, body: KeyBody) -> tuple[KeyRecord, str]:
        """Make a key; returns its record and the secret, which cannot be had again.

        Raises:
            InvalidRequest: it would be expired already.
            StoreError: it could not be kept; there is no such key.
        """
        record, secret = made(body, self.clock())
        if record.state(self.clock()) != "active":
            raise InvalidRequest("'expires_at' has passed already.", param="expires_at")
        document = await self._store.put(PREFIX + record.id, body_of(record), expected=ABSENT)
        self._note(document.key, document.version, document)
        return record, secret

    async def revoke(self, key_id: str) -> KeyRecord:
        """Let nobody in with a key any more; one that was revoked stays so.

        Raises:
            UnknownKey: there is none of that id.
            StoreError: it could not be written, and the key still holds.
        """
        found = await self._stored(key_id)
        record = record_of(found)
        if record.revoked_at is None:
            record = replace(record, revoked_at=self.clock())
            found = await self._store.put(found.key, body_of(record), expected=found.version)
        self._note(found.key, found.version, found)
        return record

    async def change(
        self, key_id: str, patch: Mapping[str, Any], read: Callable[[Mapping[str, Any]], KeyBody]
    ) -> KeyRecord:
        """Change what a key may do; requests that were let in go on as they were.

        Args:
            patch: fields of `KeyBody`; None takes a limit away.
            read: checks the whole of what the key would then be.

        Raises:
            UnknownKey: there is none of that id.
            InvalidRequest: it is revoked, or would be expired.
            VersionConflict: it was changed meanwhile; nothing was written.
            StoreError: it could not be written, and the key is as it was.
        """
        found = await self._stored(key_id)
        record = record_of(found)
        if record.revoked_at is not None:
            raise InvalidRequest(f"The key '{key_id[:64]}' is revoked and stays so: make another.", param="key_id")
        body = read({name: value for name, value in {**said_of(record), **patch}.items() if value is not None})
        record = changed(record, body)
        if "expires_at" in patch and record.state(self.clock()) != "active":
            raise InvalidRequest("'expires_at' has passed already; DELETE revokes a key.", param="expires_at")
        document = await self._store.put(found.key, body_of(record), expected=found.version)
        self._note(document.key, document.version, document)
        return record

    async def _stored(self, key_id: str) -> Document:
        found = await self._store.get(PREFIX + key_id)
        if found is None:
            raise UnknownKey(f"There is no key '{key_id[:64]}'; GET /admin/keys lists them.", param="key_id")
        return found

    def _note(self, key: str, version: int, document: Document | None) -> None:
        """Keep what is known of a key, unless something newer is."""
        if version <= self._versions.get(key, ABSENT):
            return
        self._versions[key] = version
        former = self._by_id.pop(key.removeprefix(PREFIX), None)
        if former is not None:
            self._by_hash.pop(former.hash, None)
        if document is not None:
            record = record_of(document)
            self._by_id[record.id] = self._by_hash[record.hash] = record
