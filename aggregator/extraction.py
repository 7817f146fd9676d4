r"""Find the comparable final answer inside a text: what a vote can count.

Tried in this order, the first that matches wins: \boxed{...}; a line "Answer: ..." or "the answer is ...";
a fenced code block (compared by its syntax tree, so layout and comments do not matter); a number the text ends
on after "is", "equals" or "="; a text that is short as a whole; the last number of a longer one. Longer texts
without any of these have no comparable answer.
"""

from __future__ import annotations

import ast
import re
from decimal import Decimal, InvalidOperation

SHORT_WORDS = 8
STATED = re.compile(r"(?im)\b(?:final\s+)?answer\s*(?:is|:|=)\s*\**\s*(?P<answer>[^\n]+)")
FENCED = re.compile(r"```(?:python|py)?\s*\n(?P<code>.*?)```", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w])")
CONCLUDED = re.compile(r"(?:\bis|\bequals|=)\s*(?P<answer>[-+]?\d[\d,]*(?:\.\d+)?)\s*\.?$")
CHOICE = re.compile(r"^\(?(?P<letter>[A-Ja-j])\)?(?:[.:)]\s.*)?$", re.DOTALL)


def final_answer(text: str) -> str | None:
    r"""Return the normalised final answer, or None when the text holds nothing comparable.

    >>> final_answer("2 + 2 = 4\nAnswer: 4.0") == final_answer(r"so \boxed{4}")
    True
    """
    text = text.strip()
    if (boxed := _boxed(text)) is not None:
        return normalise(boxed)
    if stated := STATED.findall(text):
        return normalise(stated[-1])
    if fenced := FENCED.findall(text):
        return _code(fenced[-1])
    if concluded := CONCLUDED.search(text):
        return normalise(concluded["answer"])
    if text and len(text.split()) <= SHORT_WORDS:
        return normalise(text)
    numbers = NUMBER.findall(text)
    return normalise(numbers[-1]) if numbers else None


def normalise(answer: str) -> str | None:
    """Return one spelling for equal answers: numbers by value, choices by letter, words without case or dots."""
    answer = answer.strip().strip("*$` ").rstrip(".!*$` ")
    if (number := _number(answer)) is not None:
        return number
    if choice := CHOICE.match(answer):
        return choice["letter"].upper()
    return " ".join(answer.casefold().split()) or None


def _number(text: str) -> str | None:
    try:
        value = Decimal(text.replace(",", "").replace("%", "").strip())
    except InvalidOperation:
        return None
    return f"{value.normalize():f}" if value.is_finite() else None


def _boxed(text: str) -> str | None:
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed{")
    for position in range(begin - 1, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[begin:position]
    return None


def _code(source: str) -> str:
    try:
        return ast.dump(ast.parse(source))
    except (SyntaxError, ValueError):
        return " ".join(source.split())
