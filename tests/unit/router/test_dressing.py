"""What is asked stays in a dressed prompt, and so do its label and its source."""

from random import Random

import pytest

from router.training.dressing import LONGEST, dressed, misspelt
from router.training.prompts import Prompt

QUESTIONS = [Prompt(f"How far is it from village {n} to the sea?", "math", "train", f"s{n % 3}") for n in range(40)]


def test_as_many_as_wanted_are_dressed_and_none_of_them_stays_as_it_was() -> None:
    found = dressed(QUESTIONS, 20)

    assert len(found) == 20
    assert {prompt.text for prompt in found}.isdisjoint(prompt.text for prompt in QUESTIONS)


def test_label_split_and_source_stay() -> None:
    for prompt in dressed(QUESTIONS, 40):
        assert (prompt.domain, prompt.split) == ("math", "train")
        assert prompt.source in {"s0", "s1", "s2"}


def test_three_of_four_ways_keep_the_question_word_for_word() -> None:
    texts = {prompt.text for prompt in QUESTIONS}

    kept = [any(text in prompt.text for text in texts) for prompt in dressed(QUESTIONS, 40)]

    assert sum(kept) == 30


def test_the_draws_are_the_same_every_time() -> None:
    assert dressed(QUESTIONS, 30) == dressed(QUESTIONS, 30)


def test_long_prompts_are_left_alone() -> None:
    assert dressed([Prompt("x" * (LONGEST + 1), "math", "train")]) == []


@pytest.mark.parametrize("text", ["Why does iron rust?", "a b", "what is the capital of france" * 5])
def test_a_misspelt_text_has_nearly_all_of_its_letters(text: str) -> None:
    found = misspelt(text, Random(1))

    assert abs(len(found) - len(text)) <= max(1, round(len(text) * 0.05))


@pytest.mark.parametrize("text", ["", "7", "x"])
def test_what_has_no_two_letters_stays(text: str) -> None:
    assert misspelt(text, Random(1)) == text
