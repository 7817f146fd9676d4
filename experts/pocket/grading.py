"""Grade an answer: exact match on the line `Answer: X`, or, for code, running the fenced block against its tests."""

from __future__ import annotations

import re

from experts.pocket.question import PocketQuestion
from experts.sandbox import run_python

ANSWER_LINE = re.compile(r"^\s*Answer:[ \t]*(.+?)\s*$", re.MULTILINE)
PYTHON_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
PASSED = "all tests passed"


def final_answer(response: str) -> str | None:
    """Return what the last `Answer:` line says, or None when there is no such line."""
    found = ANSWER_LINE.findall(response)
    return str(found[-1]) if found else None


def python_block(response: str) -> str | None:
    """Return the last fenced block of Python, or None when there is none."""
    found = PYTHON_BLOCK.findall(response)
    return str(found[-1]) if found else None


def grade(question: PocketQuestion, response: str) -> bool:
    """Return whether the response is right. Code is executed in the sandbox; nothing else is ever run."""
    if question.tests:
        return _passes(question, response)
    return final_answer(response) == question.answer


def _passes(question: PocketQuestion, response: str) -> bool:
    source = python_block(response)
    if source is None:
        return False
    checks = [f"assert ({test.expression}) == ({test.expected}), {test.expression!r}" for test in question.tests]
    program = "\n".join([source, *checks, f"print({PASSED!r})"])
    result = run_python(program)
    return result.ok and result.stdout.rstrip().endswith(PASSED)
