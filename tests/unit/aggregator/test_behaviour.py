"""Code compared by what it returns, in the sandbox: equal functions are found, and nothing a program does harms."""

from __future__ import annotations

import ast
import asyncio
import time

import pytest

from aggregator.extraction import behaviour as module
from aggregator.extraction import final_answer
from aggregator.extraction.behaviour import RUN_SECONDS, behaviour, by_behaviour, same
from aggregator.extraction.trials import MOST_INPUTS, VALUES, inputs
from experts.types import Message


def function(source: str) -> ast.FunctionDef:
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(text): return text[::-1]", "def g(s): return ''.join(reversed(s))"),
        ("def f(items): return sorted(items)[-1]", "def f(xs):\n    return max(xs)"),
        ("def f(n): return n * 2", "def f(n): return n + n + 0.0"),
        ("def f(a, b): return a * b", "def f(x, y): return y * x"),
        ("def f(items): return {x for x in items}", "def f(items): return set(items)"),
        ("def f(items):\n    yield from items", "def f(items): return list(items)"),
    ],
)
def test_functions_that_return_the_same_are_the_same(one: str, other: str) -> None:
    assert same(behaviour(one, ""), behaviour(other, ""))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(text): return text.upper()", "def f(text): return text.title()"),
        ("def f(items): return items[0]", "def f(items): return items[-1]"),
        ("def f(n): return n > 2", "def f(n): return n >= 2"),
        ("def f(n): return None", "def g(n): return None"),
        ("def f(n): return n.missing", "def g(n): return n.absent"),
        ("x = 1", "x = 2"),
        ("def f(:", "def f(:"),
    ],
)
def test_functions_that_differ_or_tell_nothing_are_not_the_same(one: str, other: str) -> None:
    assert not same(behaviour(one, ""), behaviour(other, ""))


@pytest.mark.parametrize(
    "hostile",
    [
        "def f(n):\n    while True: pass",
        "while True: pass",
        "import os\ndef f(n): os._exit(0)",
        "print('x' * 10**8)\ndef f(n): return 1",
        "def f(n): return 'x' * 10**9",
        "def f(n): return f(n)",
        "import sys\nsys.stdout = None\ndef f(n): return n",
        "def f(n):\n    try:\n        while True: pass\n    except BaseException:\n        while True: pass",
    ],
)
def test_a_program_that_misbehaves_ends_in_time(hostile: str) -> None:
    begun = time.monotonic()
    behaviour(hostile, "")

    assert time.monotonic() - begun < RUN_SECONDS + 3


def test_inputs_are_those_of_the_question_and_of_the_parameters_kind() -> None:
    assert list(VALUES["list"]) == inputs(function("def f(items): pass"), "")
    assert list(VALUES["text"]) == inputs(function("def f(x: str): pass"), "")
    assert ["'abc'", *VALUES["text"]] == inputs(function("def f(x): pass"), "For example f('abc') returns 'c'.")
    assert ["4, 5"] == inputs(function("def f(a, b): pass"), "assert f(4, 5) == 9")[:1]
    assert len(inputs(function("def f(a, b, c): pass"), "")) <= MOST_INPUTS
    assert [] == inputs(function("def f(a, b, c, d): pass"), "and g(import os)")


def test_a_question_cannot_run_anything() -> None:
    found = inputs(function("def f(n): pass"), "f(__import__('os').abort()) and f(open('x')) and f(n) and f(1 + 1)")

    assert ["'os'", "'x'"] == found[:2]
    assert set(found[2:]) <= {value for values in VALUES.values() for value in values}


async def test_the_event_loop_goes_on_while_programs_run() -> None:
    texts = [f"```python\ndef f(n):\n    while {place}: pass\n```" for place in (1, 2, 3)]
    finals = [final_answer(text) for text in texts]
    question: tuple[Message, ...] = ({"role": "user", "content": "Write a function."},)
    running, ticks = asyncio.create_task(by_behaviour(texts, finals, question)), 0
    while not running.done():
        await asyncio.sleep(0.02)
        ticks += 1

    assert finals == await running
    assert ticks > 10


async def test_a_vote_waits_for_its_programs_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SECONDS", 0.1)
    texts = [f"```python\nwhile {place}: pass\ndef f(n): return n\n```" for place in range(1, 7)]
    finals, begun = [final_answer(text) for text in texts], time.monotonic()

    assert finals == await by_behaviour(texts, finals, ())
    assert time.monotonic() - begun < RUN_SECONDS
