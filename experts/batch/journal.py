"""What of a batch is done, in a file beside its input that is only ever appended to.

A record is one line of JSON. Records are gathered and written together, on the disk when `sync` returns; a crash
loses at most what was added since. What a crash tears is the end of the file: opening it drops everything from the
first line on that is not whole. One process at a time has it open: the lock goes with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from experts.store import StoreError


class JournalError(StoreError):
    """The journal cannot be written or read."""


class JournalBusy(JournalError):
    """Another process has it open."""


class Journal:
    """An append-only file of records. `Journal.open` makes one; whoever opened it closes it.

    Reading and `append` are quick and may be called on an event loop; `open` and `sync` touch the disk.
    """

    def __init__(self, path: Path, descriptor: int, end: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._written, self._end = end, end
        self._pending: list[bytes] = []
        self._adding, self._writing = Lock(), Lock()

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open a journal, made where there is none, without the torn end that a crash may have left.

        Raises:
            JournalBusy: another process has it open.
            JournalError: the file cannot be used.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"The journal {path} cannot be opened: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            end = sum(length for _, length, _ in whole_records(path))
            os.ftruncate(descriptor, end)
        except BlockingIOError as error:
            os.close(descriptor)
            raise JournalBusy(f"Another process is working on {path}.") from error
        except OSError as error:
            os.close(descriptor)
            raise JournalError(f"The journal {path} cannot be used: {error.strerror}.") from error
        return cls(path, descriptor, end)

    @property
    def pending(self) -> int:
        """How many records a crash would lose now."""
        return len(self._pending)

    def append(self, record: Mapping[str, Any]) -> int:
        """Add a record and return where it will stand; `read` finds it there after the next `sync`."""
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        with self._adding:
            offset = self._end
            self._pending.append(line)
            self._end += len(line)
        return offset

    def sync(self) -> None:
        """Write what was added, and return when it is on the disk.

        Raises:
            JournalError: the disk is full or gone; nothing is lost, and it may be tried again.
        """
        with self._writing:
            with self._adding:
                lines = list(self._pending)
            if not lines:
                return
            try:
                self._write(b"".join(lines))
            except OSError as error:
                raise JournalError(f"The journal {self.path} cannot be written: {error.strerror}.") from error
            with self._adding:
                del self._pending[: len(lines)]

    def _write(self, data: bytes) -> None:
        done = 0
        while done < len(data):
            done += os.pwrite(self._descriptor, data[done:], self._written + done)
        os.fdatasync(self._descriptor)
        self._written += len(data)

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield every record on the disk with where it stands, oldest first."""
        for offset, _, record in whole_records(self.path):
            yield offset, record

    def read(self, offset: int) -> dict[str, Any]:
        """Return the record that stands at `offset`; it must have been written."""
        found, at = bytearray(), offset
        while not found.endswith(b"\n"):
            part = os.pread(self._descriptor, 65_536, at)
            if not part:
                raise JournalError(f"The journal {self.path} has no whole record at {offset}.")
            line, newline, _ = part.partition(b"\n")
            found += line + newline
            at += len(part)
        record: dict[str, Any] = orjson.loads(found)
        return record

    def close(self) -> None:
        """Close the file and let others have it; what was not synced is dropped."""
        os.close(self._descriptor)


def whole_records(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield (offset, length, record) of each record up to the first that is torn."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            record = _record(line)
            if record is None:
                return
            yield offset, len(line), record
            offset += len(line)


def _record(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None
