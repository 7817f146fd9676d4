"""A panel: fixed roles, one who decides, and an answer from the rest when a seat stays empty."""

from __future__ import annotations

import pytest

from aggregator.config import FusionConfig, PanelOptions, RoleConfig
from aggregator.errors import QuorumNotReached
from aggregator.strategies.panel import Panel, seats
from aggregator.types import Candidate, FusionLimits
from experts.types import ExpertCall
from tests.unit.aggregator.readers import HOSTILE, QUESTION, Asked, fused, ours, quotes, system
from tests.unit.aggregator.worlds import fails, says

NEWS = RoleConfig(name="news", instructions="Read the news.", expert="reader")
PRICES = RoleConfig(name="prices", instructions="Look at the prices.")
RISK = RoleConfig(name="risk", instructions="What can go wrong?")
ROLES = FusionConfig(panel=PanelOptions(roles=(NEWS, PRICES, RISK)))

ROLES_AND_WHO = (("news", "reader"), ("prices", "a"), ("risk", "b"))


def two() -> tuple[Candidate, Candidate]:
    return says("a", "the primary's own answer", 0.6), says("b", "another", 0.4)


def members(**reports: Candidate | str) -> Asked:
    """Return experts that report by name; whoever is not named says its name."""
    return Asked(lambda call: reports.get(call.expert, f"{call.expert} reports"))


async def test_each_seat_reports_in_its_role_and_the_fuser_decides_over_their_reports() -> None:
    ask = members(fuser="Buy.")
    text, report = await fused(Panel(), *two(), ask=ask, config=ROLES)

    assert ("Buy.", "fuser", "fuser") == (text, report.answered_by, report.fuser)
    assert ["reader", "a", "b", "fuser"] == ask.experts
    assert "Your role on a panel: news. Read the news.\n" in system(ask.calls[0])
    assert "\nnews (reader):\n|reader reports\n\nprices (a):\n|a reports\n" in system(ask.calls[-1])
    told = [(step.question, step.expert, step.text) for step in report.steps]
    assert [(f"report: {role}", who, f"{who} reports") for role, who in ROLES_AND_WHO] == told
    assert [] == report.answers
    assert (4, 8) == (report.attempts, report.usage.prompt_tokens)
    assert all(QUESTION == call.messages[1:] for call in ask.calls)


def test_named_experts_have_their_seats_and_candidates_without_one_sit_on_the_others_in_turn() -> None:
    def seated(*roles: RoleConfig) -> list[tuple[str, str, float]]:
        return [(seat.role, seat.chosen.expert, seat.chosen.weight) for seat in seats(roles, two())]

    law = RoleConfig(name="law", instructions="", expert="a")

    assert [("news", "reader", 1 / 3), ("prices", "a", 0.6), ("risk", "b", 0.4)] == seated(NEWS, PRICES, RISK)
    assert [("law", "a", 0.6), ("prices", "b", 0.4), ("risk", "b", 0.4)] == seated(law, PRICES, RISK)
    assert [("prices", "a", 0.6)] == seated(PRICES)


def test_without_roles_each_candidate_speaks_for_its_own_domains() -> None:
    candidates = [Candidate(says("a", "").stream, 0.6, domains=("math", "physics")), says("b", "", 0.4)]
    first, second = seats((), candidates)

    assert ("math and physics", "a") == (first.role, first.chosen.expert)
    assert "math and physics" in first.instructions
    assert ("everything", "b") == (second.role, second.chosen.expert)


async def test_a_seat_that_comes_late_or_fails_is_left_out() -> None:
    closed: list[str] = []
    late = says("reader", "late", after=30, closed=closed)
    ask = members(reader=late, a=fails("a"), b=" ", fuser="Hold.")
    text, report = await fused(Panel(), *two(), ask=ask, config=ROLES, limits=FusionLimits(deadline_seconds=0.1))

    assert ("Hold.", ["reader"], "2 of 3 seats stayed empty") == (text, closed, report.note)
    assert "" == quotes(ask.calls)
    assert ["reader", "a"] == [failure.expert for failure in report.failures]


async def test_without_any_report_nobody_decides() -> None:
    ask = Asked(lambda call: fails(call.expert))
    with pytest.raises(QuorumNotReached, match="reader is down"):
        await fused(Panel(), *two(), ask=ask, config=ROLES)

    assert "fuser" not in ask.experts


async def test_when_the_fuser_fails_the_primary_answers_the_question_alone() -> None:
    ask = members(fuser=fails("fuser"))
    text, report = await fused(Panel(), *two(), ask=ask, config=ROLES)

    assert ("the primary's own answer", "a", None) == (text, report.answered_by, report.fuser)
    assert "the fuser failed: the primary answers alone" == report.note
    assert 5 == report.attempts


async def test_a_request_that_offers_tools_is_left_to_the_primary() -> None:
    tools: dict[str, object] = {"tools": [{"type": "function"}]}
    ask = members()
    text, report = await fused(Panel(), *two(), ask=ask, config=ROLES, parameters=tools)

    assert ("the primary's own answer", "a", []) == (text, report.answered_by, ask.calls)
    assert "tools" in report.note

    await fused(Panel(), *two(), ask=ask, config=ROLES, parameters={**tools, "tool_choice": "none"})

    assert 4 == len(ask.calls)


async def test_reports_are_asked_without_the_clients_form_and_the_decision_with_it() -> None:
    form = {"type": "json_object"}
    ask = members()
    await fused(Panel(), *two(), ask=ask, parameters={"response_format": form, "max_tokens": 5, "temperature": 0.3})

    assert {"temperature": 0.3} == ask.calls[0].parameters
    assert {"response_format": form, "max_tokens": 5, "temperature": 0.3} == ask.calls[-1].parameters


async def test_a_hostile_report_reaches_the_fuser_only_as_quoted_lines() -> None:
    def world(said: str) -> Asked:
        def reply(call: ExpertCall) -> str:
            return said

        return Asked(reply)

    hostile, benign = world(HOSTILE), world("All is well.")
    for ask in (hostile, benign):
        await fused(Panel(), *two(), ask=ask, config=ROLES)

    assert ours(benign.calls) == ours(hostile.calls)
    assert "HACKED" in quotes(hostile.calls)


async def test_one_candidate_is_a_panel_only_where_roles_are_fixed() -> None:
    ask = members(fuser="Buy.")
    alone, _ = await fused(Panel(), two()[0], ask=ask)
    text, _ = await fused(Panel(), two()[0], ask=ask, config=ROLES)

    assert ("the primary's own answer", "Buy.") == (alone, text)
    assert ["reader", "a", "a", "fuser"] == ask.experts


async def test_a_call_is_kept_for_the_decision() -> None:
    ask = members(fuser="Buy.")
    text, report = await fused(Panel(), *two(), ask=ask, config=ROLES.model_copy(update={"max_calls": 3}))

    assert ("Buy.", ["reader", "a", "fuser"]) == (text, ask.experts)
    assert "max_calls leaves room for 2 of 3 seats" == report.note
