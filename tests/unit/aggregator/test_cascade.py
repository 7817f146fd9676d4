"""The cascade: who is asked, who is not, and what happens when somebody fails."""

from __future__ import annotations

import pytest

from aggregator.strategies.cascade import Cascade
from aggregator.types import Candidate, FusionLimits, FusionReport, FusionTask
from experts.errors import ExpertError
from experts.types import ExpertCall, ExpertStream, Message
from tests.unit.aggregator.worlds import fails, says

QUESTION: tuple[Message, ...] = ({"role": "user", "content": "What is 3 + 4? Give the final answer."},)
VAGUE = "words and more words without any conclusion that could be compared with another"


def nobody(call: ExpertCall) -> ExpertStream:
    raise AssertionError(f"a cascade asks no fuser, not even {call.expert}")


async def cascade(*candidates: Candidate, stages: tuple[int, ...] = ()) -> tuple[str, FusionReport]:
    report = FusionReport("cascade")
    task = FusionTask(candidates=candidates, messages=QUESTION, ask=nobody, stages=stages)
    text = "".join([chunk.text async for chunk in Cascade().fuse(task, report)])
    return text, report


async def test_a_good_cheap_answer_is_kept_and_nobody_else_is_asked() -> None:
    big = says("big", "Answer: 8")

    text, report = await cascade(says("small", "Answer: 7"), big)

    assert ("Answer: 7", "small", ["big"]) == (text, report.answered_by, report.unasked)
    assert 0 == big.stream.facts.attempts


async def test_a_weak_answer_is_followed_by_the_stronger_expert() -> None:
    text, report = await cascade(says("small", VAGUE), says("big", "Answer: 7"))

    assert ("Answer: 7", "big") == (text, report.answered_by)
    assert "small looks weak: no final answer" == report.note
    assert {"small", "big"} == set(report.usage_by_expert)


async def test_two_that_agree_spare_the_third() -> None:
    _, report = await cascade(
        says("a", "Answer: 7", 0.3), says("b", "It is 7", 0.4), says("big", "Answer: 8"), stages=(2, 1)
    )

    assert ("b", ["big"]) == (report.answered_by, report.unasked)


async def test_two_that_disagree_leave_it_to_the_third() -> None:
    text, report = await cascade(
        says("a", "Answer: 7"), says("b", "Answer: 6"), says("big", "Answer: 8"), stages=(2, 1)
    )

    assert ("Answer: 8", "big", "a and b disagree") == (text, report.answered_by, report.note)


async def test_a_cheap_expert_that_fails_is_skipped() -> None:
    text, report = await cascade(fails("small"), says("big", "Answer: 7"))

    assert ("Answer: 7", ["small"]) == (text, [failure.expert for failure in report.failures])


async def test_when_the_strong_expert_fails_the_weak_answer_stands() -> None:
    text, report = await cascade(says("small", VAGUE), fails("big"))

    assert (VAGUE, "small") == (text, report.answered_by)
    assert report.note.endswith("the best earlier answer stands")


async def test_when_all_fail_the_last_error_is_raised() -> None:
    with pytest.raises(ExpertError, match="big is down"):
        await cascade(fails("small"), fails("big"))


async def test_a_slow_cheap_expert_does_not_hold_the_strong_one_back_for_ever() -> None:
    report, closed = FusionReport("cascade"), list[str]()
    candidates = (says("small", "Answer: 7", after=30, closed=closed), says("big", "Answer: 7"))
    limits = FusionLimits(deadline_seconds=0.05)
    task = FusionTask(candidates=candidates, messages=QUESTION, ask=nobody, limits=limits)

    text = "".join([chunk.text async for chunk in Cascade().fuse(task, report)])

    assert ("Answer: 7", "big", ["small"]) == (text, report.answered_by, closed)
