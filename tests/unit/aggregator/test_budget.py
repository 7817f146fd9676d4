"""One request's caps: calls and cost, counted when a stream is really opened."""

from __future__ import annotations

import pytest

from aggregator import Aggregator
from aggregator.budget import Budget
from aggregator.gathering import gather
from aggregator.types import Candidate, FusionLimits, FusionReport, FusionTask
from experts.errors import CallRefused, ExpertUnavailable
from experts.types import ExpertCall, ExpertName, ExpertStream, Usage
from tests.unit.aggregator.worlds import fails, says

QUESTION = ({"role": "user", "content": "What is 3 + 4?"},)


class OneDollarEach:
    """Every call is expected to cost a dollar, and every token (five in these worlds) costs a tenth."""

    def expected(self, call: ExpertCall) -> float:
        return 1.0

    def paid(self, expert: ExpertName, usage: Usage) -> float:
        return 0.1 * usage.total_tokens


def counted(budget: Budget, candidate: Candidate) -> Candidate:
    return Candidate(budget.counted(candidate.stream), candidate.weight)


async def test_a_call_too_many_is_refused_when_it_is_read_and_not_before() -> None:
    budget = Budget(max_calls=1)
    first, unread, second = (counted(budget, says(name, "x")).stream for name in "abc")
    assert "x" == (await first.read()).text

    with pytest.raises(CallRefused, match="has made the 1 calls"):
        await second.read()
    assert unread.facts.attempts == second.facts.attempts == 0
    assert 1 == budget.calls


async def test_a_counted_stream_keeps_its_facts_and_closes_what_it_holds() -> None:
    closed: list[str] = []
    stream = counted(Budget(2), says("a", "some words", closed=closed)).stream
    await stream.prime()
    assert 1 == stream.facts.attempts
    await stream.aclose()

    assert ["a"] == closed


async def test_attempts_at_further_replicas_count_once_they_are_made() -> None:
    budget = Budget(max_calls=3)
    candidate = says("a", "x")
    stream = budget.counted(candidate.stream)
    await stream.prime()
    stream.facts.attempts = 3
    await stream.aclose()

    with pytest.raises(CallRefused):
        await budget.counted(says("b", "x").stream).read()


async def test_cost_is_what_was_spent_and_what_is_expected_of_calls_under_way() -> None:
    budget = Budget(9, max_cost_usd=1.7, prices=OneDollarEach())
    writing = budget.counted(says("a", "x").stream)
    await writing.prime()
    with pytest.raises(CallRefused, match=r"expected to cost 1\.0+ USD; of 1\.7 USD that .* 0\.7"):
        await budget.counted(says("b", "x").stream).read()
    await writing.read()
    assert 0.5 == budget.cost_usd

    await budget.counted(says("b", "x").stream).read()
    assert 1.0 == budget.cost_usd
    with pytest.raises(CallRefused):
        await budget.counted(says("c", "x").stream).read()


async def test_a_call_that_failed_has_cost_nothing_and_one_cut_off_what_was_expected() -> None:
    budget = Budget(9, max_cost_usd=10, prices=OneDollarEach())
    with pytest.raises(ExpertUnavailable):
        await budget.counted(fails("dead").stream).read()
    assert 0.0 == budget.cost_usd

    cut = budget.counted(says("a", "some words").stream)
    await cut.prime()
    cut.facts.first_token_seconds = 0.1
    await cut.aclose()
    assert 1.0 == budget.cost_usd


async def test_candidates_beyond_the_cap_are_left_out_and_when_all_are_the_refusal_is_told() -> None:
    budget, report = Budget(2), FusionReport("test")
    answers = await gather([counted(budget, says(name, name)) for name in "abc"], FusionLimits(), report)
    assert ["a", "b"] == [answer.expert for answer in answers]
    assert [("c", CallRefused)] == [(failure.expert, type(failure.error)) for failure in report.failures]

    with pytest.raises(CallRefused):
        await gather([counted(budget, says(name, name)) for name in "de"], FusionLimits(), FusionReport("test"))


async def test_a_fuser_beyond_the_cap_leaves_the_best_single_answer() -> None:
    budget = Budget(2)

    def ask(call: ExpertCall) -> ExpertStream:
        return budget.counted(says(call.expert, "fused").stream)

    candidates = tuple(counted(budget, says(name, name, weight)) for name, weight in (("a", 0.4), ("b", 0.6)))
    fused = Aggregator().fuse(FusionTask(candidates, QUESTION, ask, fuser="fuser"), "synthesize")
    answer = await fused.read()

    assert ("b", "b") == (answer.answer.text, answer.report.answered_by)
    assert "best single answer" in answer.report.note
