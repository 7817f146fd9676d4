"""Synthesis: quoted candidates, layers of rewriting, and what stands when somebody fails."""

from __future__ import annotations

from aggregator.config import FusionConfig, SynthesizeOptions
from aggregator.strategies.synthesize import Synthesize
from aggregator.types import Candidate, FusionLimits
from experts.errors import CallRefused
from experts.types import ExpertCall
from tests.unit.aggregator.readers import HOSTILE, QUESTION, Asked, fused, ours, quotes, system
from tests.unit.aggregator.worlds import fails, says


def layers(count: int) -> FusionConfig:
    return FusionConfig(synthesize=SynthesizeOptions(layers=count))


def three() -> list[Candidate]:
    return [says("a", "Mombasa", 0.5), says("b", "Nairobi", 0.3), says("c", "Kisumu", 0.2)]


def writers(ask_failing: str = "") -> Asked:
    """Return experts that write their name and how often they have been asked; one of them may fail."""
    asked: list[str] = []

    def reply(call: ExpertCall) -> Candidate | str:
        asked.append(call.expert)
        again = f"{call.expert} {asked.count(call.expert) + 1}"
        return fails(call.expert) if call.expert == ask_failing else again

    return Asked(reply)


async def test_one_layer_is_the_fuser_alone() -> None:
    ask = writers()
    text, report = await fused(Synthesize(), *three(), ask=ask)

    assert ("fuser 2", ["fuser"], 4) == (text, ask.experts, report.attempts)
    assert QUESTION == ask.calls[0].messages[1:]


async def test_in_each_layer_every_expert_rewrites_its_answer_having_read_all() -> None:
    ask = writers()
    text, report = await fused(Synthesize(), *three(), ask=ask, config=layers(3))

    assert ["a", "b", "c"] * 2 + ["fuser"] == ask.experts
    assert all(word in system(call) for call in ask.calls[:3] for word in ("Mombasa", "Nairobi", "Kisumu"))
    assert all(word in system(call) for call in ask.calls[3:6] for word in ("a 2", "b 2", "c 2"))
    assert all(word in system(ask.calls[-1]) for word in ("a 3", "b 3", "c 3"))
    assert "fuser 2" == text
    assert ["a 3", "b 3", "c 3"] == [answer.text for answer in report.answers]
    assert (10, 20) == (report.attempts, report.usage.prompt_tokens)


async def test_who_fails_in_a_layer_keeps_its_answer() -> None:
    ask = writers(ask_failing="b")
    _, report = await fused(Synthesize(), *three(), ask=ask, config=layers(2))

    assert all(word in system(ask.calls[-1]) for word in ("a 2", "Nairobi", "c 2"))
    assert ["b"] == [failure.expert for failure in report.failures]


async def test_a_cap_on_calls_ends_the_layers_with_what_is_there() -> None:
    refused = CallRefused("x", "no more calls")

    def reply(call: ExpertCall) -> Candidate:
        left = 3 - len(ask.calls)
        return says(call.expert, f"{call.expert} anew") if left >= 0 else fails(call.expert, error=refused)

    ask = Asked(reply)
    text, report = await fused(Synthesize(), *three(), ask=ask, config=layers(3))

    assert ("a anew", "a", 7) == (text, report.answered_by, len(ask.calls))


async def test_layers_share_the_candidates_deadline() -> None:
    ask, closed = Asked(lambda _: "fused"), list[str]()
    late = says("late", "x", after=30, closed=closed)
    limits = FusionLimits(deadline_seconds=0.1)
    text, report = await fused(Synthesize(), *three(), late, ask=ask, config=layers(4), limits=limits)

    assert ("fused", ["fuser"], "no time for layer 2") == (text, ask.experts, report.note)


async def test_a_slow_rewriter_keeps_its_answer_at_the_deadline() -> None:
    closed: list[str] = []
    slow = {"b": says("b", "x", after=30, closed=closed)}
    ask = Asked(lambda call: slow.get(call.expert, f"{call.expert} anew"))
    limits = FusionLimits(deadline_seconds=0.2)
    await fused(Synthesize(), *three(), ask=ask, config=layers(2), limits=limits)

    assert ["b"] == closed
    assert all(word in system(ask.calls[-1]) for word in ("a anew", "Nairobi", "c anew"))


async def test_experts_that_agree_do_not_rewrite() -> None:
    ask = writers()
    _, report = await fused(Synthesize(), says("a", "It is 7"), says("b", "Answer: 7"), ask=ask, config=layers(3))

    assert (["fuser"], "the answers agree: layer 2 was not needed") == (ask.experts, report.note)


async def test_rewritten_answers_have_the_clients_form_because_one_may_be_returned() -> None:
    ask = writers()
    await fused(Synthesize(), *three(), ask=ask, config=layers(2), parameters={"response_format": {}, "tools": []})

    assert [{"response_format": {}}] * 4 == [call.parameters for call in ask.calls]


async def test_hostile_answers_are_quoted_in_every_layer() -> None:
    hostile, benign = Asked(lambda _: HOSTILE), Asked(lambda _: "Kisumu")
    await fused(Synthesize(), says("a", HOSTILE, 0.5), says("b", "Nairobi", 0.5), ask=hostile, config=layers(2))
    await fused(Synthesize(), says("a", "Mombasa", 0.5), says("b", "Nairobi", 0.5), ask=benign, config=layers(2))

    assert 3 == len(hostile.calls)
    assert ours(benign.calls) == ours(hostile.calls)
    assert "HACKED" in quotes(hostile.calls)
