"""The pocket questions: the same for the same seed, split by construction, and every reference answer is right."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from experts.pocket import DOMAINS, generate
from experts.pocket.exam import stream
from experts.pocket.question import Phrasings, split_of
from experts.pocket.tasks import TASKS
from experts.pocket.tasks.numerals import roman

EVERY_TASK = [(domain, task) for domain, tasks in TASKS.items() for task in tasks]


@pytest.mark.parametrize("domain", DOMAINS)
def test_same_seed_draws_the_same_distinct_questions(domain: str) -> None:
    first, again = generate(domain, "heldout", 200, 5), generate(domain, "heldout", 200, 5)
    assert first == again
    assert len({question.prompt for question in first}) == 200


def test_another_seed_draws_other_questions() -> None:
    assert generate("math", "train", 50, 1) != generate("math", "train", 50, 2)


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_prompt_appears_in_both_splits(domain: str) -> None:
    trained = {question.prompt for question in islice(stream(domain, "train", 7), 20_000)}
    assert not trained & {question.prompt for question in generate(domain, "heldout", 1000, 20_000)}


@pytest.mark.parametrize(("domain", "task"), EVERY_TASK)
def test_no_phrasing_appears_in_both_splits(domain: str, task: object) -> None:
    phrasings: Phrasings = task.phrasings  # type: ignore[attr-defined]
    assert phrasings.heldout
    assert not set(phrasings.train) & set(phrasings.heldout)


@pytest.mark.parametrize(("domain", "task"), EVERY_TASK)
def test_operands_belong_to_one_split_unless_they_are_facts(domain: str, task: object) -> None:
    random = Random(1)
    problems = [task.draw(random) for _ in range(300)]  # type: ignore[attr-defined]
    ruled = {problem.key for problem in problems if not problem.memorised}
    by_split = {split: {key for key in ruled if split_of(key) == split} for split in ("train", "heldout")}
    assert by_split["train"] | by_split["heldout"] == ruled
    assert not by_split["train"] & by_split["heldout"]


def test_math_operands_asked_in_training_are_never_asked_held_out() -> None:
    def operands(split: str) -> set[str]:
        questions = generate("math", split, 3000, 3)  # type: ignore[arg-type]
        return {question.response for question in questions if question.task in ("sum", "difference", "product")}

    assert not operands("train") & operands("heldout")


def test_sharing_a_phrasing_between_splits_is_an_error() -> None:
    with pytest.raises(ValueError, match="both splits"):
        Phrasings(train=("What is {a}?",), heldout=("What is {a}?",))


def test_asking_for_more_questions_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="holds only about"):
        generate("geography", "heldout", 100_000, 1)


def test_an_unknown_domain_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown domain 'cooking'"):
        generate("cooking", "train", 1, 1)


@pytest.mark.parametrize(
    ("number", "numeral"),
    [(1, "I"), (4, "IV"), (9, "IX"), (14, "XIV"), (40, "XL"), (90, "XC"), (444, "CDXLIV"), (987, "CMLXXXVII")],
)
def test_numbers_are_written_as_the_romans_wrote_them(number: int, numeral: str) -> None:
    assert numeral == roman(number)
