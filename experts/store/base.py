"""Documents that outlive the process, with versions and a way to watch them change.

What must be remembered (lessons, later registrations, keys, jobs) is a document: a JSON object under a key such as
"learning/state". Every change of anything gets the store's next version, so that a document's version says when it
last changed, "nobody changed it since I read it" is one comparison, and a watcher knows where it left off.

    Document   a key, its body, its version            Change   what a watcher sees: a document, or its removal
    Store      get, put, delete, find, watch           sqlite.py: one file; the same promises for any other twin
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from experts.errors import ServiceError

Body: TypeAlias = Mapping[str, Any]
"""Anything JSON can say."""
ABSENT = 0
"""The version of a document that does not exist."""


class StoreError(ServiceError):
    """What was to be remembered could not be written or read."""


class VersionConflict(StoreError):
    """Somebody else changed the document first; read it again, then decide again. `found` is its version now."""

    def __init__(self, key: str, expected: int, found: int) -> None:
        super().__init__(f"'{key}' is at version {found}, not {expected}: somebody changed it; read it again.")
        self.key, self.expected, self.found = key, expected, found


@dataclass(frozen=True, slots=True)
class Document:
    """One document as it was at a version."""

    key: str
    version: int
    body: Body


@dataclass(frozen=True, slots=True)
class Change:
    """A document that is new or different, or gone (`document` is None)."""

    key: str
    version: int
    document: Document | None


class Store(Protocol):
    """Keeps documents. Whoever opened it closes it. Any call may raise `StoreError`."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        ...

    async def get(self, key: str) -> Document | None:
        """Return a document, or None when there is none."""
        ...

    async def put(self, key: str, body: Body, *, expected: int | None = None) -> Document:
        """Write a document; it is durable when this returns, whatever happens to the process.

        Args:
            key: its key.
            body: all of it.
            expected: the version it must still be at, `ABSENT` when it must be new; None writes in any case.

        Raises:
            VersionConflict: it is at another version; nothing was written.
        """
        ...

    async def delete(self, key: str, *, expected: int | None = None) -> bool:
        """Remove a document; False when there was none.

        Raises:
            VersionConflict: it is at another version than `expected`; nothing was removed.
        """
        ...

    async def find(self, prefix: str = "") -> list[Document]:
        """Return the documents whose keys begin with `prefix`, sorted by key."""
        ...

    def watch(self, prefix: str = "", *, after: int = ABSENT) -> AsyncGenerator[Change, None]:
        """Yield changes later than version `after`, oldest first, forever; also those of other processes.

        What changed several times in between is seen once, as it is at last. Removals are seen for a day.
        """
        ...

    async def aclose(self) -> None:
        """Close it; watchers end."""
        ...
