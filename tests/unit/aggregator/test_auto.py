"""`auto`: which strategy, by question and experts alone."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator import STRATEGIES, Aggregator, FusionConfig
from aggregator.config import AutoOptions
from aggregator.strategies.auto import Choice, by_kind, choose, dominant, is_closed
from aggregator.types import Candidate, Chosen, FusionTask
from experts.types import ExpertCall, ExpertStream
from tests.unit.aggregator.worlds import says

OPEN = "Write a poem about rivers."
CLOSED = "Which is a prime?\nA) 4\nB) 7\nC) 9"
OPTIONS = AutoOptions()


def asked(text: str) -> tuple[dict[str, Any], ...]:
    return ({"role": "user", "content": text},)


def schema(**properties: Any) -> dict[str, Any]:
    described = {"type": "object", "properties": properties}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": described}}}


def experts(*qualities: float | None) -> list[Chosen]:
    return [Chosen(f"e{n}", 1 / len(qualities), quality) for n, quality in enumerate(qualities)]


@pytest.mark.parametrize(
    ("text", "parameters", "closed"),
    [
        (CLOSED, {}, True),
        ("How many legs have three cats?", {}, True),
        (r"Put the result into \boxed{}.", {}, True),
        (OPEN, {}, False),
        (OPEN, {"response_format": {"type": "json_object"}}, False),
        (OPEN, schema(label={"enum": ["spam", "ham"]}), True),
        (OPEN, schema(label={"enum": ["spam", "ham"]}, why={"type": "string"}), False),
        (OPEN, schema(scores={"type": "array", "items": {"type": "number"}}, sure={"type": "boolean"}), True),
        (OPEN, {"response_format": {"type": "json_schema"}}, False),
        (OPEN, {"response_format": "text"}, False),
        (OPEN, {"guided_choice": ["a", "b"]}, True),
        (OPEN, {"structured_outputs": {"choice": ["a", "b"]}}, True),
    ],
)
def test_a_question_is_closed_by_its_words_or_by_the_form_asked_for(
    text: str, parameters: dict[str, Any], closed: bool
) -> None:
    assert closed == is_closed(asked(text), parameters)
    assert ("vote" if closed else "single") == by_kind(asked(text), parameters, OPTIONS).strategy


def test_a_schema_nested_without_end_is_open() -> None:
    deep: dict[str, Any] = {"type": "number"}
    for _ in range(900):
        deep = {"type": "array", "items": deep}

    assert not is_closed(asked(OPEN), schema(deep=deep))


@pytest.mark.parametrize(
    "parameters", [{"tools": [{"type": "function"}]}, {"functions": [{}]}, {"n": 3}, {"n": 2, "tools": []}]
)
def test_tools_and_several_choices_are_one_experts_own(parameters: dict[str, Any]) -> None:
    assert "single" == by_kind(asked(CLOSED), parameters, OPTIONS).strategy


def test_tools_that_must_not_be_called_do_not_matter() -> None:
    assert "vote" == by_kind(asked(CLOSED), {"tools": [{}], "tool_choice": "none"}, OPTIONS).strategy


@pytest.mark.parametrize(
    ("qualities", "first_alone"),
    [
        ((0.95, 0.6, 0.5), True),
        ((0.7, 0.68, 0.66), False),
        ((0.95, 0.6, None), False),
        ((None, 0.4, 0.3), False),
        ((0.6, 0.95, 0.2), False),
        ((0.5, 0.5), False),
        ((1.0, 1.0), False),
        ((0.2, 0.0), True),
    ],
)
def test_one_expert_dominates_when_it_is_first_and_far_ahead_and_all_are_known(
    qualities: tuple[float | None, ...], first_alone: bool
) -> None:
    found = dominant(experts(*qualities))

    assert ("e0" if first_alone else None) == (found and found.expert)


def test_the_choice_says_why() -> None:
    assert Choice("single", "only e0 is asked") == choose(experts(0.5), asked(CLOSED), {}, OPTIONS)
    alone = choose(experts(0.99, 0.3), asked("What is 2 + 2? Only the number."), {}, OPTIONS)
    voted = choose(experts(0.6, 0.6), asked(CLOSED), {}, OPTIONS)

    assert ("single", "e0 is far ahead of the others") == alone
    assert ("vote", "auto: vote") == (voted.strategy, voted.shown)
    assert "vote" == Choice("vote").shown


@pytest.mark.parametrize("strategy", ["synthesize", "rank"])
def test_open_questions_get_what_is_configured(strategy: str) -> None:
    assert strategy == choose(experts(0.6, 0.6), asked(OPEN), {}, AutoOptions(open=strategy)).strategy
    assert "single" == choose(experts(0.99, 0.3), asked(OPEN), {}, AutoOptions(open=strategy)).strategy


@pytest.mark.parametrize(
    ("qualities", "text", "strategy", "calls"), [((0.99, 0.3), CLOSED, "single", 1), ((0.6, 0.6), CLOSED, "vote", 2)]
)
async def test_auto_does_as_the_chosen_one_and_its_name_is_told(
    qualities: tuple[float, ...], text: str, strategy: str, calls: int
) -> None:
    def ask(call: ExpertCall) -> ExpertStream:
        raise AssertionError("nobody else is asked")

    streams = [says(f"e{n}", "Answer: B").stream for n, _ in enumerate(qualities)]
    candidates = tuple(Candidate(stream, 0.5, quality) for stream, quality in zip(streams, qualities, strict=True))
    answer = await Aggregator().fuse(FusionTask(candidates, asked(text), ask), "auto").read()

    assert (strategy, "Answer: B") == (answer.report.strategy, answer.answer.text)
    assert calls == sum(stream.facts.attempts for stream in streams)


def test_none_is_another_word_for_single() -> None:
    assert "single" == by_kind(asked(OPEN), {}, AutoOptions(open="none")).strategy


def test_auto_is_what_councils_use_and_never_chooses_itself() -> None:
    assert "auto" == FusionConfig().strategy
    assert {OPTIONS.closed, OPTIONS.open} <= {*STRATEGIES} - {"auto"}
