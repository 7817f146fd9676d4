"""A continued answer: each expert is booked what it said itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from aggregator.replay import pass_through
from aggregator.types import FusionReport
from experts.errors import ExpertUnavailable
from experts.types import AnswerChunk, CallFacts, ExpertCall, ExpertStream, Usage
from gateway.continuing import continued
from gateway.usage.meter import Meter

QUESTION = ({"role": "user", "content": "Count to four, please."},)
CALL = ExpertCall("math", QUESTION)


def saying(call: ExpertCall, words: list[str], usage: Usage | None) -> ExpertStream:
    """An answer word by word; without usage it breaks off after them."""

    async def chunks(facts: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
        facts.attempts, facts.first_token_seconds = 1, 0.1
        for word in words:
            yield AnswerChunk({"choices": [{"index": 0, "delta": {"content": word}}]}, text=word)
        if usage is None:
            raise ExpertUnavailable(call.expert, "It broke off.")
        facts.usage = usage
        yield AnswerChunk({"choices": []}, usage=usage)

    return ExpertStream(call, chunks)


async def test_each_expert_of_a_continued_answer_is_booked_its_own_tokens_and_attempts() -> None:
    meter, report = Meter(), FusionReport("single")
    broken = meter.read(saying(CALL, ["one", " two"], None))
    stream = continued(broken, ["base"], lambda call: meter.read(saying(call, [" three", " four"], Usage(30, 2))))

    words = [chunk.text async for chunk in pass_through(stream, report)]

    assert "one two three four" == "".join(words)
    assert {"math": Usage(5, 2), "base": Usage(30, 2)} == report.usage_by_expert == meter.used
    assert 2 == report.attempts
    assert [("math", 1), ("base", 1)] == [(each.expert, each.attempts) for each in meter.calls]
    assert "math" == report.answered_by


async def test_a_continuation_that_breaks_off_too_leaves_each_what_it_said() -> None:
    meter, report = Meter(), FusionReport("single")
    broken = meter.read(saying(CALL, ["one", " two"], None))
    stream = continued(broken, ["base"], lambda call: meter.read(saying(call, [" three"], None)))

    with pytest.raises(ExpertUnavailable):
        [chunk async for chunk in pass_through(stream, report)]

    assert Usage(5, 2) == report.usage_by_expert["math"] == meter.used["math"]
    assert {"math", "base"} == set(meter.used)
