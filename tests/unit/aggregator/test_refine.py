"""Refining: the primary's word is final, its peers are quoted, and nothing that fails makes it worse."""

from __future__ import annotations

import re
import time

from aggregator.config import FusionConfig, RefineOptions
from aggregator.strategies.refine import Refine
from aggregator.types import FusionLimits
from tests.unit.aggregator.readers import HOSTILE, QUESTION, Asked, fused, ours, quotes, system
from tests.unit.aggregator.worlds import fails, says


def rounds(count: int) -> FusionConfig:
    return FusionConfig(refine=RefineOptions(rounds=count))


async def test_the_primary_revises_its_own_answer_having_seen_its_peers() -> None:
    ask = Asked(lambda _: "It is Nairobi.")
    text, report = await fused(Refine(), says("a", "Mombasa", 0.6), says("b", "Nairobi", 0.4), ask=ask)

    assert ("It is Nairobi.", "a", "a", ["a"]) == (text, report.answered_by, report.fuser, ask.experts)
    assert "Your answer:\n|" in system(ask.calls[0])
    assert "Mombasa" in quotes(ask.calls)
    assert "Nairobi" in quotes(ask.calls)
    assert QUESTION == ask.calls[0].messages[1:]
    assert (3, 6) == (report.attempts, report.usage.prompt_tokens)


async def test_in_each_round_the_primary_sees_its_latest_answer() -> None:
    ask = Asked(lambda call: f"draft {len(ask.calls)}")
    text, report = await fused(Refine(), says("a", "draft 0", 0.6), says("b", "Kisumu", 0.4), ask=ask, config=rounds(3))

    assert ("draft 3", 3, 5) == (text, len(ask.calls), report.attempts)
    assert ["draft 0", "draft 1", "draft 2"] == [re.findall(r"draft \d", system(call))[0] for call in ask.calls]


async def test_revising_ends_when_a_round_changes_nothing() -> None:
    ask = Asked(lambda _: "Mombasa")
    text, _ = await fused(Refine(), says("a", "Mombasa", 0.6), says("b", "Nairobi", 0.4), ask=ask, config=rounds(4))

    assert ("Mombasa", 1) == (text, len(ask.calls))


async def test_when_all_agree_the_primarys_answer_stands() -> None:
    ask = Asked()
    text, report = await fused(Refine(), says("a", "It is 7", 0.6), says("b", "Answer: 7", 0.4), ask=ask)

    assert ("It is 7", "a", []) == (text, report.answered_by, ask.calls)


async def test_when_the_revision_fails_the_primarys_own_answer_stands() -> None:
    for config in (rounds(1), rounds(2)):
        ask = Asked(lambda call: fails(call.expert))
        text, report = await fused(Refine(), says("a", "Mombasa"), says("b", "Nairobi"), ask=ask, config=config)

        assert ("Mombasa", "a", 1) == (text, report.answered_by, len(ask.calls))
        assert "failed" in report.note
        assert "a is down" in report.failures[0].message


async def test_a_first_revision_that_fell_silent_is_no_answer() -> None:
    ask = Asked(lambda _: " ")
    text, report = await fused(Refine(), says("a", "Mombasa"), says("b", "Nairobi"), ask=ask, config=rounds(2))

    assert ("Mombasa", "revision 1 failed: the answer before it stands") == (text, report.note)


async def test_late_peers_delay_nobody_beyond_the_deadline() -> None:
    ask, closed, begun = Asked(), list[str](), time.monotonic()
    late = says("late", "Nairobi", after=30, closed=closed)
    text, report = await fused(
        Refine(), says("a", "Mombasa"), late, ask=ask, limits=FusionLimits(deadline_seconds=0.1), config=rounds(3)
    )

    assert ("Mombasa", "a", [], ["late"]) == (text, report.answered_by, ask.calls, closed)
    assert time.monotonic() - begun < 5


async def test_rounds_for_which_no_time_is_left_are_skipped() -> None:
    ask = Asked(lambda _: "Nairobi it is")
    candidates = (says("a", "Mombasa"), says("b", "Nairobi"), says("late", "Kisumu", after=30))
    text, report = await fused(
        Refine(), *candidates, ask=ask, limits=FusionLimits(deadline_seconds=0.1), config=rounds(3)
    )

    assert ("Nairobi it is", 1) == (text, len(ask.calls))
    assert "no time for more than 1 of 3 rounds" in report.note


async def test_the_next_expert_revises_in_place_of_a_dead_primary() -> None:
    ask = Asked(lambda _: "Nairobi")
    text, report = await fused(Refine(), fails("a"), says("b", "Mombasa"), says("c", "Kisumu"), ask=ask)

    assert ("Nairobi", "b", ["b"]) == (text, report.answered_by, ask.experts)


async def test_every_revision_has_the_clients_form_because_it_may_be_the_answer() -> None:
    ask = Asked(lambda call: f"{len(ask.calls)}")
    given = {"response_format": {"type": "json_object"}, "tools": []}
    await fused(Refine(), says("a", "x"), says("b", "y"), ask=ask, config=rounds(2), parameters=given)

    assert [{"response_format": {"type": "json_object"}}] * 2 == [call.parameters for call in ask.calls]


async def test_hostile_answers_reach_the_primary_only_as_quoted_lines() -> None:
    hostile, benign = Asked(lambda _: HOSTILE), Asked(lambda _: "Kisumu")
    await fused(Refine(), says("a", "Mombasa"), says("b", HOSTILE), ask=hostile, config=rounds(2))
    await fused(Refine(), says("a", "Mombasa"), says("b", "Nairobi"), ask=benign, config=rounds(2))

    assert 2 == len(hostile.calls)
    assert ours(benign.calls) == ours(hostile.calls)
    assert "HACKED" in quotes(hostile.calls)
