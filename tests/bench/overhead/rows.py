"""What is asked, and one row of the table for it."""

from __future__ import annotations

import itertools
import json
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import psutil

from tests.bench.overhead.load import Target, closed_loop, open_loop, streams

CLIENTS = 32
ARRIVALS_PER_SECOND = 20.0
STREAMS = 256
STALLED_SECONDS = 1.0
"""A stream is stalled that says nothing for so long, 100 times the pause between two tokens."""
WARM_SECONDS = 0.2
WORDS = [
    "how",
    "many",
    "ways",
    "can",
    "the",
    "court",
    "read",
    "a",
    "law",
    "of",
    "motion",
    "when",
    "energy",
    "is",
    "a",
    "sum",
    "over",
    "all",
    "words",
    "in",
    "this",
    "short",
    "story",
    "about",
    "history",
    "physics",
    "and",
    "numbers",
    "that",
    "were",
    "given",
    "to",
    "people",
    "who",
    "ask",
    "for",
    "the",
    "price",
    "of",
    "a",
    "share",
    "or",
    "the",
    "name",
    "of",
    "a",
    "king",
]
WORDS_PER_TOKEN = 0.95


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request: how long its prompt is, whether it is streamed, whether no two are alike."""

    tokens: int
    stream: bool
    distinct: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """What one contender did with one case. Times in ms, from the moment a request was due to its last byte.

    `alone` is one client after the other; `p50` and `p99` come of arrivals in the open; `first` is the median time to
    the first byte of the answer, one client. `processor` is the contender's own processor time for a request, many
    clients: it says the same on a machine that does other things too.
    """

    who: str
    tokens: int
    stream: bool
    alone: float
    first: float
    p50: float
    p99: float
    per_second: float
    processor: float
    failed: int
    rss_mib: float
    rates: tuple[float, ...] = ()


def middle(rows: Sequence[Row]) -> Row:
    """Return the medians of the same row measured several times; `rates` are all rates, the least first."""
    first = rows[0]
    medians = {
        each.name: statistics.median(getattr(row, each.name) for row in rows)
        for each in fields(Row)
        if each.name not in ("who", "tokens", "stream", "failed", "rates")
    }
    rates = tuple(sorted(round(row.per_second, 1) for row in rows))
    return replace(first, **medians, failed=sum(row.failed for row in rows), rates=rates)


def bodies(model: str, case: Case, seed: int = 0) -> Iterator[bytes]:
    """Yield request bodies without end; of distinct ones, the first 30 tokens are drawn anew each time."""
    draw, stock = random.Random(seed), random.Random(7)
    rest = " ".join(stock.choices(WORDS, k=max(0, round((case.tokens - 30) * WORDS_PER_TOKEN))))
    marker, drawn = "@@", min(case.tokens, 30)
    body = {"model": model, "messages": [{"role": "user", "content": f"{marker} {rest}"}], "stream": case.stream}
    before, after = json.dumps(body, separators=(",", ":")).encode().split(marker.encode())
    for _ in itertools.count():
        words = " ".join((draw if case.distinct else random.Random(1)).choices(WORDS, k=drawn))
        yield before + words.encode() + after


async def row(who: str, target: Target, case: Case, seconds: float, process: psutil.Process) -> Row:
    """Measure one row: warm, one client, arrivals in the open, many clients."""
    asked = bodies(target.model, case, case.seed)
    await closed_loop(target, asked, clients=CLIENTS, seconds=WARM_SECONDS)
    one = await closed_loop(target, asked, clients=1, seconds=seconds / 2)
    arrivals = await open_loop(target, asked, per_second=ARRIVALS_PER_SECOND, seconds=seconds)
    before = processor_seconds(process)
    many = await closed_loop(target, asked, clients=CLIENTS, seconds=seconds)
    spent = processor_seconds(process) - before
    return Row(
        who,
        case.tokens,
        case.stream,
        alone=1000 * statistics.median(one.total or [float("nan")]),
        first=1000 * statistics.median(one.first or [float("nan")]),
        p50=1000 * statistics.median(arrivals.total or [float("nan")]),
        p99=1000 * percentile(arrivals.total, 0.99),
        per_second=many.per_second,
        processor=1000 * spent / max(1, len(many.total)),
        failed=one.failed + arrivals.failed + many.failed,
        rss_mib=memory_mib(process),
    )


@dataclass(frozen=True, slots=True)
class StreamRow:
    """Many paced streams at once. Times in ms; `stalled` counts streams with a pause of `STALLED_SECONDS`."""

    who: str
    streams: int
    first_p50: float
    first_p99: float
    total_p50: float
    longest_gap: float
    stalled: int
    failed: int
    processor_share: float


async def stream_row(who: str, target: Target, process: psutil.Process) -> StreamRow:
    """Measure `STREAMS` streams at the upstream's pace."""
    case = Case(100, True)
    asked = (body[:-1] + b',"user":"paced"}' for body in bodies(target.model, case))
    before = processor_seconds(process)
    taken = await streams(target, asked, count=STREAMS)
    used = processor_seconds(process) - before
    return StreamRow(
        who,
        STREAMS,
        first_p50=1000 * statistics.median(taken.first or [float("nan")]),
        first_p99=1000 * percentile(taken.first, 0.99),
        total_p50=1000 * statistics.median(taken.total or [float("nan")]),
        longest_gap=1000 * max(taken.gaps, default=float("nan")),
        stalled=sum(gap >= STALLED_SECONDS for gap in taken.gaps),
        failed=taken.failed,
        processor_share=used / taken.seconds,
    )


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` of them lie; NaN of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def processor_seconds(process: psutil.Process) -> float:
    """Return the processor time that a process and its children have used."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def memory_mib(process: psutil.Process) -> float:
    """Return the resident memory of a process and its children."""
    family = [process, *process.children(recursive=True)]
    return float(sum(each.memory_info().rss for each in family)) / 2**20


async def growth(target: Target, process: psutil.Process, seconds: float) -> dict[str, Any]:
    """Return how memory moves under full load: MiB at the start, at the half and at the end, and requests made."""
    asked, seen, made = bodies(target.model, Case(100, False)), [memory_mib(process)], 0
    for _ in range(2):
        taken = await closed_loop(target, asked, clients=CLIENTS, seconds=seconds / 2)
        seen.append(memory_mib(process))
        made += len(taken.total)
    return {"mib": [round(each, 1) for each in seen], "requests": made}
