"""What of one batch is known: read from its journal when it is taken up, kept beside it from then on.

begun      which input this is the journal of        route      who answers a line
candidate  one expert's answer to a fused line       done       a line's end: the line of the output file
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experts.batch import Journal, JournalError
from gateway.batches.answering import Route, route_of
from gateway.batches.record import Counts
from gateway.batches.sheet import Line


class Ledger:
    """The state of a batch's lines, by line number. Reading `routes` is memory; answers stay on the disk.

    Args:
        journal: opened by the caller, who closes it and syncs it.
        fingerprint: what tells this input from another.

    Raises:
        JournalError: the journal is another input's.
    """

    def __init__(self, journal: Journal, fingerprint: str) -> None:
        self.journal = journal
        self.routes: dict[int, Route] = {}
        self._candidates: dict[int, dict[int, int]] = {}
        self._done: dict[int, tuple[int, bool]] = {}
        begun = False
        for offset, record in journal.records():
            if record["kind"] == "begun" and record["input"] != fingerprint:
                raise JournalError(f"{journal.path} belongs to another input; remove it to begin anew.")
            begun = True
            self._take(offset, record)
        if not begun:
            journal.append({"kind": "begun", "input": fingerprint})

    def _take(self, offset: int, record: Mapping[str, Any]) -> None:
        if record["kind"] == "route":
            self._candidates.pop(record["line"], None)
            self.routes[record["line"]] = route_of(record["route"])
        elif record["kind"] == "candidate":
            self._candidates.setdefault(record["line"], {})[record["place"]] = offset
        elif record["kind"] == "done":
            self._done[record["line"]] = (offset, record["ok"])

    def routed(self, line: Line, route: Route) -> None:
        """Keep who answers a line; an earlier route's candidates are forgotten."""
        self._candidates.pop(line.number, None)
        self.routes[line.number] = route
        self.journal.append({"kind": "route", "line": line.number, "route": route.as_json()})

    def heard(self, line: Line, place: int, answer: Mapping[str, Any]) -> None:
        """Keep one expert's answer to a fused line."""
        record = {"kind": "candidate", "line": line.number, "place": place, "answer": answer}
        self._candidates.setdefault(line.number, {})[place] = self.journal.append(record)

    def ended(self, line: Line, out: Mapping[str, Any], *, ok: bool) -> None:
        """Keep how a line ended; only the first end counts."""
        if line.number not in self._done:
            record = {"kind": "done", "line": line.number, "ok": ok, "out": out}
            self._done[line.number] = (self.journal.append(record), ok)

    def is_done(self, line: Line) -> bool:
        """Say whether a line has ended."""
        return line.number in self._done

    def has_candidate(self, line: Line, place: int) -> bool:
        """Say whether this expert's answer to a fused line is kept."""
        return place in self._candidates.get(line.number, {})

    def candidates(self, line: Line) -> dict[int, Mapping[str, Any]]:
        """Return the answers kept for a fused line, by place; the journal must be synced."""
        kept = self._candidates.get(line.number, {})
        return {place: self.journal.read(kept[place])["answer"] for place in sorted(kept)}

    def out(self, line: Line) -> tuple[Mapping[str, Any], bool] | None:
        """Return a line's line of the output and whether it was answered; None before its end. Synced journal only."""
        if line.number not in self._done:
            return None
        offset, ok = self._done[line.number]
        return self.journal.read(offset)["out"], ok

    def counts(self, total: int) -> Counts:
        """Return how far it is."""
        completed = sum(ok for _, ok in self._done.values())
        return Counts(total, completed, len(self._done) - completed)
