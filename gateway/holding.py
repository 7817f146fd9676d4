"""One job while this process does it: its work runs, its lease is kept, and how it ended is written down.

Every write is on the condition that the lease is still held, so a process that was only slow finds out and stops.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from experts.errors import ServiceError
from experts.store import Document, Store, StoreError, VersionConflict
from gateway.job import NOBODY, PREFIX, Job, Run, Work, ended, job_of
from gateway.logs import facts

log = logging.getLogger(__name__)

BEAT_SECONDS = 4.0
INTERRUPTED = "The gateway that ran this stopped, and this kind of work cannot go on from where it was: start it again."
BUG = "A bug of ours; the gateway's log has it under this job's id."


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of work is done; see `Jobs.register`."""

    work: Work
    resumes: bool
    at_once: int


class Holding:
    """A job that was taken. Everything is borrowed.

    Args:
        run: the job, and how far it is.
        kind: how it is done.
        store, owner: where the lease is, and in whose name.
        tick_seconds: how often progress is written.
        lease_seconds: silence after which others may take the job over.
        written: told of each document of the job that was written.
    """

    def __init__(
        self,
        run: Run,
        kind: Kind,
        store: Store,
        owner: str,
        tick_seconds: float,
        lease_seconds: float,
        written: Callable[[Document], None],
    ) -> None:
        self._run, self._kind = run, kind
        self._store, self._owner = store, owner
        self._tick, self._lease = tick_seconds, lease_seconds
        self._written = written

    async def hold(self) -> None:
        """Do the work and keep its lease; cancelled, it writes down whether that was the end or an interruption."""
        task = asyncio.ensure_future(self._kind.work(self._run))
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=self._tick)
                await self._beat()
            await self._finish(task)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._stopped()
        except _LeaseLost:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            log.warning("a job was taken over by another process", extra=facts(job=self._run.job.id))

    async def _beat(self) -> None:
        """Write progress and heartbeat, when there is news or it is time."""
        run, job = self._run, self._run.job
        news = (run.done, run.total) != (job.done, job.total)
        if news or job.beat_at + min(BEAT_SECONDS, self._lease / 3) < time.time():
            with suppress(StoreError):
                await self._write(replace(job, done=run.done, total=run.total))

    async def _finish(self, task: asyncio.Future[Mapping[str, Any]]) -> None:
        """Write down how the work ended, as often as it takes."""
        run, error = self._run, task.exception()
        if error is None:
            job = ended(run.job, "done", result=task.result())
        else:
            ours = isinstance(error, ServiceError)
            job = ended(run.job, "failed", error=str(error) if ours else BUG)
            level = logging.WARNING if ours else logging.ERROR
            told = facts(job=job.id, error=type(error).__name__)
            log.log(level, "a job failed", exc_info=None if ours else error, extra=told)
        while True:
            try:
                return await self._write(replace(job, done=run.done, total=run.total))
            except StoreError:
                await asyncio.sleep(self._tick)

    async def _stopped(self) -> None:
        """Write down that it was cancelled, or give the lease back so that the next process goes on at once."""
        run = self._run
        with suppress(StoreError, _LeaseLost):
            told = await self._kept()
            job = replace(run.job, done=run.done, total=run.total)
            if job_of(told).cancelling:
                job = ended(job, "cancelled")
            elif self._kind.resumes:
                job = replace(job, owner=NOBODY, state="queued")
            else:
                job = ended(job, "failed", error=INTERRUPTED)
            await self._write(job)

    async def _write(self, job: Job) -> None:
        """Write a job of ours; whether it is to be cancelled is not ours to say.

        Raises:
            StoreError: it could not be written now.
        """
        while True:
            document = await self._kept()
            kept = job_of(document)
            if kept.owner != self._owner:
                raise _LeaseLost
            fresh = replace(job, cancelling=kept.cancelling, beat_at=time.time())
            with suppress(VersionConflict):
                self._written(await self._store.put(document.key, asdict(fresh), expected=document.version))
                self._run.job = fresh
                return

    async def _kept(self) -> Document:
        """Return the job as it is written down."""
        document = await self._store.get(PREFIX + self._run.job.id)
        if document is None:
            raise _LeaseLost
        return document


class _LeaseLost(Exception):
    """Somebody else runs the job now."""
