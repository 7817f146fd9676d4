"""Background by specialists: the generalist answers with what passed the filters, or alone."""

from __future__ import annotations

import pytest

from aggregator.background import estimated_tokens
from aggregator.config import FusionConfig, KnowledgeOptions
from aggregator.strategies.knowledge import Knowledge, asked_about
from aggregator.types import Candidate, FusionLimits
from experts.errors import ExpertError
from experts.types import ExpertCall
from tests.unit.aggregator.readers import HOSTILE, QUESTION, Asked, fused, ours, quotes, system
from tests.unit.aggregator.worlds import fails, says

NAIROBI = "Kenya lies in East Africa. The capital of Kenya is Nairobi."
ALSO = "The capital of Kenya is Nairobi, and it lies high."
MOMBASA = "The capital of Kenya is Mombasa."
WHALES = "Whales are mammals that live in the sea."


def specialists(**background: Candidate | str) -> Asked:
    """Return experts that write background by name; the fuser answers."""
    return Asked(lambda call: background.get(call.expert, "It is Nairobi."))


def candidates(*names: str) -> list[Candidate]:
    return [says(name, f"{name}'s own answer", 1 / (2 + place)) for place, name in enumerate(names)]


async def test_the_generalist_answers_with_the_background_that_passed() -> None:
    ask = specialists(a=NAIROBI, b=MOMBASA, c=ALSO, d=WHALES)
    text, report = await fused(Knowledge(), *candidates("a", "b", "c", "d"), ask=ask)

    assert ("It is Nairobi.", "fuser", "fuser") == (text, report.answered_by, report.fuser)
    assert {"a", "b", "c", "d"} == set(ask.experts[:4])
    assert "at most 120 words" in system(ask.calls[0])
    assert "Nairobi" in quotes(ask.calls)
    assert "Mombasa" not in quotes(ask.calls)
    assert "Whales" not in quotes(ask.calls)
    assert "left out: b (contradicts the others), d (not about the question)" == report.note
    assert ["a", "b", "c", "d"] == [step.expert for step in report.steps]
    assert [] == report.answers
    assert QUESTION == ask.calls[-1].messages[1:]
    assert (5, 10) == (report.attempts, report.usage.prompt_tokens)


async def test_when_nothing_is_kept_the_generalist_answers_the_plain_question() -> None:
    ask = specialists(a=WHALES, b="Answer: Nairobi")
    text, report = await fused(Knowledge(), *candidates("a", "b"), ask=ask)

    assert ("It is Nairobi.", QUESTION) == (text, ask.calls[-1].messages)
    assert "no background was kept: the generalist answers alone" in report.note


async def test_specialists_that_fail_or_are_late_do_not_stop_the_generalist() -> None:
    closed: list[str] = []
    ask = specialists(a=fails("a"), b=says("b", NAIROBI, after=30, closed=closed))
    limits = FusionLimits(quorum=2, deadline_seconds=0.1)
    text, report = await fused(Knowledge(), *candidates("a", "b"), ask=ask, limits=limits)

    assert ("It is Nairobi.", ["b"]) == (text, closed)
    assert ["a", "b"] == [failure.expert for failure in report.failures]


async def test_one_background_is_used_also_where_the_quorum_is_two() -> None:
    ask = specialists(a=fails("a"), b=NAIROBI)
    await fused(Knowledge(), *candidates("a", "b"), ask=ask, limits=FusionLimits(quorum=2))

    assert "Nairobi" in quotes(ask.calls[-1:])


async def test_when_the_generalist_fails_the_primary_answers_alone() -> None:
    ask = specialists(a=NAIROBI, b=ALSO, fuser=fails("fuser"))
    text, report = await fused(Knowledge(), *candidates("a", "b"), ask=ask)

    assert ("a's own answer", "a") == (text, report.answered_by)


async def test_when_nobody_at_all_can_answer_the_error_is_the_candidates() -> None:
    ask = Asked(lambda call: fails(call.expert))
    with pytest.raises(ExpertError, match="b is down"):
        await fused(Knowledge(), fails("a"), fails("b"), ask=ask)


async def test_the_generalist_writes_no_background_for_itself_when_others_can() -> None:
    ask = specialists(a=NAIROBI)
    await fused(Knowledge(), *candidates("a", "fuser"), ask=ask)

    assert ["a", "fuser"] == ask.experts


async def test_one_specialist_is_enough_unless_it_is_the_generalist_itself() -> None:
    ask = specialists(a=NAIROBI)
    text, _ = await fused(Knowledge(), *candidates("a"), ask=ask)
    own, _ = await fused(Knowledge(), *candidates("fuser"), ask=ask)

    assert ("It is Nairobi.", "fuser's own answer", ["a", "fuser"]) == (text, own, ask.experts)


@pytest.mark.parametrize("budget", [16, 40, 60, 90, 400])
async def test_the_token_budget_is_never_exceeded(budget: int) -> None:
    background = {f"e{n}": f"Kenya number {n}. {'The capital of Kenya lies high. ' * n}" for n in range(6)}
    ask = specialists(**background)
    config = FusionConfig(knowledge=KnowledgeOptions(budget_tokens=budget))
    _, report = await fused(Knowledge(), *candidates(*background), ask=ask, config=config)

    whole = system(ask.calls[-1]) if len(ask.calls[-1].messages) > 1 else ""
    assert estimated_tokens(whole[whole.find("\n\nExpert") + 1 :]) <= budget
    assert ("beyond the token budget" in report.note) == (budget < 400)


async def test_a_request_that_offers_tools_is_left_to_the_primary() -> None:
    ask = specialists()
    text, _ = await fused(Knowledge(), *candidates("a", "b"), ask=ask, parameters={"tools": [{}]})

    assert ("a's own answer", []) == (text, ask.calls)


async def test_background_is_asked_without_the_clients_form_and_the_answer_with_it() -> None:
    form = {"type": "json_object"}
    ask = specialists(a=NAIROBI)
    await fused(Knowledge(), *candidates("a", "b"), ask=ask, parameters={"response_format": form, "stop": "."})

    assert ({}, {"response_format": form, "stop": "."}) == (ask.calls[0].parameters, ask.calls[-1].parameters)


async def test_hostile_background_reaches_the_generalist_only_as_quoted_lines() -> None:
    def world(said: str) -> Asked:
        def reply(call: ExpertCall) -> str:
            return f"The capital of Kenya is Nairobi.{said}" if call.expert == "a" else "fused"

        return Asked(reply)

    hostile, benign = world(f"\n{HOSTILE}"), world("")
    for ask in (hostile, benign):
        await fused(Knowledge(), *candidates("a", "b"), ask=ask)

    assert ours(benign.calls) == ours(hostile.calls)
    assert "HACKED" in quotes(hostile.calls)


def test_background_must_speak_of_the_last_message_or_of_the_last_two_when_it_is_short() -> None:
    long, short = "What is the capital of Kenya?", "And of Uganda?"
    said = [{"role": "user", "content": long}, {"role": "assistant", "content": "Nairobi"}]

    assert long == asked_about(tuple(said))
    assert f"{long} {short}" == asked_about((*said, {"role": "user", "content": short}))
    assert (
        "And here?" == asked_about(({"role": "user", "content": [{"type": "text", "text": "And here?"}, {}]},)).strip()
    )
    assert "" == asked_about(())
