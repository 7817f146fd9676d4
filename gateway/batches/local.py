"""A batch from a file to a file on one's own disk, in this process: the run, journal and output of the API's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from experts.batch import Journal
from gateway.batches.answering import Answerer
from gateway.batches.ledger import Ledger
from gateway.batches.output import write_output
from gateway.batches.record import Counts
from gateway.batches.run import BatchRun, Floor
from gateway.batches.sheet import Sheet

LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Errand:
    """One such batch.

    Args:
        sheet: the checked input.
        journal: where it is remembered what is done.
        out: the output; it appears whole, at the end.
        fingerprint: what tells this input from another.
    """

    sheet: Sheet
    journal: Path
    out: Path
    fingerprint: str


async def run_errand(
    errand: Errand, answerer: Answerer, floor: Callable[[], Floor], told: Callable[[Counts], None]
) -> Counts:
    """Do it, from where it was left; `told` hears how far it is. The journal stays, for the caller to remove.

    Raises:
        JournalBusy: another process is doing it.
        JournalError: the journal is that of another input.
    """
    total = len(errand.sheet.lines)
    journal = await asyncio.to_thread(Journal.open, errand.journal)
    try:
        ledger = await asyncio.to_thread(Ledger, journal, errand.fingerprint)
        with errand.sheet:
            work = asyncio.create_task(BatchRun(errand.sheet, ledger, answerer, floor).work())
            try:
                while not work.done():
                    told(ledger.counts(total))
                    await asyncio.wait({work}, timeout=LOOK_SECONDS)
                work.result()
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
            await asyncio.to_thread(_write, errand, ledger)
        counts = ledger.counts(total)
    finally:
        journal.close()
    told(counts)
    return counts


def _write(errand: Errand, ledger: Ledger) -> None:
    part = errand.out.with_name(f".{errand.out.name}.part")
    with part.open("wb") as out, open(os.devnull, "wb") as nowhere:
        write_output(errand.sheet, ledger, out, nowhere)
        out.flush()
        os.fsync(out.fileno())
    part.rename(errand.out)
