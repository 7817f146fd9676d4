"""Work one batch through: route all lines, ask expert by expert, fuse, try once more what failed.

Everything that is done goes to the journal, so that the same call after a crash goes on where it was. Cancelling
the task stops it; what is done by then is in the journal.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from experts.batch import Ask, Group, plan
from experts.errors import ExpertOverloaded, ServiceError
from experts.store import StoreError
from experts.types import ExpertName
from gateway.batches.answering import Answerer, Route
from gateway.batches.ledger import Ledger
from gateway.batches.sheet import Line, Sheet
from gateway.errors import error_body, wire
from router.errors import NoEligibleExpert

ROUTED_AT_ONCE = 32
FUSED_AT_ONCE = 32
SYNC_EVERY_RECORDS = 64
SYNC_EVERY_SECONDS = 0.5
OVERLOAD_TRIES = 6
LONGEST_PAUSE_SECONDS = 30.0
T = TypeVar("T")
CLIENTS_FAULT = frozenset({400, 401, 403, 404, 413, 422})


@dataclass(frozen=True, slots=True)
class Floor:
    """How experts stand while a batch is planned.

    Args:
        places: how many questions an expert is asked at a time.
        servers: which server an expert is on, where it shares one.
        resident: experts that hold memory now.
        groups_at_once: how many servers can be asked at the same time; None where all are awake.
    """

    places: Mapping[ExpertName, int] = field(default_factory=dict)
    servers: Mapping[ExpertName, str] = field(default_factory=dict)
    resident: Set[ExpertName] = frozenset()
    groups_at_once: int | None = None


class BatchRun:
    """One batch under way. The sheet is open, the ledger's journal too; the caller closes both.

    Args:
        sheet: the lines.
        ledger: what is done of them.
        answerer: who does the rest.
        floor: asked for how experts stand, whenever groups are planned.
        counted: told how each line ended: answered or failed.
    """

    def __init__(
        self,
        sheet: Sheet,
        ledger: Ledger,
        answerer: Answerer,
        floor: Callable[[], Floor],
        counted: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.sheet, self.ledger, self._counted = sheet, ledger, counted
        self._answerer, self._floor = answerer, floor
        self._lines = {line.number: line for line in sheet.lines}
        self._failed: dict[int, ServiceError] = {}
        self._news = asyncio.Event()

    async def work(self) -> None:
        """Return when every line has ended and is on the disk."""
        writer = asyncio.create_task(self._keep_writing(), name="batch-journal")
        try:
            await self._round(self._open())
            again, self._failed = self._failed, {}
            await self._round([self._lines[number] for number in again], again=True)
            for number, error in self._failed.items():
                self._end(self._lines[number], error)
            await self._written()
        finally:
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer
            await asyncio.shield(asyncio.to_thread(self.ledger.journal.sync))

    def _open(self) -> list[Line]:
        return [line for line in self.sheet.lines if not self.ledger.is_done(line)]

    async def _round(self, lines: list[Line], *, again: bool = False) -> None:
        """Try each line once; `self._failed` gets those that may be tried again."""
        unrouted = [line for line in lines if again or line.number not in self.ledger.routes]
        await _each(unrouted, self._route, ROUTED_AT_ONCE)
        routed = [line for line in lines if not self._left(line)]
        await self._ask_groups(list(self._asks(routed)))
        await self._written()
        several = [line for line in routed if self._route_of(line).several and not self._left(line)]
        await _each(sorted(several, key=self._next_expert), self._fuse, FUSED_AT_ONCE)

    def _left(self, line: Line) -> bool:
        return line.number in self._failed or self.ledger.is_done(line)

    def _route_of(self, line: Line) -> Route:
        return self.ledger.routes[line.number]

    def _next_expert(self, line: Line) -> tuple[ExpertName, int]:
        """Return whom a fused line may still have to ask, so that lines of one expert stand together."""
        route = self._route_of(line)
        rest = route.decision.assignments[len(route.places) :]
        return (rest[0].expert if rest else ""), line.number

    async def _route(self, line: Line) -> None:
        try:
            self.ledger.routed(line, await self._answerer.route(self.sheet.body(line)))
        except ServiceError as error:
            self._fail(line, error)
        self._told()

    def _asks(self, lines: Iterable[Line]) -> Iterator[Ask]:
        for line in lines:
            route = self._route_of(line)
            for place in route.places:
                if not self.ledger.has_candidate(line, place):
                    yield Ask(line.number, route.decision.assignments[place].expert, place)

    async def _ask_groups(self, asks: list[Ask]) -> None:
        """Ask group by group, as many at once as can be awake."""
        floor = self._floor()
        groups = plan(asks, servers=floor.servers, resident=floor.resident)
        await _each(groups, lambda group: self._ask_group(group, floor), floor.groups_at_once or len(groups))

    async def _ask_group(self, group: Group, floor: Floor) -> None:
        await asyncio.gather(
            *(_each(asks, self._ask, floor.places.get(expert, 1)) for expert, asks in group.by_expert().items())
        )

    async def _ask(self, ask: Ask) -> None:
        line = self._lines[ask.line]
        route, body = self._route_of(line), self.sheet.body(line)
        try:
            if route.several:
                self.ledger.heard(line, ask.place, await _patient(self._answerer.candidate, body, route, ask.place))
            else:
                self._end(line, await _patient(self._answerer.alone, body, route))
        except ServiceError as error:
            if not route.several:  # a candidate that is missing is asked once more when its line is fused
                self._fail(line, error)
        self._told()

    async def _fuse(self, line: Line) -> None:
        route, kept = self._route_of(line), self.ledger.candidates(line)
        try:
            self._end(line, await _patient(self._answerer.fused, self.sheet.body(line), route, kept))
        except ServiceError as error:
            self._fail(line, error)
        self._told()

    def _fail(self, line: Line, error: ServiceError) -> None:
        """Let a line be tried again at the end, unless it is at fault itself."""
        if wire(error).status in CLIENTS_FAULT and not isinstance(error, NoEligibleExpert):
            self._end(line, error)
        else:
            self._failed[line.number] = error

    def _end(self, line: Line, result: Mapping[str, Any] | ServiceError) -> None:
        ok = not isinstance(result, ServiceError)
        if isinstance(result, ServiceError):
            out = out_line(line, wire(result).status, error_body(result))
        else:
            out = out_line(line, 200, result)
        self.ledger.ended(line, out, ok=ok)
        self._counted("answered" if ok else "failed")

    def _told(self) -> None:
        if self.ledger.journal.pending >= SYNC_EVERY_RECORDS:
            self._news.set()

    async def _keep_writing(self) -> None:
        """Write what was added, every so many records or half a second; a full disk is waited out."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SYNC_EVERY_SECONDS):
                    await self._news.wait()
            self._news.clear()
            with suppress(StoreError):
                await asyncio.to_thread(self.ledger.journal.sync)

    async def _written(self) -> None:
        """Return when everything so far is on the disk."""
        await asyncio.to_thread(self.ledger.journal.sync)


