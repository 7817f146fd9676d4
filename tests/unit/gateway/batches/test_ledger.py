"""What a ledger knows is what its journal says, whenever it is read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experts.batch import Journal, JournalError
from gateway.batches.answering import Route
from gateway.batches.ledger import Ledger
from gateway.batches.record import Counts
from gateway.batches.run import out_line
from gateway.batches.sheet import Line
from router.types import Assignment, RoutingDecision

ONE, TWO = Line(1, 0, 10, "a"), Line(2, 10, 10, "b")
ALONE = Route(
    RoutingDecision((Assignment("math", 1.0),), "profile", 0.9, fallbacks=("base",), fusion="single"),
    "single",
    {"x": 1},
)


def council(fusion: str, stages: tuple[int, ...] = ()) -> Route:
    three = tuple(Assignment(name, weight) for name, weight in (("math", 0.5), ("law", 0.3), ("base", 0.2)))
    return Route(RoutingDecision(three, "profile", 0.9, stages=stages, fusion=fusion), fusion)


def reopened(path: Path) -> Ledger:
    return Ledger(Journal.open(path), "input-1")


def close(ledger: Ledger) -> None:
    ledger.journal.sync()
    ledger.journal.close()


def test_routes_candidates_and_ends_are_known_again(tmp_path: Path) -> None:
    ledger = reopened(tmp_path / "j")
    ledger.routed(ONE, ALONE)
    ledger.routed(TWO, council("vote"))
    ledger.heard(TWO, 2, {"text": "7"})
    ledger.ended(ONE, out_line(ONE, 200, {"n": 1}), ok=True)
    close(ledger)
    again = reopened(tmp_path / "j")

    assert {1: ALONE, 2: council("vote")} == again.routes
    assert {2: {"text": "7"}} == again.candidates(TWO)
    assert (True, False) == (again.is_done(ONE), again.is_done(TWO))
    assert ({"n": 1}, True) == ((found := again.out(ONE)) and found[0]["response"]["body"], found and found[1])
    assert Counts(5, 1, 0) == again.counts(5)
    close(again)


def test_only_the_first_end_of_a_line_counts(tmp_path: Path) -> None:
    ledger = reopened(tmp_path / "j")
    ledger.ended(ONE, {"first": 1}, ok=False)
    ledger.ended(ONE, {"second": 2}, ok=True)
    ledger.journal.sync()

    assert ({"first": 1}, False) == ledger.out(ONE)
    assert Counts(2, 0, 1) == ledger.counts(2)
    close(ledger)


@pytest.mark.parametrize("reread", [False, True])
def test_a_new_route_forgets_the_candidates_of_the_old_one(tmp_path: Path, reread: bool) -> None:
    ledger = reopened(tmp_path / "j")
    ledger.routed(ONE, council("vote"))
    ledger.heard(ONE, 0, {"text": "old"})
    ledger.routed(ONE, council("vote"))
    ledger.heard(ONE, 1, {"text": "new"})
    ledger.journal.sync()
    if reread:
        close(ledger)
        ledger = reopened(tmp_path / "j")

    assert {1: {"text": "new"}} == ledger.candidates(ONE)
    close(ledger)


def test_a_journal_of_another_input_is_refused(tmp_path: Path) -> None:
    close(reopened(tmp_path / "j"))
    journal = Journal.open(tmp_path / "j")
    with pytest.raises(JournalError, match="belongs to another input"):
        Ledger(journal, "input-2")
    journal.close()


@pytest.mark.parametrize(
    ("route", "asked"),
    [
        (ALONE, (0,)),
        (council("single"), (0,)),
        (council("synthesize"), (0, 1, 2)),
        (council("synthesize", (2, 1)), (0, 1, 2)),
        (council("vote"), (0, 1, 2)),
        (council("vote", (2, 1)), (0, 1)),
        (council("cascade"), (0,)),
        (council("cascade", (2, 1)), (0, 1)),
    ],
)
def test_of_a_fused_line_those_are_asked_first_who_are_needed_in_any_case(route: Route, asked: Any) -> None:
    assert asked == route.places
