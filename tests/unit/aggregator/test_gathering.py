"""Gathering: quorum, deadline, early stop, and nothing left running."""

from __future__ import annotations

import time

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


async def test_one_that_takes_longer_than_its_own_time_is_left_out_and_the_others_stay() -> None:
    closed: list[str] = []
    report = FusionReport("test")
    limits = FusionLimits(arm_deadline_seconds=0.05)
    await gather([says("late", "a", after=30, closed=closed), says("fast", "b", after=0.01)], limits, report)

    assert (["fast"], ["late"]) == ([answer.expert for answer in report.answers], closed)
    assert [("late", "not done within 0.05 s")] == [(each.expert, each.message) for each in report.failures]


async def test_each_stage_has_the_arms_own_time_again() -> None:
    limits, report = FusionLimits(arm_deadline_seconds=0.15), FusionReport("test")
    candidates = [says("first", "a", after=0.1), says("second", "b", after=0.1)]
    await gather(candidates, limits, report, stages=(1, 1))

    assert ["first", "second"] == [answer.expert for answer in report.answers]


@pytest.mark.parametrize(("quorum", "answered"), [(1, ["fast"]), (2, ["fast", "slower"])])
async def test_without_grace_nobody_is_waited_for_after_the_quorum(quorum: int, answered: list[str]) -> None:
    closed: list[str] = []
    report = FusionReport("test")
    candidates = [
        says("late", "a", after=30, closed=closed),
        says("fast", "b"),
        says("slower", "c", after=0.05, closed=closed),
    ]
    await gather(candidates, FusionLimits(quorum, grace_seconds=0), report)

    assert answered == [answer.expert for answer in report.answers]
    assert {"late", "slower"} == {*closed}
    assert "not done 0 s after the quorum was" in {failure.message for failure in report.failures}


async def test_stragglers_have_the_grace_to_come_in() -> None:
    report = FusionReport("test")
    candidates = [says("fast", "a"), says("straggler", "b", after=0.05), says("late", "c", after=30)]
    begun = time.monotonic()
    await gather(candidates, FusionLimits(grace_seconds=0.2), report)

    assert ["fast", "straggler"] == [answer.expert for answer in report.answers]
    assert 0.2 <= time.monotonic() - begun < 1
    assert ["late"] == [failure.expert for failure in report.failures]


async def test_a_failure_reaches_no_quorum() -> None:
    report = FusionReport("test")
    candidates = [fails("dead"), says("alive", "b", after=0.05)]
    await gather(candidates, FusionLimits(grace_seconds=0), report)

    assert ["alive"] == [answer.expert for answer in report.answers]


async def test_a_later_stage_has_what_is_left_of_the_grace() -> None:
    report = FusionReport("test")
    candidates = [says("first", "a"), says("second", "b", after=0.05), says("third", "c", after=30)]
    begun = time.monotonic()
    await gather(candidates, FusionLimits(2, grace_seconds=0.1), report, stages=(1, 1, 1))

    assert ["first", "second"] == [answer.expert for answer in report.answers]
    assert time.monotonic() - begun < 1
    assert "not done 0.1 s after the quorum was" == report.failures[0].message
