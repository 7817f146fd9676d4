"""Equal answers get one spelling; different ones do not."""

from __future__ import annotations

import time

import pytest

from aggregator.extraction import Wanted, alike, final_answer, normalise, wanted
from experts.types import Message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We add.\nAnswer: 685", "685"),
        ("The answer is 685.", "685"),
        ("**Final answer:** 1,024", "1024"),
        (r"so \boxed{\frac{1}{2}} holds", "0.5"),
        (r"Answer: 3 but \boxed{4}", "4"),
        ("Answer: (B)", "B"),
        ("The answer is C", "C"),
        ("b", "B"),
        ("4.50", "4.5"),
        ("-7", "-7"),
        ("Nairobi", "nairobi"),
        ("**Nairobi**.", "nairobi"),
        ("Answer: The Hague.", "the hague"),
        ("First 3, then after a long while of adding all of them we end at 12 in total.", "12"),
        ("Answer: 1\nno wait\nAnswer: 2", "2"),
        ("a long text that reaches no conclusion of any kind at all, only words", None),
        ("", None),
        ("   ", None),
    ],
)
def test_the_final_answer_is_found_and_normalised(text: str, expected: str | None) -> None:
    assert expected == final_answer(text)


def test_code_is_compared_by_its_syntax_tree() -> None:
    one = "```python\ndef f(x):\n    return x + 1  # add\n```"
    two = "Here:\n```py\ndef f(x):\n\n    return (x + 1)\n```\nDone."
    other = "```python\ndef f(x):\n    return x - 1\n```"

    assert final_answer(one) == final_answer(two)
    assert final_answer(one) != final_answer(other)


def test_broken_code_is_still_comparable_as_text() -> None:
    assert "def f( return" == final_answer("```python\ndef f(  return\n```")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 km", "3000 m"),
        ("2.5 hours", "150 minutes"),
        ("50%", "50 percent"),
        (r"50\%", "50"),
        ("$1,024.00", "1024 dollars"),
        ("1/2", "0.5"),
        (r"\frac{1}{2}", ".5"),
        (r"$\dfrac{3}{4}$", "0.75"),
        (r"\frac12", "0.5"),
        (r"12\text{ apples}", "12 apples"),
        (r"90^\circ", "90"),
        (r"\frac{\pi}{2}", r"\pi/2"),
        (r"\left( 3, 4 \right)", "(3, 4)"),
        ('"Nairobi"', "nairobi"),
        ("-0", "0"),
        ("x = 5", "5"),
        ("1e3", "1000"),
    ],
)
def test_equal_answers_have_one_spelling(one: str, other: str) -> None:
    assert normalise(one) == normalise(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [("3 km", "3 m"), ("3 kg", "3 m"), ("0.5", "5"), ("1000000", "1000001"), ("(3, 4)", "(3, 5)"), ("NaN", "0")],
)
def test_different_answers_stay_different(one: str, other: str) -> None:
    first, second = str(normalise(one)), str(normalise(other))

    assert alike([first, second]) == {first: first, second: second}


def test_numbers_within_a_millionth_are_the_same_but_whole_numbers_are_exact() -> None:
    third, rounded = str(normalise("1/3")), str(normalise("0.3333333"))

    assert {third: third, rounded: third} == alike([third, rounded])
    assert {"1000000": "1000000", "1000001": "1000001"} == alike(["1000000", "1000001"])
    assert {"2.5 m": "2.5 m", "2.5 kg": "2.5 kg"} == alike(["2.5 m", "2.5 kg"])


@pytest.mark.parametrize("strange", ["NaN", "Infinity", "-inf", "1e999999", "9" * 5000, "1e-999999", "1/0", "٣"])
def test_strange_numbers_are_words_and_cost_nothing(strange: str) -> None:
    assert normalise(strange) is not None
    assert final_answer(f"Answer: {strange}", Wanted("number")) in {None, normalise(strange), strange, "1"}


def options(question: str) -> Wanted:
    return wanted(({"role": "user", "content": question},))


CAPITAL = "What is the capital of Kenya?\nA. Mombasa\nB. Nairobi\nC. Kisumu\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Kisumu is on the lake. The answer is (B).\n\nQuestion: ...\nThe answer is (C).", "B"),
        ("Answer: **C**", "C"),
        ("Final Answer:\nB. Nairobi", "B"),
        ("Answer: Nairobi", "B"),
        (r"so \boxed{\text{A}}", "A"),
        ('{"reasoning": "The answer is A?", "answer": "B"}', "B"),
        ("<think>The answer is (A)</think>The answer is (B)", "B"),
        ("b", "B"),
        ("I cannot answer this question: the map has 3 cities.", None),
        ("None of the 3 is a capital, as far as anybody who was asked about it can tell.", None),
    ],
)
def test_a_choice_is_a_letter_that_was_stated(text: str, expected: str | None) -> None:
    assert expected == final_answer(text, options(CAPITAL))


