"""Mark an answer against a question: 1 right, 0 wrong. Judged questions are marked elsewhere, by an expert.

What a text finally says is found by whoever calls (`Reading`): it is the same reading that votes are counted by, and
it lives in another room. An answer's thoughts (up to `</think>`) are not part of it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from experts.pocket.grading import python_block
from experts.profiling.question import LETTERS, Kind, Question
from experts.profiling.units import Quantity, converted, quantity
from experts.sandbox import run_python

_OPTION_WORD = re.compile(r"(?i)^(?:option|choice|letter)\s+")
_LONE_LETTER = re.compile(r"(?:^|[\s(\[*])([A-Z])(?=[\s).,:;*\]]|$)")
CODE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """How texts are read.

    Args:
        final: the final answer stated in a text, normalised; None where it states none.
        normalise: one spelling for equal answers; None for nothing.
    """

    final: Callable[[str], str | None]
    normalise: Callable[[str], str | None]


Mark = Callable[[Question, str, Reading], bool]


def right(question: Question, text: str, reading: Reading) -> bool:
    """Say whether an answer is right.

    Code is run in the pocket experts' sandbox: its time, memory, files and output are bounded, but it can read what
    this process's user can read. Blocks until it ends, at most about five seconds.

    Raises:
        KeyError: the question is for a judge.
    """
    return MARKS[question.kind](question, spoken(text), reading)


def spoken(text: str) -> str:
    """Return an answer without its thoughts."""
    return text.rpartition("</think>")[2].strip()


def _choice(question: Question, text: str, reading: Reading) -> bool:
    allowed = LETTERS[: len(question.options)]
    return question.answers[0] == _letter(question, text, reading, allowed)


def _letter(question: Question, text: str, reading: Reading, allowed: str) -> str | None:
    """Return the letter that was chosen: said as such, by the option's words, or alone in the last line."""
    said = _OPTION_WORD.sub("", (reading.final(text) or "").strip()).strip()
    bare = said.strip("()[].:").upper()
    if len(bare) == 1 and bare in allowed:
        return bare
    spellings = [reading.normalise(option) for option in question.options]
    for candidate in (said, re.sub(r"^\(?[a-z][.):]\s*", "", said)):
        if candidate and spellings.count(candidate) == 1:
            return LETTERS[spellings.index(candidate)]
    lines = text.splitlines() or [""]
    alone = {letter for letter in _LONE_LETTER.findall(lines[-1]) if letter in allowed}
    return alone.pop() if len(alone) == 1 else None


def _exact(question: Question, text: str, reading: Reading) -> bool:
    said = {reading.final(text), reading.normalise(text)} - {None}
    return bool(said & {reading.normalise(answer) for answer in question.answers})


def _numeric(question: Question, text: str, reading: Reading) -> bool:
    said = quantity(reading.final(text) or "")
    return said is not None and any(_close(said, answer, question) for answer in question.answers)


def _close(said: Quantity, answer: str, question: Question) -> bool:
    """Compare with the tolerance; without one, to half a unit of the right answer's last decimal."""
    meant = quantity(answer)
    value = None if meant is None else converted(said, meant.unit)
    if meant is None or value is None:
        return False
    if question.tolerance is not None:
        allowed = Fraction(str(question.tolerance)) * (abs(meant.value) if question.relative else 1)
    else:
        allowed = Fraction(1, 2) / Fraction(10) ** meant.decimals if meant.decimals else Fraction(0)
    return abs(value - meant.value) <= allowed


def _code(question: Question, text: str, _reading: Reading) -> bool:
    source = python_block(text)
    if source is None:
        return False
    passed = secrets.token_hex(16)
    checks = [
        f"assert ({test.expression}) == ({test.expected}), {test.expression!r}" if test.expected else test.expression
        for test in question.tests
    ]
    result = run_python("\n".join([source, *checks, f"print({passed!r})"]), timeout_seconds=CODE_SECONDS)
    return result.ok and result.stdout.rstrip().endswith(passed)


MARKS: Mapping[Kind, Mark] = {"choice": _choice, "exact": _exact, "numeric": _numeric, "code": _code}
"""One function a kind."""
