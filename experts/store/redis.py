"""One Redis: the store that gateways on several machines share. Valkey is the same to us.

Each write is one Lua script: compare, count, write and tell, in one round trip and all or nothing. How durable an
acknowledged write is, is the server's own persistence (`appendonly yes`, `appendfsync always`: as durable as SQLite).

    {consilium}:documents   key -> "version token body", a removed one without its body (versions outlive documents)
    {consilium}:names       the keys that exist, sorted by bytes          {consilium}:version   the counter
    {consilium}:changes     every key by the version of its last change   {consilium}:gone      removed keys by time
    {consilium}:changed     the channel on which each new version is said

A write whose connection broke is sent again; its token tells the script that it has been done already. Watchers
sleep on the channel, catch up by version, and while the server is away they wait.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable
from contextlib import suppress
from typing import Any, cast
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from experts.store.base import ABSENT, Body, Change, Document, StoreError, VersionConflict
from experts.store.redis_scripts import CHANGES, FIND, PUT, REMOVE

log = logging.getLogger(__name__)
TOMBSTONES_SECONDS = 86_400
CONNECTIONS = 16
CALL_SECONDS = 5.0
"""The longest any call waits for the server, connecting and trying again included."""
CONNECT_SECONDS = 2.0
RETRIES, FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 3, 0.05, 0.5
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 1.0
ALIVE_EVERY_SECONDS = 10
CHANGES_AT_ONCE = 500


class RedisStore:
    """A store in one Redis. Opening connects to nothing; the first call does.

    Args:
        url: `redis://[user:password@]host:port/db`, `rediss://` for TLS, or `unix://`.
        namespace: gateways that share a namespace share everything; another one sees nothing of it.
        poll_seconds: how often a watcher looks though nothing was said, should a message have been lost.
    """

    def __init__(self, url: str, namespace: str = "consilium", *, poll_seconds: float = 2.0) -> None:
        self.namespace, self.poll_seconds = namespace, poll_seconds
        self._where = where(url)
        self._redis = connected(url)
        names = ("documents", "names", "version", "changes", "gone", "changed")
        self._keys = [f"{{{namespace}}}:{name}" for name in names]
        self._put, self._remove = self._redis.register_script(PUT), self._redis.register_script(REMOVE)
        self._find, self._changes = self._redis.register_script(FIND), self._redis.register_script(CHANGES)
        self._changed = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    async def get(self, key: str) -> Document | None:
        """Return a document; see `Store.get`."""
        if self._closed:
            return None
        entry = await self._called(cast(Awaitable[str | None], self._redis.hget(self._keys[0], key)))
        return None if entry is None else _document(key, entry)

    async def find(self, prefix: str = "") -> list[Document]:
        """Return the documents under a prefix; see `Store.find`."""
        if self._closed:
            return []
        flat = await self._called(self._find(keys=self._keys, args=[prefix]))
        found = (_document(key, entry) for key, entry in zip(flat[::2], flat[1::2], strict=True))
        return [document for document in found if document is not None]

    async def put(self, key: str, body: Body, *, expected: int | None = None) -> Document:
        """Write a document; see `Store.put`. It is as durable as the server's persistence makes it."""
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        version = await self._write(self._put, key, expected, text)
        return Document(key, version, json.loads(text))

    async def delete(self, key: str, *, expected: int | None = None) -> bool:
        """Remove a document; see `Store.delete`."""
        return await self._write(self._remove, key, expected, str(TOMBSTONES_SECONDS)) != ABSENT

    async def watch(self, prefix: str = "", *, after: int = ABSENT) -> AsyncGenerator[Change, None]:
        """Yield changes; see `Store.watch`. While the server is away it waits; then it catches up.

        A server that came back without its last writes (it was told not to fsync each) is read from the beginning.
        """
        seen, last, pause = after, "", FIRST_PAUSE_SECONDS
        while not self._closed:
            changed = self._heard()
            try:
                scanned, rows = await self._later(seen, last, prefix)
            except StoreError as error:
                if pause == FIRST_PAUSE_SECONDS:
                    log.warning("a watcher waits for the store: %s", error)
                await self._sleep(changed, pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            pause = FIRST_PAUSE_SECONDS
            for key, entry in rows:
                document, version = _document(key, entry), _version(entry)
                yield Change(key, version, document)
            if scanned is None:
                await self._sleep(changed, self.poll_seconds)
            else:
                last, seen = scanned

    async def aclose(self) -> None:
        """Close the connections; see `Store.aclose`."""
        self._closed = True
        self._wake()
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _write(self, script: Any, key: str, expected: int | None, value: str) -> int:
        """Run a writing script and return the version it wrote.

        Raises:
            VersionConflict: the document is at another version than `expected`.
        """
        if self._closed:
            raise StoreError("The store is closed.")
        wanted = "" if expected is None else str(expected)
        written, version = await self._called(
            script(keys=self._keys, args=[key, wanted, secrets.token_hex(8), value]),
        )
        if not written:
            raise VersionConflict(key, expected or ABSENT, int(version))
        self._wake()
        return int(version)

    async def _later(self, seen: int, last: str, prefix: str) -> tuple[tuple[str, int] | None, list[tuple[str, str]]]:
        """Return the last change looked at (None: there was none) and those under `prefix`, oldest first."""
        if self._closed:
            return None, []
        args = [str(seen), last, prefix, str(CHANGES_AT_ONCE)]
        key, version, *flat = await self._called(self._changes(keys=self._keys, args=args))
        scanned = (key, int(version)) if version else None
        return scanned, list(zip(flat[::2], flat[1::2], strict=True))

    async def _called(self, call: Awaitable[Any]) -> Any:
        """Await a call of the client, with our deadline and our error."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await call
        except TimeoutError:
            raise StoreError(f"The store {self._where} did not answer within {CALL_SECONDS:g} s.") from None
        except (RedisError, OSError) as error:
            raise StoreError(f"The store {self._where} cannot be used: {error}.") from error

    def _heard(self) -> asyncio.Event:
        """Return what is set by the next change; listens from the first watcher on."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="store-changes")
        return self._changed

    async def _listen(self) -> None:
        """Wake the watchers at every message and after each new connection, when some may have been missed.

        Ends by itself when the store is closed: the client swallows a cancellation that meets it connecting.
        """
        pause = FIRST_PAUSE_SECONDS
        while not self._closed:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(self._keys[-1])
                    while not self._closed:
                        if await channel.get_message(timeout=ALIVE_EVERY_SECONDS) is not None:
                            pause = FIRST_PAUSE_SECONDS
                            self._wake()
            except (RedisError, OSError, TimeoutError):
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _wake(self) -> None:
        """Let every watcher look at once; the next change has an event of its own."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _sleep(self, changed: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await changed.wait()


def connected(url: str) -> Redis:
    """Return a client that connects when it is used, and again when the connection breaks.

    Raises:
        StoreError: the URL is none of Redis'.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=CALL_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
            health_check_interval=ALIVE_EVERY_SECONDS,
            decode_responses=True,
            retry=Retry(
                ExponentialBackoff(cap=LONGEST_RETRY_SECONDS, base=FIRST_RETRY_SECONDS),
                RETRIES,
                supported_errors=(RedisConnectionError,),
            ),
        )
    except ValueError as error:
        raise StoreError(f"{where(url)} is no address of a Redis: {error}.") from error
    return Redis.from_pool(pool)


def where(url: str) -> str:
    """Return the address for messages: without the user and the password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _document(key: str, entry: str) -> Document | None:
    """Return the document of a stored entry; None when it was removed."""
    version, _, rest = entry.partition(" ")
    body = rest.partition(" ")[2]
    return Document(key, int(version), json.loads(body)) if body else None


def _version(entry: str) -> int:
    return int(entry.partition(" ")[0])
