"""Long work beside the requests: profiling, batches. One process runs a job; another takes over when that one dies.

A job is a document `jobs/ID`, so every process sees how far each is and may cancel it. Whoever runs one holds its
lease: its name and a heartbeat in the document. A lease without a heartbeat for `lease_seconds` is anybody's, that of a
process of this machine which is gone at once, and a kind of work that can go on from where it was is then begun again
by the next process that looks. Every write is on the condition that the lease is still held, so a process that was
only slow finds out and stops.

    job.py       Job, what is known about one; Run, what the work is given; Work, what does it: Run -> result as JSON
    holding.py   Holding, one job while this process does it
    Jobs         register a kind, then start, cancel, list; takes over what others left

Clocks of the processes should agree within a few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from experts.store import ABSENT, Document, Store, StoreError, VersionConflict
from gateway.errors import UnknownJob
from gateway.holding import INTERRUPTED, Holding, Kind
from gateway.job import PREFIX, Job, Run, Work, ended, job_of
from gateway.logs import facts
from gateway.process_name import own_name, surely_gone

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
LEASE_SECONDS = 15.0
KEPT_SECONDS = 7 * 86_400.0
AT_ONCE = 2


class Jobs:
    """Runs jobs of the kinds it was given, and sees everybody's. Use as an async context manager.

    Args:
        store: where the documents are; borrowed.
        owner: this process's name in leases; one of its own unless given.
        tick_seconds: how often it looks for what to run and to cancel, and writes progress.
        lease_seconds: silence after which a job is taken over.
    """

    def __init__(
        self,
        store: Store,
        *,
        owner: str | None = None,
        tick_seconds: float = TICK_SECONDS,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.store, self.owner = store, owner or own_name()
        self.tick_seconds, self.lease_seconds = tick_seconds, lease_seconds
        self._kinds: dict[str, Kind] = {}
        self._running: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self._documents: dict[str, Document] = {}
        self._ended: dict[str, tuple[int, float]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def register(self, kind: str, work: Work, *, resumes: bool = True, at_once: int = AT_ONCE) -> None:
        """Say how a kind of work is done.

        Args:
            kind: its name.
            work: does it; raises a `ServiceError` whose sentence becomes the job's, is cancelled to stop.
            resumes: whether it may be called again with the same job after an interruption.
            at_once: most of the kind that this process runs at the same time; further ones wait.
        """
        self._kinds[kind] = Kind(work, resumes, at_once)
        self._wake.set()

    async def start(self, kind: str, subject: str, spec: Mapping[str, Any], total: int = 0) -> Job:
        """Write down a job and begin it soon; returns at once.

        Raises:
            StoreError: it could not be written down; nothing will run.
        """
        now = time.time()
        job = Job(f"job_{secrets.token_hex(8)}", kind, subject, spec, total=total, created_at=now)
        self._note(await self.store.put(PREFIX + job.id, asdict(job), expected=ABSENT))
        self._wake.set()
        return job

    async def get(self, job_id: str) -> Job:
        """Return a job as it was last written down.

        Raises:
            UnknownJob: there is none of that id, or it is too long ago.
        """
        return job_of(await self._document(job_id))

    async def all(self) -> list[Job]:
        """Return every job of every process, newest first."""
        jobs = [job_of(document) for document in await self.store.find(PREFIX)]
        return sorted(jobs, key=lambda job: job.created_at, reverse=True)

    async def cancel(self, job_id: str) -> Job:
        """Stop a job: at once where nobody runs it, within a second or two where somebody does.

        One that has ended stays as it is.

        Raises:
            UnknownJob: there is none of that id.
        """
        while True:
            document = await self._document(job_id)
            job = job_of(document)
            if job.ended or job.cancelling:
                return job
            asked = replace(job, cancelling=True)
            asked = asked if job.state == "running" else ended(asked, "cancelled")
            with suppress(VersionConflict):
                self._note(await self.store.put(document.key, asdict(asked), expected=document.version))
                self._wake.set()
                return asked

    async def __aenter__(self) -> Jobs:
        works = {"jobs-follow": self._follow(), "jobs-look": self._look()}
        self._tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop; what runs is interrupted and left for the next process."""
        tasks = [*self._tasks, *(task for _, task in self._running.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _document(self, job_id: str) -> Document:
        document = await self.store.get(PREFIX + job_id)
        if document is None:
            raise UnknownJob(f"There is no job '{job_id}'; jobs are kept for a week.")
        return document

    async def _follow(self) -> None:
        """Know of every job that has not ended, whoever writes it down, for as long as the store is open."""
        after = ABSENT
        while not self.store.closed:
            try:
                async for change in self.store.watch(PREFIX, after=after):
                    after = change.version
                    if change.document is None:
                        self._forget(change.key)
                    else:
                        self._note(change.document)
                    self._wake.set()
            except StoreError as error:
                log.warning("jobs cannot be followed", extra=facts(error=str(error)))
                await asyncio.sleep(self.tick_seconds)

    def _note(self, document: Document) -> None:
        """Keep a job as it is now; of one that has ended, only when that was."""
        known = self._documents.get(document.key)
        if known is not None and known.version > document.version:
            return
        job = job_of(document)
        if job.ended:
            self._documents.pop(document.key, None)
            self._ended[document.key] = (document.version, job.finished_at or 0.0)
        else:
            self._documents[document.key] = document

    def _forget(self, key: str) -> None:
        self._documents.pop(key, None)
        self._ended.pop(key, None)

    async def _look(self) -> None:
        """Begin, cancel, take over and forget, every tick, forever."""
        while True:
            self._wake.clear()
            try:
                for document in list(self._documents.values()):
                    await self._attend(job_of(document), document)
                await self._clear_away()
            except StoreError as error:
                log.warning("jobs cannot be looked after", extra=facts(error=str(error)))
            with suppress(TimeoutError):
                async with asyncio.timeout(self.tick_seconds):
                    await self._wake.wait()

    async def _clear_away(self) -> None:
        long_ago = time.time() - KEPT_SECONDS
        for key in [key for key, (_, finished_at) in self._ended.items() if finished_at < long_ago]:
            with suppress(VersionConflict):
                await self.store.delete(key, expected=self._ended[key][0])
            self._forget(key)

    async def _attend(self, job: Job, document: Document) -> None:
        with suppress(VersionConflict):
            if job.id in self._running:
                task = self._running[job.id][1]
                if (job.cancelling or job.owner != self.owner) and not task.cancelling():
                    task.cancel()
            elif job.state == "queued" or job.beat_at + self.lease_seconds < time.time() or surely_gone(job.owner):
                await self._take(document, job)

    async def _take(self, document: Document, job: Job) -> None:
        """Run a job that nobody runs, where this process can."""
        kind = self._kinds.get(job.kind)
        if job.cancelling:
            taken = ended(job, "cancelled")
        elif kind is None or self._busy(job.kind) >= kind.at_once:
            return
        elif job.state == "running" and not kind.resumes:
            taken = ended(job, "failed", error=INTERRUPTED)
        else:
            taken = replace(job, state="running", owner=self.owner, beat_at=time.time())
        self._note(await self.store.put(document.key, asdict(taken), expected=document.version))
        if kind is not None and not taken.ended:
            run = Run(taken)
            holding = Holding(run, kind, self.store, self.owner, self.tick_seconds, self.lease_seconds, self._note)
            task = asyncio.create_task(holding.hold(), name=job.id)
            self._running[job.id] = (run, task)
            task.add_done_callback(lambda _: self._let_go(job.id))

    def _busy(self, kind: str) -> int:
        return sum(run.job.kind == kind for run, _ in self._running.values())

    def _let_go(self, job_id: str) -> None:
        del self._running[job_id]
        self._wake.set()
