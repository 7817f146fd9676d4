"""Which answers are kept, and that one comes back as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aggregator.types import Answer, Failure, FusionReport, Step
from experts.types import CallFacts, ExpertAnswer, Usage
from gateway.cache.entry import content_of, stream_of, worth_keeping


def answer(expert: str = "math", reason: str | None = "stop", **message: Any) -> ExpertAnswer:
    said = {"role": "assistant", "content": "4", **message}
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": reason}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return ExpertAnswer(expert, body, said["content"] or "", reason, Usage(3, 1), CallFacts(expert))


def report(**more: Any) -> FusionReport:
    made = FusionReport("single", answered_by="math", usage_by_expert={"math": Usage(3, 1)})
    for name, value in more.items():
        setattr(made, name, value)
    return made


def kept(given: ExpertAnswer, told: FusionReport, *, bounded: bool = False) -> bool:
    return worth_keeping(given, told, ["math", "law"], bounded=bounded)


@pytest.mark.parametrize(
    ("given", "told", "bounded", "expected"),
    [
        (answer(), report(), False, True),
        (answer(content=None, tool_calls=[{"id": "1"}], reason="tool_calls"), report(), False, True),
        (answer(reason="length"), report(), True, True),
        (answer(reason="length"), report(), False, False),
        (answer(reason="content_filter"), report(), False, False),
        (answer(reason=None), report(), False, False),
        (answer(content=""), report(), False, False),
        (answer(content=None), report(), False, False),
        (answer(), report(answered_by="base"), False, False),
        (answer(), report(failures=[Failure("law", 0.3, "gone")]), False, False),
        (answer(), report(answered_by="base", answers=[Answer(answer(), 1.0)]), False, True),
        (answer(), report(answers=[Answer(answer("base"), 1.0)]), False, False),
    ],
)
def test_only_whole_answers_of_those_who_were_chosen_are_kept(
    given: ExpertAnswer, told: FusionReport, bounded: bool, expected: bool
) -> None:
    assert expected == kept(given, told, bounded=bounded)


def test_an_answer_that_another_expert_went_on_with_is_not_kept() -> None:
    given = answer()

    assert kept(given, report())
    assert not kept(replace(given, body={**given.body, "continued": {"by": "law"}}), report())


async def test_an_answer_comes_back_with_everything_that_is_told_of_it() -> None:
    told = FusionReport(
        strategy="vote",
        answered_by="math",
        fuser="base",
        answers=[Answer(answer(), 0.7, 0.9, ("math",)), Answer(answer("law"), 0.3)],
        unasked=["art"],
        note="two agree",
        usage_by_expert={"math": Usage(3, 1), "law": Usage(2, 2)},
        finals={"math": "4", "law": None},
        steps=[Step("how many?", "math", "4", "4", Usage(1, 1)), Step("why?", error="gone")],
    )
    stream = stream_of(content_of(answer(), told))
    again = await stream.read()

    assert answer().body["choices"] == again.answer.body["choices"]
    assert ("4", "stop") == (again.answer.text, again.answer.finish_reason)
    for name in ("strategy", "answered_by", "fuser", "unasked", "note", "usage_by_expert", "finals", "steps"):
        assert getattr(told, name) == getattr(again.report, name)
    found = [(a.expert, a.weight, a.quality, a.domains, a.answer.body) for a in again.report.answers]
    assert [(a.expert, a.weight, a.quality, a.domains, a.answer.body) for a in told.answers] == found
    assert (0, []) == (again.report.attempts, again.report.failures)
