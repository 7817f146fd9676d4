"""Equal answers get one spelling; different ones do not."""

from __future__ import annotations

import pytest

from aggregator.extraction import final_answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We add.\nAnswer: 685", "685"),
        ("The answer is 685.", "685"),
        ("**Final answer:** 1,024", "1024"),
        (r"so \boxed{\frac{1}{2}} holds", r"\frac{1}{2}"),
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