def test_where_the_question_says_how_to_answer_only_that_counts() -> None:
    told = options('Finish with "the answer is (X)".\n' + CAPITAL)

    assert ("choice", "said") == (told.kind, told.form)
    assert "B" == final_answer("It is on a hill: the answer is (B).", told)
    assert final_answer("Answer: B, or C, or any of them, which would all be fine with me.", told) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"answer": "5 hours"}', "5"),
        ("The answer is 300 minutes.", "5"),
        ('{"answer": "$12.00"}', "12"),
        ('{"answer": "35/7 = 5"}', "5"),
        ('{"answer": "2:00 pm"}', "2"),
        ("He needs 3 + 4 = 7", "7"),
        ('{"answer": "cannot be told"}', None),
        ("twelve", "twelve"),
    ],
)
def test_a_number_is_what_was_asked_for_without_its_unit(text: str, expected: str | None) -> None:
    assert expected == final_answer(text, options("How many more hours does the trip take?"))


def test_code_that_counts_is_still_code() -> None:
    text = (
        "```python\ndef f(text):\n    return text.count('a')\n```\nThis counts them, one after the other, to the end."
    )

    assert final_answer(text) == final_answer(text, options("Write a function that tells how many a's there are."))


def test_words_that_ask_for_a_statement_leave_numbers_stated() -> None:
    told = options('How many are there? End with "The answer is 12".')

    assert ("number", "said") == (told.kind, told.form)
    assert "7" == final_answer("Of all the 30 that were counted, 7 are left. The answer is 7.", told)


def test_the_system_message_may_say_how_to_answer_and_no_earlier_question() -> None:
    how = {"role": "system", "content": "Reply as JSON with an `answer` field."}
    turns: tuple[Message, ...] = (how, {"role": "user", "content": "How many?"})
    earlier: tuple[Message, ...] = ({**how, "role": "user"}, {"role": "user", "content": "How many?"})

    assert ("field", "") == (wanted(turns).form, wanted(earlier).form)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"answer": "USaR"}', "'USaR'"),
        ('{"answer": "\'USaR\'"}', "'USaR'"),
        ('{"answer": "[1,2]"}', "[1, 2]"),
        ('{"answer": [1, 2]}', "[1, 2]"),
        ('{"answer": "816"}', "816"),
        ('{"answer": "\'816\'"}', "'816'"),
        ('{"answer": ""}', "''"),
    ],
)
def test_a_literal_keeps_case_and_quotes(text: str, expected: str) -> None:
    assert expected == final_answer(text, options("Complete the assertion with a literal.\nassert f('a') == ??"))


def test_what_a_question_wants_is_read_off_its_last_message() -> None:
    turns: tuple[Message, ...] = (
        {"role": "user", "content": CAPITAL},
        {"role": "user", "content": [{"type": "text", "text": "How many hours does it take?"}]},
    )

    assert Wanted("choice", ("mombasa", "nairobi", "kisumu")) == wanted(turns[:1])
    assert Wanted("number", unit="hours") == wanted(turns)
    assert Wanted() == wanted(()) == options("Tell me about Kenya.")


HOSTILE = {
    "newlines": "answer:" + "\n" * 100_000,
    "an open fence": "```" + "\n" * 100_000,
    "fences": "```\n" * 25_000,
    "digits": "1" * 100_000 + "x",
    "commas": "1," * 50_000 + "x",
    "answers": "answer is " * 10_000,
    "boxes": "\\boxed{" * 14_000,
    "braces": '"answer": {' + "[" * 100_000,
    "a string": '"answer": "' + "\\" * 100_000,
    "equal signs": "=" * 100_000,
    "minus signs": "is " + "- " * 50_000,
    "deep code": "```python\n" + "(" * 19_000 + "\n```",
    "a long sum": "```python\n" + "1+" * 9_000 + "1\n```",
    "long options": CAPITAL + "A. " * 30_000,
    "fractions": "answer is " + "\\frac{" * 14_000,
    "units": "answer is 3 " + "m" * 100_000,
    "spaces": "answer" + " " * 100_000 + "is",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_read_in_linear_time(name: str) -> None:
    text, begun = HOSTILE[name], time.process_time()
    for told in (Wanted(), Wanted("choice"), Wanted("number"), Wanted("literal"), options(text)):
        final_answer(text, told)

    assert time.process_time() - begun < 1.0
