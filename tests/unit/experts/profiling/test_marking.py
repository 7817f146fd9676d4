"""One table a kind of question: what counts as right."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.extraction import final_answer, normalise
from experts.pocket import DOMAINS, generate, grade
from experts.profiling import Reading, pocket_questions, question_of, right
from experts.profiling.reading import POCKET_SEED

READING = Reading(final_answer, normalise)


def marked(row: dict[str, Any], text: str) -> bool:
    return right(question_of({"question": "?", "domain": "math", **row}), text, READING)


CHOICE = {"options": ["Paris", "Nairobi", "Lima", "40"], "answer": "B"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Answer: B", True),
        ("The capital is Nairobi.\nAnswer: (B)", True),
        ("Answer: B. Nairobi", True),
        ("Answer: nairobi", True),
        (r"so \boxed{B}", True),
        (r"\boxed{\text{B}}", True),
        ("**Answer:** option B", True),
        ("b", True),
        ("Kenya's capital is known to everybody who went there, so it must be (B).", True),
        ("<think>Answer: A</think>\nAnswer: B", True),
        ("Answer: A", False),
        ("Answer: E", False),
        ("Either A or B", False),
        ("Answer: 40", False),
        ("", False),
    ],
)
def test_a_choice_is_its_letter_or_its_words(text: str, expected: bool) -> None:
    assert expected == marked(CHOICE, text)


@pytest.mark.parametrize("answer", ["B", "b", 1, "1", "Nairobi"])
def test_the_right_option_is_named_by_letter_index_or_words(answer: str | int) -> None:
    assert ("B",) == question_of(
        {"question": "?", "domain": "x", "options": CHOICE["options"], "answer": answer}
    ).answers


def test_options_are_shown_with_letters_unless_the_row_brings_its_own_messages() -> None:
    shown = question_of({"question": "Capital of Kenya?", "domain": "x", **CHOICE}).messages[0]["content"]
    own = question_of({"messages": [{"role": "user", "content": "?"}], "domain": "x", **CHOICE}).messages

    assert "B. Nairobi" in shown
    assert "letter" in shown
    assert ({"role": "user", "content": "?"},) == own


@pytest.mark.parametrize(
    ("answer", "text", "expected"),
    [
        ("42", "Answer: 42", True),
        ("42", "so it is 42.0", True),
        ("42", "Answer: x = 42", True),
        ("42", "Answer: 41", False),
        ("42", "Answer: 42 or 43", False),
        ("42", "I cannot tell.", False),
        ("1234.5", "Answer: 1,234.50", True),
        ("3.14", "Answer: 3.14159", True),
        ("3.14", "Answer: 3.15", False),
        ("0.75", "Answer: 3/4", True),
        ("1/3", r"\boxed{\frac{1}{3}}", True),
        ("-5", "Answer: \u22125", True),
        ("25%", "Answer: 25 %", True),
        ("6.02e23", r"Answer: 6.02 \times 10^{23}", True),
        ("5 km", "Answer: 5000 m", True),
        ("5 km", "Answer: 5 kilometers", True),
        ("5 km", "Answer: 5", True),
        ("5 km", "Answer: 5 kg", False),
        ("5 km", "Answer: 5 m", False),
        ("90 min", "Answer: 1.5 hours", True),
        ("7 apples", "Answer: 7 apples", True),
        ("7 apples", "Answer: 7 pears", False),
        ("20", "Answer: $20", True),
        ("1", "Answer: 1/0", False),
    ],
)
def test_a_number_is_right_by_value_in_any_unit_we_know(answer: str, text: str, expected: bool) -> None:
    assert expected == marked({"answer": answer}, text)


@pytest.mark.parametrize(
    ("tolerance", "said", "expected"),
    [(0.5, "100.5", True), (0.5, "100.51", False), ("5%", "105", True), ("5%", "106", False), (0, "100.0", True)],
)
def test_a_tolerance_is_absolute_or_a_percentage(tolerance: Any, said: str, expected: bool) -> None:
    assert expected == marked({"answer": "100", "tolerance": tolerance}, f"Answer: {said}")


def test_a_unit_in_a_column_of_its_own_belongs_to_the_answer() -> None:
    assert marked({"answer": "2", "unit": "h"}, "Answer: 120 min")


@pytest.mark.parametrize(
    ("answer", "text", "expected"),
    [
        ("Nairobi", "Answer: **Nairobi**.", True),
        ("Nairobi", "NAIROBI", True),
        ("Nairobi", "Answer: Mombasa", False),
        ("Nairobi", "Nairobi was not always the capital: before it there was another town. So who knows?", False),
        (["went", "had gone"], "Answer: had gone", True),
        ('["went", "had gone"]', "Answer: went", True),
    ],
)
def test_a_short_answer_is_compared_without_case_and_dots(answer: Any, text: str, expected: bool) -> None:
    assert expected == marked({"answer": answer}, text)


CODE = {"tests": [{"expression": "double([1, 2])", "expected": "[2, 4]"}, "assert double([]) == []"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```python\ndef double(xs):\n    return [2 * x for x in xs]\n```", True),
        ("```python\ndef double(xs):\n    return xs + xs\n```", False),
        ("```python\ndef double(xs):\n    while True: pass\n```", False),
        ("```python\nprint('all tests passed'); raise SystemExit(0)\n```", False),
        ("```python\ndef double(xs)\n```", False),
        ("def double(xs): return [2 * x for x in xs]", False),
    ],
)
def test_code_is_right_when_it_passes_every_test(text: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experts.profiling.marking.CODE_SECONDS", 1.0)

    assert expected == marked(CODE, text)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_built_in_questions_are_marked_as_the_exam_marks_them(domain: str) -> None:
    papers = generate(domain, "heldout", 30, POCKET_SEED)
    asked = [question for question in pocket_questions(30) if question.domain == domain]
    wrong = papers[1:] + papers[:1]

    for paper, question, other in zip(papers, asked, wrong, strict=True):
        assert paper.prompt == question.messages[0]["content"]
        assert right(question, paper.response, READING)
        assert grade(paper, other.response) == right(question, other.response, READING), (paper, other.response)
