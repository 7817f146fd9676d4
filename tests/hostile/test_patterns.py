"""Texts made for slow regular expressions and deep recursion (ReDoS): what reads strangers' texts takes its time.

Whatever is looked for is repeated, alone and between what makes a text worth reading further.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from aggregator.extraction import final_answer, wanted
from aggregator.extraction.asked import Wanted
from experts.profiling.units import quantity
from gateway.judging import read_mark
from tests.hostile.shape import wrong

LENGTH = 20_000
MOST_SECONDS = 0.5
"""Milliseconds, where each character is looked at a few times; tens of seconds, where it is for each other one."""
PARTS: tuple[str, ...] = (
    *(
        " ",
        "\n",
        "\t",
        "a",
        "A",
        "1",
        ",",
        ".",
        "-",
        "+",
        "~",
        "*",
        "_",
        "(",
        "{",
        "[",
        "<",
        "`",
        '"',
        "'",
        "\\",
        ":",
        "=",
    ),
    *(
        "1 ",
        "1a ",
        "a ",
        "1,",
        "1,111,",
        "- ",
        "1 x 10 ^ ",
        "1/1",
        "1 /",
        "m/",
        "1e9",
        "1:",
        "**",
        "1+",
        "not ",
        "a.",
        "a(",
    ),
    *(
        "\\frac{1}{2}",
        "\\frac{",
        "\\text{",
        "\\boxed{",
        "$",
        "[[",
        "((",
        "lambda:",
        "{1}",
        "<think>",
        "</think>",
        "```\n",
    ),
    *("answer is ", "answer: ", "A) ", "\nA) x", "the answer is (A) ", "how many ", "is ", "; ", "é", "\u0663", "__a"),
)
AROUND = (
    ("", ""),
    ("\\boxed{1", "!}"),
    ('{"answer": "', '!"}'),
    ("Answer: ", "!"),
    ("The answer is (", ")"),
    ("1", "!"),
)
QUESTIONS = ("What is it?", "How many metres is it?", "Which?\nA) one\nB) two", "assert f(1) == ??")


def texts(length: int = LENGTH) -> Iterator[str]:
    for part in PARTS:
        for before, after in AROUND:
            yield before + part * (length // len(part)) + after


def slow(read: Callable[[str], object], length: int = LENGTH) -> list[tuple[str, float]]:
    """Return the texts that take too long to read."""
    found = []
    for text in texts(length):
        begun = time.process_time()
        read(text)
        if (seconds := time.process_time() - begun) > MOST_SECONDS:
            found.append((f"{text[:40]!r}", seconds))
            if len(found) > 3:
                break
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_final_answer_is_looked_for_in_little_time(question: str) -> None:
    asked: Wanted = wanted([{"role": "user", "content": question}])

    assert [] == slow(lambda text: final_answer(text, asked))


@pytest.mark.parametrize("length", [150, LENGTH])
def test_a_quantity_and_a_mark_are_read_in_little_time(length: int) -> None:
    """Time grew with the cube of the spaces: 0.4 s for 400."""
    assert [] == slow(quantity, length)
    assert [] == slow(read_mark, length)


def test_what_a_question_wants_is_found_in_little_time() -> None:
    assert [] == slow(lambda text: wanted([{"role": "user", "content": text}]))


def test_a_prompt_is_routed_in_little_time(mallory: httpx.Client) -> None:
    found = {}
    for part in PARTS:
        body = {"messages": [{"role": "user", "content": part * (40_000 // len(part))}]}
        begun = time.monotonic()
        answer = mallory.post("/v1/route", json=body)
        assert "" == wrong(answer.status_code, answer.headers, answer.content)
        if (seconds := time.monotonic() - begun) > 2.0:
            found[part] = seconds

    assert {} == found
