"""Clients' files: their bytes in a folder that only we may read, what is known about each in the store.

A file is written under another name and takes its own when it is whole, so that a half one is never seen. Each
belongs to the key that made it: for every other key it does not exist.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from experts.store import Document, Store, StoreError
from gateway.errors import UnknownFile

PREFIX = "files/"
ABANDONED_SECONDS = 86_400.0
BATCH_INPUT, BATCH_OUTPUT = "batch", "batch_output"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What is known about a file; `key` is the id of the key it belongs to, times are seconds since 1970."""

    id: str
    key: str
    filename: str
    purpose: str
    bytes: int
    created_at: int

    def shown(self) -> dict[str, Any]:
        """Return OpenAI's file object."""
        told = asdict(self)
        del told["key"]
        return {**told, "object": "file", "status": "processed", "expires_at": None, "status_details": None}


@dataclass(frozen=True, slots=True)
class Draft:
    """A file being written; `Shelf.keep` makes it a file, `Shelf.drop` forgets it."""

    id: str
    path: Path
    file: BinaryIO


class Shelf:
    """Keeps files. The folder is made by the first one; `folder` is asked for where it is.

    Every call may raise `StoreError`, also where the folder cannot be used.
    """

    def __init__(self, store: Store, folder: Callable[[], Path]) -> None:
        self._store, self._folder = store, folder
        self._swept = False

    def path(self, file_id: str) -> Path:
        """Return where a file's bytes are, if they are on this machine."""
        return self._opened() / file_id

    def draft(self, name: str | None = None) -> Draft:
        """Begin a file that only we can read, with an id of its own unless one is given.

        Raises:
            StoreError: nothing can be written there.
        """
        name = name or f"file-{secrets.token_hex(12)}"
        path = self._opened() / f".{name}.part"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unwritable(error) from error
        return Draft(name, path, os.fdopen(descriptor, "wb"))

    async def keep(self, draft: Draft, key: str, filename: str, purpose: str) -> StoredFile:
        """Make a draft a file: on the disk, then in the store."""
        try:
            size = await asyncio.to_thread(_placed, draft)
        except OSError as error:
            raise unwritable(error) from error
        kept = StoredFile(draft.id, key, filename, purpose, size, int(time.time()))
        await self._store.put(PREFIX + kept.id, asdict(kept))
        return kept

    def drop(self, draft: Draft) -> None:
        """Forget a draft; nothing happens to one that was kept."""
        draft.file.close()
        draft.path.unlink(missing_ok=True)

    async def get(self, file_id: str, key: str) -> StoredFile:
        """Return a file of this key's.

        Raises:
            UnknownFile: there is none.
        """
        document = await self._store.get(PREFIX + file_id)
        if document is None or document.body.get("key") != key:
            raise UnknownFile(f"There is no file '{file_id[:64]}' of yours.", param="file_id")
        return file_of(document)

    async def all(self, key: str) -> list[StoredFile]:
        """Return the files of a key, newest first."""
        found = [file_of(document) for document in await self._store.find(PREFIX)]
        mine = [file for file in found if file.key == key]
        return sorted(mine, key=lambda file: (-file.created_at, file.id))

    async def delete(self, file_id: str, key: str) -> None:
        """Remove a file, first from the store.

        Raises:
            UnknownFile: there is none.
        """
        file = await self.get(file_id, key)
        await self._store.delete(PREFIX + file.id)
        await asyncio.to_thread(self.path(file.id).unlink, missing_ok=True)

    def _opened(self) -> Path:
        try:
            folder = self._folder()
            folder.mkdir(mode=0o700, exist_ok=True)
            if not self._swept:
                _sweep(folder)
                self._swept = True
        except OSError as error:
            raise unwritable(error) from error
        return folder


def _sweep(folder: Path) -> None:
    """Remove what uploads left that a crash cut off, a day ago or more."""
    for part in folder.glob(".*.part"):
        if part.stat().st_mtime < time.time() - ABANDONED_SECONDS:
            part.unlink(missing_ok=True)


def _placed(draft: Draft) -> int:
    """Give a draft its name once it is on the disk, and return its size."""
    with draft.file as file:
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    draft.path.rename(draft.path.with_name(draft.id))
    return size


def unwritable(error: OSError) -> StoreError:
    """Return what a client is told of a disk that does not take a file."""
    return StoreError(f"The file cannot be written here: {error.strerror}.")


def file_of(document: Document) -> StoredFile:
    """Return the file in a document; what a newer version of us added is left out."""
    return StoredFile(**{each.name: document.body[each.name] for each in fields(StoredFile)})
