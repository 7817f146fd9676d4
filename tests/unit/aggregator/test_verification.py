"""Does an answer look weak? What can be told without asking anybody."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.verification import agreed, finals, mean_logprob, wants_final_answer, weakness
from experts.types import CallFacts, ExpertAnswer, Message, Usage

OPEN: tuple[Message, ...] = ({"role": "user", "content": "Tell me about whales."},)
CLOSED: tuple[Message, ...] = ({"role": "user", "content": "Largest?\n(A) cat\n(B) whale\n(C) ant"},)
PROSE = "Whales are large mammals that live in the sea and breathe air, and they sing to each other."


def answer(text: str, finish: str = "stop", *, others: tuple[str, ...] = (), **message: Any) -> ExpertAnswer:
    logprobs = message.pop("logprobs", None)
    choices = [{"message": {"content": each, **message}, "logprobs": logprobs} for each in (text, *others)]
    return ExpertAnswer("a", {"choices": choices}, text, finish, Usage(), CallFacts("a"))


def tokens(*logprobs: float) -> dict[str, Any]:
    return {"content": [{"token": "x", "logprob": each} for each in logprobs]}


@pytest.mark.parametrize(
    ("given", "messages", "reason"),
    [
        (answer(PROSE), OPEN, None),
        (answer("  \n"), OPEN, "empty"),
        (answer(PROSE, "length"), OPEN, "cut off"),
        (answer(PROSE, "content_filter"), OPEN, "filtered"),
        (answer("I'm sorry, but I cannot help with that."), OPEN, "refused"),
        (answer("I don't know."), OPEN, "refused"),
        (answer(PROSE, refusal="no"), OPEN, "refused"),
        (answer(PROSE), CLOSED, "no final answer"),
        (answer("The answer is B."), CLOSED, None),
        (answer("Answer: 4", others=("Answer: 5", "Answer: 6")), OPEN, "its samples disagree"),
        (answer("Answer: 4", others=("Answer: 4", "Answer: 6")), OPEN, None),
        (answer(PROSE, logprobs=tokens(-0.1, -0.2)), OPEN, None),
        (answer(PROSE, logprobs=tokens(-3.0, -0.5)), OPEN, "unsure of its words"),
        (answer("", "tool_calls", tool_calls=[{"id": "1"}]), OPEN, None),
    ],
)
def test_weakness_is_told_by_what_can_be_seen(
    given: ExpertAnswer, messages: tuple[Message, ...], reason: str | None
) -> None:
    assert reason == weakness(given, messages)


def test_sorry_in_the_middle_of_an_answer_is_no_refusal() -> None:
    assert None is weakness(answer(f"{PROSE} {PROSE} The sailor said: I'm sorry, I can't steer."), OPEN)


@pytest.mark.parametrize(
    ("texts", "same"),
    [
        (("Answer: 4", "so 2 + 2 = 4"), True),
        (("Answer: 4", "Answer: 5"), False),
        ((PROSE, PROSE), False),
        (("Answer: 4",), False),
        (("Answer: 4", "Answer: 4.0", "It equals 4"), True),
        (("Answer: 3 km", "Answer: 3000 m"), True),
        (("Answer: 0.3333333333", "Answer: 1/3"), True),
    ],
)
def test_answers_agree_on_a_final_answer_or_not_at_all(texts: tuple[str, ...], same: bool) -> None:
    assert same == agreed([answer(text) for text in texts], OPEN)


def test_answers_are_compared_as_the_question_asks() -> None:
    """Of a question with options the letter counts, also where the option's text is quoted."""
    assert ["B", "B", None] == finals(["The answer is (B).", "whale", "It weighs 30 tonnes, I think."], CLOSED)


def test_tokens_of_all_choices_make_the_mean_and_unknown_ones_none() -> None:
    assert -2.0 == mean_logprob(answer(PROSE, logprobs=tokens(-1.0, -3.0)))
    assert None is mean_logprob(answer(PROSE))
    assert None is mean_logprob(answer(PROSE, logprobs={"content": [{"token": "x"}, None, 3]}))


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("Which?\nA. one\nB. two", True),
        ("Put the result in \\boxed{}.", True),
        ("Reply with only the letter.", True),
        ("Write a poem.\nA poem about rain.", False),
        ("assert f(3) == ?? Complete it with a literal.", True),
        ("How many people have loved the sea?", False),
    ],
)
def test_a_closed_question_is_known_by_its_wording(text: str, closed: bool) -> None:
    assert closed == wants_final_answer(({"role": "user", "content": text},))
