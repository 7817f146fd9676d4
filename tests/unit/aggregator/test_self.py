"""One expert, several samples: when they are counted, when they are fused, and what is not asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import pytest

from aggregator import Aggregator
from aggregator.config import FusionConfig, SelfOptions
from aggregator.errors import FusionError
from aggregator.types import Candidate, FusedAnswer, FusionTask
from experts.errors import ExpertError, ExpertRejected
from experts.types import AnswerChunk, CallFacts, ExpertCall, ExpertStream, Message, Usage
from tests.unit.aggregator.worlds import fails, says

CLOSED: tuple[Message, ...] = ({"role": "user", "content": "What is 3 + 4? Give the final answer."},)
OPEN: tuple[Message, ...] = ({"role": "user", "content": "Tell me about whales."},)
Reply = str | Exception


class World:
    """An expert whose samples say `replies` one after the other, and a fuser; everything asked is kept."""

    def __init__(self, *replies: Reply, fused: Reply = "fused", after: Mapping[int, float] | None = None) -> None:
        self.replies, self.fused, self.after = list(replies), fused, dict(after or {})
        self.asked: list[ExpertCall] = []
        self.closed: list[int] = []

    def ask(self, call: ExpertCall) -> ExpertStream:
        self.asked.append(call)
        place = len(self.asked)
        return opened(call, lambda: self._reply(call), self.after.get(place, 0.0), lambda: self.closed.append(place))

    def _reply(self, call: ExpertCall) -> Reply:
        return self.fused if call.expert == "fuser" else self.replies.pop(0)

    async def fuse(
        self,
        *candidates: Candidate,
        messages: tuple[Message, ...] = CLOSED,
        samples: int = 3,
        parameters: Mapping[str, Any] | None = None,
    ) -> FusedAnswer:
        options = SelfOptions(samples=samples, temperature=0.8)
        task = FusionTask(
            candidates=candidates,
            messages=messages,
            ask=self.ask,
            parameters=parameters or {},
            fuser="fuser",
            config=FusionConfig(sampling=options),
        )
        return await Aggregator().fuse(task, "self").read()


def opened(
    call: ExpertCall, reply: Callable[[], Reply], after: float = 0.0, closed: Callable[[], None] = lambda: None
) -> ExpertStream:
    async def chunks(facts: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
        facts.attempts, facts.usage = 1, Usage(2, 3)
        try:
            await asyncio.sleep(after)
            said = reply()
            if isinstance(said, Exception):
                raise said
            for index, text in enumerate(said.split(" || ")):
                choice = {"index": index, "delta": {"content": text}, "finish_reason": "stop"}
                yield AnswerChunk({"choices": [choice]}, "" if index else text, "stop", facts.usage)
        finally:
            closed()

    return ExpertStream(call, chunks)


def own(text: str, **parameters: Any) -> Candidate:
    """Return the best expert's own answer; choices are separated by two bars."""
    return Candidate(opened(ExpertCall("best", CLOSED, parameters), lambda: text), 0.7, 0.9)


def texts(answer: FusedAnswer) -> list[str]:
    return [choice["message"]["content"] for choice in answer.answer.body["choices"]]


async def test_the_commonest_final_answer_is_quoted_and_nobody_else_is_asked() -> None:
    world = World("It is 7", "It is 7.0")

    answer = await world.fuse(own("Answer: 8"), says("other", "Answer: 8"))

    assert (["It is 7"], "best", ["other"]) == (texts(answer), answer.report.answered_by, answer.report.unasked)
    assert ["best", "best"] == [call.expert for call in world.asked]
    assert "2 of 3 samples agree" == answer.report.note


async def test_samples_have_seeds_of_their_own_and_the_settings_temperature() -> None:
    world = World("Answer: 1", "Answer: 2", "Answer: 3")
    await world.fuse(own("Answer: 4"), samples=4)

    assert 3 == len({call.parameters["seed"] for call in world.asked})
    assert [0.8] * 3 == [call.parameters["temperature"] for call in world.asked]


