"""The weighted vote: who wins, who breaks ties, when waiting ends."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from aggregator.config import FusionConfig
from aggregator.strategies.vote import Vote
from aggregator.types import Candidate, FusionReport, FusionTask
from experts.types import ExpertCall, ExpertStream
from tests.unit.aggregator.worlds import fails, says


def nobody(call: ExpertCall) -> ExpertStream:
    raise AssertionError(f"a vote asks no fuser, not even {call.expert}")


async def vote(
    *candidates: Candidate, stages: tuple[int, ...] = (), question: str = "?", run_code: bool = False
) -> tuple[str, FusionReport]:
    report = FusionReport("vote")
    messages = ({"role": "user", "content": question},)
    config = FusionConfig(run_code=run_code)
    task = FusionTask(candidates=candidates, messages=messages, ask=nobody, stages=stages, config=config)
    text = "".join([chunk.text async for chunk in Vote().fuse(task, report)])
    return text, report


async def test_vote_weights_count_not_heads() -> None:
    text, report = await vote(says("a", "Answer: 1", 0.6), says("b", "Answer: 2", 0.2), says("c", "Answer: 2", 0.1))

    assert ("Answer: 1", "a") == (text, report.answered_by)


async def test_vote_adds_the_weights_of_equal_answers() -> None:
    text, report = await vote(says("a", "Answer: 1", 0.4), says("b", "It is 2.0", 0.3), says("c", "Answer: 2", 0.3))

    assert "b" == report.answered_by
    assert "It is 2.0" == text
    assert {"a": "1", "b": "2", "c": "2"} == report.finals


async def test_vote_breaks_ties_by_the_heaviest_voter_then_by_the_primary() -> None:
    _, heavier = await vote(says("a", "Answer: 1", 0.25), says("b", "Answer: 1", 0.25), says("c", "Answer: 2", 0.5))
    _, primary = await vote(says("a", "Answer: 1", 0.5), says("b", "Answer: 2", 0.5))

    assert ("c", "a") == (heavier.answered_by, primary.answered_by)


async def test_candidates_without_a_comparable_answer_abstain() -> None:
    prose = "words and more words without any conclusion that could be compared with another"
    _, report = await vote(says("a", prose, 0.9), says("b", "Answer: 2", 0.1))
    _, all_abstain = await vote(says("a", prose, 0.4), says("b", prose, 0.6))

    assert "b" == report.answered_by
    assert "a" == all_abstain.answered_by
    assert "primary" in all_abstain.note


async def test_waiting_ends_when_the_rest_cannot_change_the_winner() -> None:
    closed: list[str] = []
    late = says("late", "Answer: 3", 0.2, after=30, closed=closed)
    _, report = await vote(says("a", "Answer: 1", 0.4), says("b", "Answer: 1", 0.4), late)

    assert ("a", ["late"]) == (report.answered_by, closed)


async def test_a_dead_voter_does_not_stop_the_vote() -> None:
    text, report = await vote(fails("dead", 0.9), says("a", "Answer: 1", 0.1))

    assert ("Answer: 1", 1) == (text, len(report.failures))


async def test_a_third_expert_is_asked_only_when_the_first_two_disagree() -> None:
    third = says("c", "Answer: 2", 0.3)
    text, agreed = await vote(says("a", "Answer: 1", 0.4), says("b", "Answer: 1", 0.3), third, stages=(2, 1))

    assert ("Answer: 1", ["c"], 2) == (text, agreed.unasked, agreed.attempts)
    assert 0 == third.stream.facts.attempts

    text, split = await vote(says("a", "Answer: 1", 0.4), says("b", "Answer: 2", 0.3), third, stages=(2, 1))

    assert ("Answer: 2", [], 3) == (text, split.unasked, split.attempts)


async def test_a_third_expert_stands_in_when_one_of_the_first_two_fails() -> None:
    text, report = await vote(fails("a", 0.4), fails("b", 0.3), says("c", "Answer: 2", 0.3), stages=(2, 1))

    assert ("Answer: 2", "c") == (text, report.answered_by)


@given(
    finals=st.lists(st.sampled_from(["Answer: 1", "Answer: 2", "Answer: 3", "words " * 12]), min_size=3, max_size=5),
    odds=st.lists(st.integers(1, 9), min_size=5, max_size=5),
)
def test_asking_in_stages_never_changes_who_wins(finals: list[str], odds: list[int]) -> None:
    weights = sorted((each / sum(odds[: len(finals)]) for each in odds[: len(finals)]), reverse=True)
    stages = (2, *(1 for _ in finals[2:]))

    def world() -> list[Candidate]:
        return [says(f"e{n}", text, weight) for n, (text, weight) in enumerate(zip(finals, weights, strict=True))]

    together, lazy = (asyncio.run(vote(*world(), stages=plan)) for plan in ((), stages))

    assert together[0] == lazy[0]
    assert lazy[1].attempts <= together[1].attempts == len(finals)


async def test_votes_weigh_by_how_probably_each_expert_is_right_on_this_query() -> None:
    def world(last: float | None) -> list[Candidate]:
        sure = says("sure", "Answer: 1", 0.1, quality=0.97)
        return [sure, says("b", "Answer: 2", 0.4, quality=0.4), says("c", "Answer: 2", 0.4, quality=last)]

    _, by_quality = await vote(*world(0.4))
    _, by_weight = await vote(*world(None))

    assert ("sure", "b") == (by_quality.answered_by, by_weight.answered_by)


async def test_nobody_else_is_asked_where_no_vote_could_end_otherwise() -> None:
    candidates = [says(f"e{place}", "Answer: 1", 0.3, quality=each) for place, each in enumerate((0.98, 0.3, 0.3))]
    text, report = await vote(*candidates, stages=(2, 1))

    assert ("Answer: 1", 1, ["e1", "e2"]) == (text, report.attempts, report.unasked)


@given(
    finals=st.lists(st.sampled_from(["Answer: 1", "Answer: 2", "Answer: 3", "words " * 12]), min_size=2, max_size=5),
    odds=st.lists(st.integers(1, 98), min_size=5, max_size=5),
)
def test_asking_in_turn_by_quality_never_changes_who_wins(finals: list[str], odds: list[int]) -> None:
    qualities = sorted((each / 100 for each in odds[: len(finals)]), reverse=True)

    def world() -> list[Candidate]:
        pairs = zip(finals, qualities, strict=True)
        return [says(f"e{n}", text, 0.2, quality=quality) for n, (text, quality) in enumerate(pairs)]

    stages = (2, *(1 for _ in finals[2:]))
    together, lazy = (asyncio.run(vote(*world(), stages=plan)) for plan in ((), stages))

    assert together[0] == lazy[0]
    assert lazy[1].attempts <= len(finals)


async def test_the_question_says_what_is_counted() -> None:
    question = "Which?\nA. a river\nB. a lake\nC. a sea\n"
    _, report = await vote(says("a", "It has 3 shores. Answer: a lake"), says("b", "(B)"), question=question)

    assert {"a": "B", "b": "B"} == report.finals


SUMS = (
    "```python\ndef f(items):\n    return sum(items)\n```",
    "```python\ndef total(items):\n    t = 0\n    for each in items:\n        t += each\n    return t\n```",
    "```python\ndef f(items):\n    return max(items, default=0)\n```",
)


async def test_code_is_the_same_that_returns_the_same_where_it_may_be_run() -> None:
    def world() -> list[Candidate]:
        weights = (0.3, 0.3, 0.4)
        return [says(f"e{place}", text, weights[place]) for place, text in enumerate(SUMS)]

    _, read = await vote(*world())
    _, run = await vote(*world(), run_code=True)
    _, staged = await vote(*world(), run_code=True, stages=(2, 1))

    assert ("e2", "e0", "e0") == (read.answered_by, run.answered_by, staged.answered_by)
    assert run.finals["e0"] == run.finals["e1"] != run.finals["e2"]
