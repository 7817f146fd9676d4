"""Clients' batches from the order to the output file. A job runs each, so one process does, and another takes over.

validating   the input is being checked         in_progress  its lines are being answered
finalizing   the output is being written        completed    it is there
failed       the input cannot be run            expired      what was done in the window is there
cancelling   asked to stop                      cancelled    what was done until then is there
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experts.batch import Journal
from experts.store import ABSENT, Document, Store, StoreError, VersionConflict
from gateway.batches.answering import Answerer
from gateway.batches.ledger import Ledger
from gateway.batches.output import write_output
from gateway.batches.record import PREFIX, Batch, Counts, Status, batch_of
from gateway.batches.run import BatchRun, Floor
from gateway.batches.sheet import Sheet, read_sheet
from gateway.batches.shelf import BATCH_OUTPUT, Shelf, unwritable
from gateway.errors import UnknownBatch
from gateway.job import Job, Run
from gateway.jobs import Jobs
from gateway.logs import facts

log = logging.getLogger(__name__)
KIND = "batch"
AT_ONCE = 4
TICK_SECONDS = 1.0
BUSY_SECONDS = 2.0
EXPIRED = ("batch_expired", "This request could not be executed before the completion window expired.")


class Desk:
    """Takes batches, has them run, and says how far they are. Everything given is borrowed.

    Args:
        store: where the documents are.
        shelf: where the files are.
        jobs: has the batches run.
        answerer: makes what answers the lines of a key's batch.
        floor: how experts stand.
        ready: waited for before a batch begins, so that experts still starting get their lines.
        longest_line: most bytes of one line.
        at_once: most batches that this process runs at the same time.
        counted: told how each line ended.
    """

    def __init__(
        self,
        store: Store,
        shelf: Shelf,
        jobs: Jobs,
        *,
        answerer: Callable[[str], Answerer],
        floor: Callable[[], Floor],
        ready: Callable[[], Coroutine[None, None, None]],
        longest_line: int,
        at_once: int = AT_ONCE,
        counted: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store, self.shelf, self._jobs = store, shelf, jobs
        self._answerer, self._floor, self._ready = answerer, floor, ready
        self._longest_line, self._counted = longest_line, counted
        jobs.register(KIND, self._work, at_once=at_once)

    async def order(self, key: str, file_id: str, endpoint: str, metadata: Mapping[str, str] | None) -> Batch:
        """Take a batch of a file of this key's; it begins soon.

        Raises:
            UnknownFile: there is no such file.
        """
        await self.shelf.get(file_id, key)
        batch = Batch(f"batch_{secrets.token_hex(12)}", key, file_id, endpoint, metadata=metadata)
        # The job carries the whole order: it makes the document itself, should we die before we do.
        await self._jobs.start(KIND, batch.id, {"batch": asdict(batch)})
        with suppress(VersionConflict):
            await self._store.put(PREFIX + batch.id, asdict(batch), expected=ABSENT)
        return batch

    async def get(self, batch_id: str, key: str) -> Batch:
        """Return a batch of this key's.

        Raises:
            UnknownBatch: there is none.
        """
        batch = batch_of(await self._mine(batch_id, key))
        if batch.status == "validating" and await self._called_off(batch):
            return await self._changed(batch.id, lambda known: known.to("cancelled"))
        return batch

    async def _called_off(self, batch: Batch) -> bool:
        """Say whether the administrator cancelled a batch's job before anybody took it up."""
        return any(job.subject == batch.id and job.state == "cancelled" for job in await self._jobs.all())

    async def all(self, key: str) -> list[Batch]:
        """Return the batches of a key, newest first."""
        found = [batch_of(document) for document in await self._store.find(PREFIX)]
        return sorted((b for b in found if b.key == key), key=lambda batch: (-batch.created_at, batch.id))

    async def cancel(self, batch_id: str, key: str) -> Batch:
        """Ask that a batch stops; one that has ended stays as it is.

        Raises:
            UnknownBatch: there is none.
        """
        await self._mine(batch_id, key)
        return await self._changed(batch_id, lambda batch: batch.to("cancelling"))

    async def reads(self, file_id: str, key: str) -> bool:
        """Say whether a batch that has not ended reads this file."""
        return any(batch.input_file_id == file_id and not batch.ended for batch in await self.all(key))

    async def _mine(self, batch_id: str, key: str) -> Document:
        document = await self._store.get(PREFIX + batch_id)
        if document is None or document.body.get("key") != key:
            raise UnknownBatch(f"There is no batch '{batch_id[:64]}' of yours.", param="batch_id")
        return document

    async def _changed(self, batch_id: str, change: Callable[[Batch], Batch]) -> Batch:
        """Change a batch's document, whatever others do to it meanwhile."""
        while True:
            document = await self._store.get(PREFIX + batch_id)
            if document is None:
                raise UnknownBatch(f"There is no batch '{batch_id}'.")
            batch = batch_of(document)
            changed = change(batch)
            if changed == batch:
                return batch
            with suppress(VersionConflict):
                await self._store.put(document.key, asdict(changed), expected=document.version)
                return changed

    async def _work(self, run: Run) -> Mapping[str, Any]:
        """Run a batch from wherever it is to its end: the work of its job."""
        batch = await self._begun(run.job)
        try:
            while not batch.ended:
                batch = await self._tried(run, batch)
        except asyncio.CancelledError:
            if (await self._jobs.get(run.job.id)).cancelling:
                await self._changed(batch.id, lambda known: known.to("cancelling"))
                await self._through(run, batch)
            raise
        except (ExceptionGroup, OSError):
            told = {"code": "internal_error", "message": f"A bug of ours: the log has it under job {run.job.id}."}
            await self._failed(batch, [told])
            raise
        await asyncio.to_thread(self._journal(batch).unlink, missing_ok=True)
        return {"batch": batch.id, "status": batch.status, "request_counts": asdict(batch.counts)}

    async def _tried(self, run: Run, batch: Batch) -> Batch:
        """Take a batch to its end, or as far as it gets before the store or the disk fails; then wait a little.

        Nothing is lost by that: it goes on from its journal. That may also be open still, in a process that lost the
        job's lease and has not noticed yet.
        """
        try:
            return await self._through(run, batch)
        except StoreError as error:
            log.warning("a batch has to wait", extra=facts(batch=batch.id, error=str(error)))
            await asyncio.sleep(BUSY_SECONDS)
            return batch

    def _journal(self, batch: Batch) -> Path:
        return self.shelf.path(batch.input_file_id).with_name(f".{batch.id}.journal")

    async def _begun(self, job: Job) -> Batch:
        ordered = Batch(**{**job.spec["batch"], "counts": Counts(), "errors": ()})
        with suppress(VersionConflict):
            await self._store.put(PREFIX + ordered.id, asdict(ordered), expected=ABSENT)
        return await self._changed(ordered.id, lambda batch: batch)

    async def _through(self, run: Run, batch: Batch) -> Batch:
        """Take a batch to its end.

        Raises:
            StoreError: the store or the disk failed, or another process still has the journal.
        """
        path = self.shelf.path(batch.input_file_id)
        if not path.exists():
            return await self._failed(batch, [{"code": "missing_file", "message": "The input file is gone."}])
        sheet = await asyncio.to_thread(read_sheet, path, self._longest_line, batch.endpoint)
        if sheet.problems:
            return await self._failed(batch, [problem.shown() for problem in sheet.problems])
        journal = await asyncio.to_thread(Journal.open, self._journal(batch))
        try:
            ledger = await asyncio.to_thread(Ledger, journal, batch.input_file_id)
            with sheet:
                ended = await self._answered(run, batch, sheet, ledger)
        finally:
            journal.close()
        log.info("batch", extra=facts(batch=batch.id, status=ended.status, **asdict(ended.counts)))
        return ended

    async def _failed(self, batch: Batch, errors: list[dict[str, Any]]) -> Batch:
        return await self._changed(batch.id, lambda b: b.to("failed", errors=tuple(errors)))

    async def _answered(self, run: Run, batch: Batch, sheet: Sheet, ledger: Ledger) -> Batch:
        """Answer the lines until all are done, it is cancelled or its window is over; then write the output."""
        total = len(sheet.lines)

        def going_on(known: Batch) -> Batch:
            known = known.to("in_progress") if known.status == "validating" else known
            return known.to(known.status, counts=ledger.counts(total))

        batch = await self._changed(batch.id, going_on)
        work = asyncio.create_task(self._lines(batch, sheet, ledger), name=batch.id)
        try:
            while not work.done() and batch.status != "cancelling" and time.time() < batch.expires_at:
                await asyncio.wait({work}, timeout=TICK_SECONDS)
                with suppress(StoreError):  # told later, then
                    batch = await self._changed(batch.id, going_on)
                run.progress(batch.counts.completed + batch.counts.failed, total)
            end = self._end(batch, work)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        return await self._written(batch, sheet, ledger, end)

    def _end(self, batch: Batch, work: asyncio.Task[None]) -> Status:
        """Return how it ended; raises what the work failed with."""
        if work.done():
            work.result()
            return "completed"
        return "cancelled" if batch.status == "cancelling" else "expired"

    async def _lines(self, batch: Batch, sheet: Sheet, ledger: Ledger) -> None:
        await self._ready()
        await BatchRun(sheet, ledger, self._answerer(batch.key), self._floor, self._counted).work()

    async def _written(self, batch: Batch, sheet: Sheet, ledger: Ledger, end: Status) -> Batch:
        """Write the output files, then say so."""
        if end == "completed":
            batch = await self._changed(batch.id, lambda known: known.to("finalizing"))
        name = batch.id.replace("batch_", "file-")  # written again after a crash, it is the same file
        out, errors = self.shelf.draft(f"{name}-out"), self.shelf.draft(f"{name}-err")
        try:
            unfinished = EXPIRED if end == "expired" else None
            await asyncio.to_thread(ledger.journal.sync)
            failed = await asyncio.to_thread(write_output, sheet, ledger, out.file, errors.file, unfinished)
            kept = await self.shelf.keep(out, batch.key, f"{batch.id}_output.jsonl", BATCH_OUTPUT)
            apart = None
            if failed:
                apart = await self.shelf.keep(errors, batch.key, f"{batch.id}_error.jsonl", BATCH_OUTPUT)
        except OSError as error:
            raise unwritable(error) from error
        finally:
            self.shelf.drop(out)
            self.shelf.drop(errors)
        counts = Counts(len(sheet.lines), ledger.counts(0).completed, failed)
        files = {"output_file_id": kept.id, "error_file_id": apart.id if apart else None}
        return await self._changed(batch.id, lambda known: known.to(end, counts=counts, **files))