def out_line(line: Line, status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of the output file, answered or refused."""
    response = {"status_code": status, "request_id": uuid.uuid4().hex, "body": body}
    return {"id": _request_id(), "custom_id": line.custom_id, "response": response, "error": None}


def unfinished_line(line: Line, code: str, message: str) -> dict[str, Any]:
    """Return a line of the output file of a request that never ran to its end."""
    told = {"code": code, "message": message}
    return {"id": _request_id(), "custom_id": line.custom_id, "response": None, "error": told}


def _request_id() -> str:
    return f"batch_req_{uuid.uuid4().hex[:24]}"


async def _patient(answer: Callable[..., Coroutine[None, None, dict[str, Any]]], *arguments: Any) -> dict[str, Any]:
    """Ask, and ask again where the server says that it has too much to do: a batch can wait.

    Raises:
        ServiceError: it could not be answered.
    """
    for tries in range(1, OVERLOAD_TRIES):
        try:
            return await answer(*arguments)
        except ExpertOverloaded as error:
            await asyncio.sleep(min(LONGEST_PAUSE_SECONDS, max(error.retry_after, 0.5) * tries))
    return await answer(*arguments)


async def _each(items: Iterable[T], work: Callable[[T], Coroutine[None, None, None]], at_once: int) -> None:
    """Do the work for every item, in their order, so many at a time; all are stopped when one is a bug."""
    rest = iter(items)

    async def one_after_the_other() -> None:
        for item in rest:
            await work(item)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(max(1, at_once)):
            tasks.create_task(one_after_the_other())