async def test_the_clients_temperature_and_seed_are_kept() -> None:
    world = World("Answer: 1", "Answer: 2")
    await world.fuse(own("Answer: 4", temperature=0.2, seed=40))

    assert [(0.2, 41), (0.2, 42)] == [(c.parameters["temperature"], c.parameters["seed"]) for c in world.asked]


async def test_at_temperature_zero_the_expert_is_asked_once() -> None:
    world = World()

    answer = await world.fuse(own("Answer: 4", temperature=0))

    assert (["Answer: 4"], []) == (texts(answer), world.asked)


async def test_a_tie_goes_to_the_answer_the_expert_gave_first() -> None:
    answer = await World("Answer: 2", "Answer: 3").fuse(own("Answer: 1"))

    assert ["Answer: 1"] == texts(answer)


async def test_two_that_agree_cancel_the_third() -> None:
    world = World("It is 7", "Answer: 8", after={2: 30})

    answer = await asyncio.wait_for(world.fuse(own("Answer: 7")), timeout=5)

    assert ["Answer: 7"] == texts(answer)
    assert {1, 2} == set(world.closed)


async def test_open_answers_are_fused_by_the_fuser() -> None:
    world = World("Whales sing and dive far down.", "Whales are large and live in every sea of the world.")

    answer = await world.fuse(own("Whales are mammals, they breathe air like we do."), messages=OPEN)

    assert (["fused"], "fuser") == (texts(answer), answer.report.fuser)
    assert all(text in str(world.asked[-1].messages[0]["content"]) for text in ("sing", "large", "mammals"))
    assert Usage(8, 12) == answer.report.usage


async def test_when_the_fuser_fails_the_experts_own_answer_is_returned() -> None:
    mine = "Whales are mammals, they breathe air like we do."

    answer = await World("A text.", "B text.", fused=ExpertError("fuser", "gone")).fuse(own(mine), messages=OPEN)

    assert [mine] == texts(answer)
    assert answer.report.note.endswith("the best single answer is returned")


async def test_samples_that_fail_cost_nothing_but_themselves() -> None:
    answer = await World(ExpertError("best", "x"), ExpertError("best", "y")).fuse(own("Answer: 7"))

    assert ["Answer: 7"] == texts(answer)


async def test_the_next_expert_is_sampled_when_the_best_gives_nothing() -> None:
    down = ExpertError("best", "down")
    world = World(down, down, "Answer: 5", "Answer: 5")

    answer = await world.fuse(fails("best"), says("other", "Answer: 6"))

    assert (["Answer: 5"], ["best"]) == (texts(answer), [failure.expert for failure in answer.report.failures])
    assert ["best", "best", "other", "other"] == [call.expert for call in world.asked]


async def test_when_nobody_answers_the_error_says_so() -> None:
    with pytest.raises((FusionError, ExpertError), match="down"):
        await World(*[ExpertError("best", "down")] * 2).fuse(fails("best"))


async def test_a_request_that_is_itself_refused_is_refused_once() -> None:
    refusal = ExpertRejected("best", "too long", status=400, body={})
    world = World(refusal, refusal)

    with pytest.raises(ExpertRejected, match="too long"):
        await world.fuse(fails("best", error=refusal), says("other", "Answer: 6"))


async def test_a_clients_own_choices_are_samples_and_the_commonest_comes_first() -> None:
    world = World()

    answer = await world.fuse(own("Answer: 1 || Answer: 2 || It is 2", n=3))

    assert ["Answer: 2", "Answer: 1", "It is 2"] == texts(answer)
    assert [0, 1, 2] == [choice["index"] for choice in answer.answer.body["choices"]]
    assert [] == world.asked


async def test_a_client_that_wants_two_choices_gets_two_of_three_samples() -> None:
    world = World("Answer: 2")

    answer = await world.fuse(own("Answer: 1 || It is 2", n=2))

    assert ["It is 2", "Answer: 1"] == texts(answer)
    assert [None] == [call.parameters.get("n") for call in world.asked]


async def test_a_huge_answer_without_a_final_one_is_no_obstacle() -> None:
    world = World("words " * 20_000, "")

    answer = await world.fuse(own("Answer: 7"))

    assert ["Answer: 7"] == texts(answer)
