"""One SQLite file: the embedded store. Several processes on one machine may share it.

Statements run in a thread, one at a time, and each change is a transaction that is on the disk (WAL, synchronous
FULL) before its call returns. The file is made by the first write: who never remembers anything leaves no trace.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TypeVar

from experts.store.base import ABSENT, Body, Change, Document, StoreError, VersionConflict

T = TypeVar("T")
MEMORY = ":memory:"
BUSY_SECONDS = 10
RETRY_SECONDS = 0.02
TOMBSTONES_SECONDS = 86_400
SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    key TEXT PRIMARY KEY, version INTEGER NOT NULL UNIQUE, body TEXT, changed REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL);
INSERT OR IGNORE INTO counter VALUES (1, 0);
"""


class SqliteStore:
    """A store in one file, or with `:memory:` in none.

    Args:
        path: the file; its folder must exist.
        poll_seconds: how often a watcher looks for changes of other processes; those of this one it sees at once.
    """

    def __init__(self, path: Path | str, *, poll_seconds: float = 1.0) -> None:
        self.path = str(path)
        self.poll_seconds = poll_seconds
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    async def get(self, key: str) -> Document | None:
        """Return a document; see `Store.get`."""
        rows = await self._read("SELECT key, version, body FROM documents WHERE key = ? AND body NOTNULL", key)
        return _document(rows[0]) if rows else None

    async def find(self, prefix: str = "") -> list[Document]:
        """Return the documents under a prefix; see `Store.find`."""
        where = "substr(key, 1, ?) = ? AND body NOTNULL"
        rows = await self._read(
            f"SELECT key, version, body FROM documents WHERE {where} ORDER BY key", len(prefix), prefix
        )
        return [_document(row) for row in rows]

    async def put(self, key: str, body: Body, *, expected: int | None = None) -> Document:
        """Write a document; see `Store.put`."""
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))

        def write(connection: sqlite3.Connection) -> int:
            _check(connection, key, expected)
            return _write(connection, key, text)

        version = await self._write(write)
        return Document(key, version, json.loads(text))

    async def delete(self, key: str, *, expected: int | None = None) -> bool:
        """Remove a document; see `Store.delete`."""

        def write(connection: sqlite3.Connection) -> bool:
            found = _check(connection, key, expected)
            if found != ABSENT:
                _write(connection, key, None)
            return found != ABSENT

        return await self._write(write)

    async def watch(self, prefix: str = "", *, after: int = ABSENT) -> AsyncGenerator[Change, None]:
        """Yield changes; see `Store.watch`."""
        seen = after
        query = "SELECT key, version, body FROM documents WHERE version > ? AND substr(key, 1, ?) = ? ORDER BY version"
        while not self._closed:
            changed = self._changed
            for row in await self._read(query, seen, len(prefix), prefix):
                seen = row[1]
                yield Change(row[0], row[1], None if row[2] is None else _document(row))
            try:
                async with asyncio.timeout(self.poll_seconds):
                    await changed.wait()
            except TimeoutError:
                continue

    async def aclose(self) -> None:
        """Close the file; see `Store.aclose`."""
        self._closed = True
        self._wake()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _wake(self) -> None:
        """Let every watcher of this process look at once; the next change has an event of its own."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _read(self, query: str, *values: object) -> list[tuple[str, int, str | None]]:
        def read() -> list[tuple[str, int, str | None]]:
            with self._lock, _translated(self.path):
                if self._connection is None and self.path != MEMORY and not Path(self.path).exists():
                    return []
                return self._open().execute(query, values).fetchall()

        return [] if self._closed else await asyncio.to_thread(read)

    async def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        def write() -> T:
            with self._lock, _translated(self.path), _transaction(self._open()) as connection:
                return change(connection)

        result = await asyncio.to_thread(write)
        self._wake()
        return result

    def _open(self) -> sqlite3.Connection:
        """Return the connection, opened and its tables made on first use.

        Raises:
            StoreError: the store is closed.
        """
        if self._closed:
            raise StoreError("The store is closed.")
        if self._connection is None:
            if self.path != MEMORY:
                Path(self.path).touch(mode=0o600)
            connection = _connected(self.path)
            connection.execute(
                "DELETE FROM documents WHERE body IS NULL AND changed < ?", (time.time() - TOMBSTONES_SECONDS,)
            )
            self._connection = connection
        return self._connection


def _connected(path: str) -> sqlite3.Connection:
    """Return a connection to a file with our tables.

    SQLite does not wait when two processes turn on the write-ahead log at the same moment, so we do.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; {SCHEMA}")
        except sqlite3.OperationalError as error:
            connection.close()
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return connection


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"The store {path} cannot be used: {error}.") from error


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Commit what is done inside, or none of it when it fails."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield connection


def _check(connection: sqlite3.Connection, key: str, expected: int | None) -> int:
    row = connection.execute("SELECT version FROM documents WHERE key = ? AND body NOTNULL", (key,)).fetchone()
    found: int = row[0] if row else ABSENT
    if expected is not None and expected != found:
        raise VersionConflict(key, expected, found)
    return found


def _write(connection: sqlite3.Connection, key: str, text: str | None) -> int:
    version: int = connection.execute("UPDATE counter SET version = version + 1 RETURNING version").fetchone()[0]
    connection.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", (key, version, text, time.time()))
    return version


def _document(row: tuple[str, int, str | None]) -> Document:
    key, version, text = row
    return Document(key, version, json.loads(text or "{}"))
