"""Grading: exact on the final line, executed for code, and never fooled by a merely similar answer."""

from __future__ import annotations

import pytest

from experts.pocket import DOMAINS, CodeTest, PocketQuestion, generate, grade


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_reference_answer_is_right(domain: str) -> None:
    for question in generate(domain, "heldout", 25, 11):
        assert grade(question, question.response), question


@pytest.mark.parametrize("domain", DOMAINS)
def test_another_questions_answer_is_wrong(domain: str) -> None:
    first = generate(domain, "heldout", 1, 12)[0]
    other = next(each for each in generate(domain, "train", 50, 12) if each.answer != first.answer)
    assert not grade(first, other.response)


@pytest.mark.parametrize("domain", DOMAINS)
def test_an_empty_answer_is_wrong(domain: str) -> None:
    assert not grade(generate(domain, "heldout", 1, 13)[0], "")


@pytest.mark.parametrize(
    ("response", "right"),
    [
        ("Answer: Nairobi", True),
        ("The capital of Kenya is Nairobi.\nAnswer: Nairobi\n", True),
        ("Answer: Mombasa\nAnswer: Nairobi", True),
        ("Answer: Nairobi\nAnswer: Mombasa", False),
        ("Answer: nairobi", False),
        ("Answer: Nairobi or Mombasa", False),
        ("Nairobi", False),
    ],
)
def test_the_last_answer_line_is_matched_exactly(response: str, right: bool) -> None:
    question = PocketQuestion("geography", "capital", "What is the capital of Kenya?", "Nairobi", "Answer: Nairobi")
    assert grade(question, response) is right


DOUBLE = PocketQuestion(
    domain="code",
    task="map",
    prompt="Write a Python function named f that returns every number of a list doubled.",
    answer="def f(items):\n    return [n * 2 for n in items]\n",
    response="",
    tests=(CodeTest("f([1, 2])", "[2, 4]"), CodeTest("f([])", "[]")),
)


@pytest.mark.parametrize(
    ("code", "right"),
    [
        ("def f(items):\n    return [2 * n for n in items]", True),
        ("f = lambda xs: [x + x for x in xs]", True),
        ("def g(items):\n    return [2 * n for n in items]", False),
        ("def f(items):\n    return [2, 4]", False),
        ("def f(items): return (", False),
        ("import sys\nsys.exit(0)", False),
        ("while True: pass", False),
    ],
)
def test_code_is_right_when_it_passes_its_tests(code: str, right: bool) -> None:
    assert grade(DOUBLE, f"Here you are:\n```python\n{code}\n```\n") is right


def test_code_outside_a_fenced_block_is_wrong() -> None:
    assert not grade(DOUBLE, DOUBLE.answer)
