"""Every fusion strategy keeps the same promises; a new one inherits this suite by its line in STRATEGIES."""

from __future__ import annotations

import pytest

from aggregator import STRATEGIES, Aggregator
from aggregator.errors import FusionError, UnknownStrategy
from aggregator.types import Candidate, FusedStream, FusionTask
from experts.errors import ExpertError
from experts.types import ExpertCall, ExpertStream, Usage
from tests.unit.aggregator.worlds import fails, says

DOWN = frozenset({"dead", "one", "two"})
"""Experts that answer no question, whoever asks it."""
ANSWERED_BY_THE_FUSER_ALONE = frozenset({"knowledge"})
"""Strategies whose fuser needs no candidate: all have failed only when it has failed too."""

pytestmark = pytest.mark.parametrize("name", sorted(STRATEGIES))


def fuse(
    name: str,
    *candidates: Candidate,
    asked: list[ExpertCall] | None = None,
    closed: list[str] | None = None,
    down: frozenset[str] = DOWN,
) -> FusedStream:
    def ask(call: ExpertCall) -> ExpertStream:
        if asked is not None:
            asked.append(call)
        return (fails(call.expert) if call.expert in down else says(call.expert, "Answer: 7", closed=closed)).stream

    messages = ({"role": "user", "content": "What is 3 + 4?"},)
    return Aggregator().fuse(FusionTask(candidates=candidates, messages=messages, ask=ask, fuser="fuser"), name)


async def test_the_whole_answer_is_the_stream_read_to_its_end(name: str) -> None:
    def world() -> FusedStream:
        return fuse(name, says("a", "Answer: 7", 0.7), says("b", "Answer: 7", 0.3))

    streamed = "".join([chunk.text async for chunk in world()])
    answer = await world().read()

    assert "Answer: 7" == streamed == answer.answer.text == answer.answer.body["choices"][0]["message"]["content"]
    assert "stop" == answer.answer.finish_reason


async def test_who_answered_is_known_with_the_first_chunk(name: str) -> None:
    stream = fuse(name, says("a", "Answer: 7"), says("b", "Answer: 7"))
    async for _ in stream:
        assert stream.report.answered_by in {"a", "b", "fuser"}
        break
    await stream.aclose()


async def test_a_dead_candidate_does_not_lose_the_answer(name: str) -> None:
    answer = await fuse(name, fails("dead", 0.9), says("alive", "Answer: 7", 0.1)).read()

    assert "Answer: 7" == answer.answer.text
    assert ["dead"] == [failure.expert for failure in answer.report.failures]


async def test_when_all_fail_the_error_is_one_of_ours_and_names_an_expert(name: str) -> None:
    down = DOWN | {"fuser"} if name in ANSWERED_BY_THE_FUSER_ALONE else DOWN
    with pytest.raises((ExpertError, FusionError), match="down"):
        await fuse(name, fails("one"), fails("two"), down=down).read()


async def test_only_given_experts_and_the_fuser_are_asked(name: str) -> None:
    asked: list[ExpertCall] = []
    await fuse(name, says("a", "Answer: 1"), says("b", "Answer: 2"), asked=asked).read()

    assert {call.expert for call in asked} <= {"a", "b", "fuser"}


async def test_usage_sums_every_call_that_was_made(name: str) -> None:
    answer = await fuse(name, says("a", "Answer: 1", 0.5), says("b", "Answer: 2", 0.5)).read()

    calls = answer.report.attempts
    assert Usage(2 * calls, 3 * calls) == answer.report.usage


async def test_closing_early_closes_every_stream(name: str) -> None:
    closed: list[str] = []
    stream = fuse(name, says("a", "Answer: 7", closed=closed), says("b", "Answer: 7", closed=closed), closed=closed)
    async for _ in stream:
        break
    await stream.aclose()

    assert "a" in closed


async def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownStrategy, match=name):
        Aggregator().strategy("no-such-strategy")
