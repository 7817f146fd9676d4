"""A run cut off anywhere, a journal torn anywhere: every line ends once, what is journaled is not done again."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experts.batch import Journal
from experts.batch.journal import whole_records
from experts.errors import ExpertRejected, ExpertUnavailable
from gateway.batches.answering import Answerer, Route
from gateway.batches.ledger import Ledger
from gateway.batches.output import write_output
from gateway.batches.run import BatchRun, Floor
from gateway.batches.sheet import Sheet, read_sheet
from router.types import Assignment, RoutingDecision

EXPERTS = ("math", "law", "code")


class Scripted(Answerer):
    """Answers by the question's number, and records what it was asked; every fifth is refused, some fail once."""

    def __init__(self, flaky: bool = True) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()
        self.order: list[str] = []
        self.flaky = flaky

    async def route(self, body: Mapping[str, Any]) -> Route:
        await asyncio.sleep(0)
        number = body["n"]
        if number % 7 == 0:
            three = tuple(Assignment(name, 0.3) for name in EXPERTS)
            return Route(RoutingDecision(three, "profile", 1.0, fusion="synthesize"), "synthesize")
        alone = (Assignment(EXPERTS[number % 3], 1.0),)
        return Route(RoutingDecision(alone, "profile", 1.0, fusion="single"), "single")

    async def alone(self, body: Mapping[str, Any], route: Route) -> dict[str, Any]:
        self.order.append(route.decision.assignments[0].expert)
        return await self._answer("alone", body["n"])

    async def candidate(self, body: Mapping[str, Any], route: Route, place: int) -> dict[str, Any]:
        return {**(await self._answer(f"candidate {place}", body["n"])), "place": place}

    async def fused(self, body: Mapping[str, Any], route: Route, kept: Mapping[int, Any]) -> dict[str, Any]:
        answer = await self._answer("fused", body["n"])
        return {**answer, "of": sorted(kept)}

    async def _answer(self, what: str, number: int) -> dict[str, Any]:
        await asyncio.sleep(0)
        self.asked[what, number] += 1
        if number % 5 == 0 and what in ("alone", "fused"):
            raise ExpertRejected("math", "too long")
        if self.flaky and number % 11 == 0 and self.asked[what, number] == 1:
            raise ExpertUnavailable("math", "gone for a moment")
        return {"answer": number}


def sheet_of(path: Path, count: int) -> Sheet:
    record = {"method": "POST", "url": "/v1/chat/completions"}
    lines = [{**record, "custom_id": f"r{n}", "body": {"n": n}} for n in range(1, count + 1)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return read_sheet(path, 10_000)


async def work(sheet: Sheet, journal_path: Path, answerer: Answerer, floor: Floor, steps: int | None = None) -> None:
    """Run to the end, or for so many turns of the event loop."""
    journal = Journal.open(journal_path)
    with sheet:
        task = asyncio.create_task(BatchRun(sheet, Ledger(journal, "i"), answerer, lambda: floor).work())
        for _ in range(steps or 0):
            await asyncio.sleep(0)
        if steps is not None:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    journal.close()


def output(sheet: Sheet, journal_path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    journal, out, errors = Journal.open(journal_path), io.BytesIO(), io.BytesIO()
    write_output(sheet, Ledger(journal, "i"), out, errors)
    journal.close()
    first, second = ([json.loads(line) for line in file.getvalue().splitlines()] for file in (out, errors))
    return first, second


def done(path: Path) -> set[int]:
    return {record["line"] for _, _, record in whole_records(path) if record["kind"] == "done"}


FLOOR = Floor(places=dict.fromkeys(EXPERTS, 4), resident=set(EXPERTS))


async def test_lines_are_answered_refused_tried_again_and_fused(tmp_path: Path) -> None:
    answerer, sheet = Scripted(), sheet_of(tmp_path / "in", 80)
    await work(sheet, tmp_path / "j", answerer, FLOOR)
    out, errors = output(sheet, tmp_path / "j")

    assert [f"r{n}" for n in range(1, 81)] == [line["custom_id"] for line in out]
    assert [f"r{n}" for n in range(5, 81, 5)] == [line["custom_id"] for line in errors]
    assert {400} == {line["response"]["status_code"] for line in errors}
    assert [0, 1, 2] == out[6]["response"]["body"]["of"]
    assert 2 == answerer.asked["alone", 11]
    assert 1 == answerer.asked["alone", 10]


async def test_a_line_that_fails_twice_carries_its_error(tmp_path: Path) -> None:
    class Down(Scripted):
        async def _answer(self, what: str, number: int) -> dict[str, Any]:
            self.asked[what, number] += 1
            raise ExpertUnavailable("math", "nobody there")

    answerer, sheet = Down(), sheet_of(tmp_path / "in", 3)
    await work(sheet, tmp_path / "j", answerer, FLOOR)
    out, errors = output(sheet, tmp_path / "j")

    assert [503] * 3 == [line["response"]["status_code"] for line in out]
    assert out == errors
    assert [2, 2, 2] == [answerer.asked["alone", n] for n in (1, 2, 3)]


@pytest.mark.parametrize(("at_once", "switches"), [(1, 2), (None, 10)])
async def test_where_few_can_be_awake_each_expert_has_one_turn(
    tmp_path: Path, at_once: int | None, switches: int
) -> None:
    answerer, sheet = Scripted(flaky=False), sheet_of(tmp_path / "in", 60)
    floor = Floor(places=dict.fromkeys(EXPERTS, 4), resident={"code"}, groups_at_once=at_once)
    await work(sheet, tmp_path / "j", answerer, floor)
    changes = sum(one != other for one, other in zip(answerer.order, answerer.order[1:], strict=False))

    assert changes == 2 if at_once == 1 else changes > switches
    assert at_once is None or "code" == answerer.order[0]


@given(st.lists(st.tuples(st.integers(0, 120), st.floats(0, 1)), max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
async def test_cut_off_and_torn_anywhere_it_ends_as_if_nothing_had_been(
    tmp_path: Path, cuts: list[tuple[int, float]]
) -> None:
    sheet, path = sheet_of(tmp_path / "in", 60), tmp_path / "j"
    path.unlink(missing_ok=True)
    for steps, torn in cuts:
        await work(sheet, path, Scripted(), FLOOR, steps)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) - round(torn * min(len(content), 300))])
        finished, after = done(path), Scripted()
        await work(sheet, path, after, FLOOR, steps)
        assert set() == finished & {number for _, number in after.asked}
    finished, last = done(path) if path.exists() else set(), Scripted()
    await work(sheet, path, last, FLOOR)
    out, _ = output(sheet, path)

    assert set() == finished & {number for _, number in last.asked}
    assert [f"r{n}" for n in range(1, 61)] == [line["custom_id"] for line in out]
    for number, line in enumerate(out, 1):
        expected = 400 if number % 5 == 0 else 200
        assert expected == line["response"]["status_code"]
