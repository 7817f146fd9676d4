"""The table, and what was promised beside what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tests.bench.overhead.rows import Row, StreamRow

HEAD = """| who | prompt | answer | one client | first byte | added | arrivals | p99 | 32 clients | processor | memory |
|---|---|---|---|---|---|---|---|---|---|---|"""
STREAM_HEAD = """| who | streams | first token p50 | p99 | whole p50 | longest pause | stalled | failed | cores used |
|---|---|---|---|---|---|---|---|---|"""


def table(rows: Iterable[Row], streams: Iterable[StreamRow]) -> str:
    """Return both tables in Markdown."""
    known = {(row.who, row.tokens, row.stream): row for row in rows}
    lines = [_line(row, known.get(("direct", row.tokens, row.stream))) for row in known.values()]
    paced = [
        f"| {s.who} | {s.streams} | {s.first_p50:.1f} ms | {s.first_p99:.1f} ms | {s.total_p50:.0f} ms "
        f"| {s.longest_gap:.0f} ms | {s.stalled} | {s.failed} | {s.processor_share:.2f} |"
        for s in streams
    ]
    return "\n".join([HEAD, *lines, "", *([STREAM_HEAD, *paced] if paced else [])])


def _line(row: Row, direct: Row | None) -> str:
    added = "" if direct is None or direct is row else f"{row.alone - direct.alone:.2f} ms"
    return (
        f"| {row.who} | {row.tokens} | {'stream' if row.stream else 'whole'} | {row.alone:.2f} ms | {row.first:.2f} ms "
        f"| {added} | {row.p50:.2f} ms | {row.p99:.2f} ms | {row.per_second:.0f}/s "
        f"| {'' if row.who == 'direct' else f'{row.processor:.2f} ms'} | {row.rss_mib:.0f} MiB |"
    )


def verdicts(found: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each requirement that these rows say something about."""
    rows = {(row.who, row.tokens): row for row in found["rows"] if not row.stream}
    yield from _ratio(rows, "named", 100, 20)
    yield from _added(rows, "named", 100, 1.2)
    yield from _added(rows, "auto", 30, 10)
    if row := rows.get(("auto", 30)):
        yield _verdict("auto, distinct prompts of 30 tokens, requests/s at 32 clients", row.per_second, 200, least=True)
    yield from _ratio(rows, "auto", 30, 3)
    yield from _ratio(rows, "repeated", 30, 15)
    yield from _streaming({row.who: row for row in found["streams"]})
    yield _verdict("requests that failed", sum(row.failed for row in found["rows"]), 0)
    if memory := found["memory"]:
        yield f"memory of the gateway over {memory['requests']} requests: {memory['mib']} MiB"


def _ratio(rows: dict[tuple[str, int], Row], who: str, tokens: int, wanted: float) -> Iterator[str]:
    ours, theirs = rows.get((who, tokens)), rows.get(("litellm", tokens))
    if ours and theirs:
        label = f"{who}, {tokens} tokens, whole, throughput over LiteLLM's"
        yield _verdict(label, ours.per_second / theirs.per_second, wanted, least=True)


def _added(rows: dict[tuple[str, int], Row], who: str, tokens: int, wanted: float) -> Iterator[str]:
    ours, direct = rows.get((who, tokens)), rows.get(("direct", tokens))
    if ours and direct:
        yield _verdict(f"{who}, {tokens} tokens, added p50 in ms, one client", ours.alone - direct.alone, wanted)


def _streaming(streams: dict[str, StreamRow]) -> Iterator[str]:
    ours, direct = streams.get("named"), streams.get("direct")
    if ours and direct:
        label = f"{ours.streams} streams at 100 tokens/s, added p99 to the first token in ms"
        yield _verdict(label, ours.first_p99 - direct.first_p99, 50)
        yield _verdict("streams stalled or failed", ours.stalled + ours.failed, 0)


def _verdict(label: str, measured: float, wanted: float, *, least: bool = False) -> str:
    met = measured >= wanted if least else measured <= wanted
    return f"{'met ' if met else 'MISSED'} {label}: {measured:.2f} ({'at least' if least else 'at most'} {wanted:g})"
