"""Gathering: quorum, deadline, early stop, and nothing left running."""

from __future__ import annotations

import pytest

from aggregator.errors import QuorumNotReached
from aggregator.gathering import gather
from aggregator.types import FusionLimits, FusionReport
from experts.errors import ExpertRejected
from experts.types import Usage
from tests.unit.aggregator.worlds import fails, says


async def test_answers_keep_the_candidates_order_and_failures_are_told() -> None:
    report = FusionReport("test")
    answers = await gather([says("slow", "a", after=0.05), fails("dead"), says("fast", "b")], FusionLimits(), report)

    assert ["slow", "fast"] == [answer.expert for answer in answers]
    assert [("dead", "dead is down")] == [(failure.expert, failure.message) for failure in report.failures]
    assert Usage(4, 6) == report.usage


async def test_late_candidates_are_cancelled_closed_and_reported() -> None:
    closed: list[str] = []
    report = FusionReport("test")
    candidates = [says("fast", "a"), says("late", "b", after=30, closed=closed)]
    answers = await gather(candidates, FusionLimits(deadline_seconds=0.1), report)

    assert ["fast"] == [answer.expert for answer in answers]
    assert ["late"] == closed
    assert "not done within 0.1 s" == report.failures[0].message


async def test_a_missed_quorum_names_every_failure() -> None:
    with pytest.raises(QuorumNotReached, match=r"1 of the 2 answers needed arrived \(dead: dead is down\)"):
        await gather([says("one", "a"), fails("dead")], FusionLimits(quorum=2), FusionReport("test"))


async def test_enough_stops_the_waiting() -> None:
    closed: list[str] = []
    report = FusionReport("test")
    candidates = [says("one", "a"), says("late", "b", after=30, closed=closed)]
    await gather(candidates, FusionLimits(), report, lambda answers, pending: len(answers) == 1)

    assert ["late"] == closed
    assert "not needed any more" == report.failures[0].message


async def test_when_all_refuse_the_request_the_refusal_is_raised() -> None:
    refusal = ExpertRejected("a", "too long", status=400)
    with pytest.raises(ExpertRejected, match="too long"):
        await gather([fails("a", error=refusal), fails("b")], FusionLimits(), FusionReport("test"))
