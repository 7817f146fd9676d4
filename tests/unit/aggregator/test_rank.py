"""Ranking answers: both orders, equal answers once, hostile ones as quotations, and nobody lost when readers fail."""

from __future__ import annotations

import re

from aggregator.config import FusionConfig, RankOptions
from aggregator.strategies.rank import Rank
from aggregator.types import Candidate
from experts.fusion_prompt import LETTERS
from experts.types import ExpertCall
from tests.unit.aggregator.readers import HOSTILE, Asked, fused, ours, quotes, system
from tests.unit.aggregator.worlds import fails, says


def reader_who_wants(word: str) -> Asked:
    """Return a reader who names the answer that holds a word."""

    def reply(call: ExpertCall) -> str:
        answers = re.split(r"(?m)^Answer [A-Z]:$", system(call))[1:]
        return next((letter for letter, text in zip(LETTERS, answers, strict=False) if word in text), "none")

    return Asked(reply)


def three() -> tuple[Candidate, Candidate, Candidate]:
    return says("a", "Mombasa", 0.5), says("b", "It is Nairobi.", 0.3), says("c", "Kisumu", 0.2)


async def test_the_best_answer_is_returned_verbatim_whatever_its_weight() -> None:
    ask = reader_who_wants("Nairobi")
    text, report = await fused(Rank(), *three(), ask=ask)

    assert ("It is Nairobi.", "b", "fuser") == (text, report.answered_by, report.fuser)
    assert "2 of 6 comparisons named nobody" == report.note
    assert (6, 9) == (len(ask.calls), report.attempts)
    assert 2 * 9 == report.usage.prompt_tokens


async def test_a_reader_who_always_prefers_the_first_place_leaves_it_to_the_weights() -> None:
    text, report = await fused(Rank(), *three(), ask=Asked(lambda _: "A"))

    assert ("Mombasa", "3 of 3 comparisons changed with the order") == (text, report.note)


async def test_many_are_listed_together_in_two_orders() -> None:
    ask = reader_who_wants("Nairobi")
    config = FusionConfig(rank=RankOptions(pairs_up_to=2))
    text, _ = await fused(Rank(), *three(), ask=ask, config=config)

    assert ("It is Nairobi.", 2) == (text, len(ask.calls))
    shown = [re.findall(r'(?m)^Expert "(\w)"', system(call)) for call in ask.calls]
    assert shown[0] == ["a", "b", "c"] == shown[1][::-1]


async def test_answers_are_listed_together_where_not_all_pairs_could_be_asked() -> None:
    ask = reader_who_wants("Nairobi")
    await fused(Rank(), *three(), ask=ask, config=FusionConfig(max_calls=8))
    pairs = len(ask.calls)
    await fused(Rank(), *three(), ask=ask, config=FusionConfig(max_calls=9))

    assert (2, 6) == (pairs, len(ask.calls) - pairs)


async def test_answers_that_come_to_the_same_are_compared_once_with_their_weights_together() -> None:
    candidates = (says("a", "Mombasa", 0.4), says("b", "Answer: Nairobi", 0.35), says("c", "Nairobi.", 0.25))
    ask = Asked(lambda _: "both are good")
    text, report = await fused(Rank(), *candidates, ask=ask)

    assert (2, "Answer: Nairobi") == (len(ask.calls), text)
    assert "no comparison named an answer: the heaviest is returned" == report.note
    assert {"a": "mombasa", "b": "nairobi", "c": "nairobi"} == report.finals


async def test_when_all_agree_nobody_is_asked() -> None:
    ask = Asked()
    text, report = await fused(Rank(), says("a", "Answer: 7", 0.4), says("b", "It is 7", 0.6), ask=ask)

    assert ("It is 7", "b", []) == (text, report.answered_by, ask.calls)
    assert "agree" in report.note


async def test_long_texts_that_end_on_the_same_number_are_still_compared() -> None:
    ask = reader_who_wants("second")
    essay = "words " * 250 + "in 1963"
    text, _ = await fused(Rank(), says("a", f"first {essay}", 0.6), says("b", f"second {essay}", 0.4), ask=ask)

    assert text.startswith("second")


async def test_a_void_comparison_does_not_count() -> None:
    replies = iter(["hm", "A"])
    _, report = await fused(Rank(), *three()[:2], ask=Asked(lambda _: next(replies)))

    assert ("b", "1 of 2 comparisons named nobody") == (report.answered_by, report.note)


async def test_a_reader_who_is_down_leaves_the_heaviest_and_is_told_once() -> None:
    text, report = await fused(Rank(), *three(), ask=Asked(lambda call: fails(call.expert)))

    assert ("Mombasa", None) == (text, report.fuser)
    assert ["fuser: fuser is down"] == [failure.message for failure in report.failures]


async def test_empty_answers_and_dead_candidates_are_not_compared() -> None:
    ask = reader_who_wants("Kisumu")
    candidates = (says("a", " \n", 0.4), fails("dead", 0.3), says("c", "Kisumu", 0.2), says("d", "Nairobi", 0.1))
    text, _ = await fused(Rank(), *candidates, ask=ask)

    assert ("Kisumu", 2) == (text, len(ask.calls))
    assert 'Expert "a"' not in system(ask.calls[0])


async def test_a_comparison_keeps_the_conversation_and_leaves_the_clients_form_out() -> None:
    ask = Asked(lambda _: "A")
    given = {"response_format": {"type": "json_object"}, "max_tokens": 3, "temperature": 1.5, "tools": [], "user": "x"}
    await fused(Rank(), *three(), ask=ask, parameters=given)

    assert {"temperature": 0, "user": "x"} == ask.calls[0].parameters
    assert "What is the capital of Kenya?" == ask.calls[0].messages[-1]["content"]


async def test_a_hostile_answer_reaches_the_reader_only_as_quoted_lines() -> None:
    hostile, benign = Asked(lambda _: "A"), Asked(lambda _: "A")
    await fused(Rank(), says("a", HOSTILE, 0.6), says("b", "Nairobi", 0.4), ask=hostile)
    await fused(Rank(), says("a", "Mombasa", 0.6), says("b", "Nairobi", 0.4), ask=benign)

    assert ours(benign.calls) == ours(hostile.calls)
    assert "HACKED" in quotes(hostile.calls)
