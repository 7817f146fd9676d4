"""Code compared by what it returns: two functions are the same answer when no input that suits both tells them apart.

Inputs are the calls that stand in the question (`assert f(3) == 9`, `>>> f(3)`, `f(3) returns 9`), and values of the
kinds that suit the parameters (aggregator.extraction.trials). An input that makes a function raise TypeError or
AttributeError does not suit it; any other exception is a result. Functions that agree on fewer than LEAST_SHARED
inputs, or only ever return one thing, stay as different as they are written.

Everything runs in experts.sandbox, which bounds time, memory and output but is no isolation: `fusion.run_code` is off
unless somebody turns it on. The event loop is never blocked, at most AT_ONCE programs run in the process, and a vote
runs at most MOST_PROGRAMS of RUN_SECONDS each, and waits for them no longer than MOST_SECONDS.
"""

from __future__ import annotations

import ast
import asyncio
import json
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from aggregator.extraction.asked import said_last
from aggregator.extraction.finding import LONGEST_CODE, code_block, syntax
from aggregator.extraction.trials import inputs
from experts.sandbox import run_python
from experts.types import Message

RUN_SECONDS = 3.0
CALL_SECONDS = 0.05
"""Processor time that one call may take; a call that sleeps is ended with its program."""
AT_ONCE = 2
MOST_PROGRAMS = 8
MOST_SECONDS = 10.0
"""How long a vote waits for its programs, others' before them included; then code is the same that is written alike."""
LEAST_SHARED = 3
UNSUITED = "unsuited"

_POOL = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sandbox")


async def by_behaviour(
    texts: Sequence[str], finals: Sequence[str | None], messages: Sequence[Message]
) -> list[str | None]:
    """Return the final answers, those of code that behaves like earlier code replaced by the earlier one's."""
    loop, found = asyncio.get_running_loop(), list(finals)
    places = [place for place, text in enumerate(texts) if compared(text, finals[place])][:MOST_PROGRAMS]
    if len({finals[place] for place in places}) < 2:
        return found
    question = said_last(messages)
    runs = [loop.run_in_executor(_POOL, behaviour, code_block(texts[place]) or "", question) for place in places]
    try:
        async with asyncio.timeout(MOST_SECONDS):
            behaviours = await asyncio.gather(*runs)
    except TimeoutError:
        return found
    for index, place in enumerate(places):
        earlier = (other for other in range(index) if same(behaviours[index], behaviours[other]))
        if (first := next(earlier, None)) is not None:
            found[place] = found[places[first]]
    return found


def compared(text: str, final: str | None) -> bool:
    """Say whether an answer is code, and its final answer that code."""
    source = code_block(text)
    return source is not None and final is not None and final == syntax(source)


def differing_code(texts: Sequence[str]) -> bool:
    """Say whether some of the texts hold code that is not written alike."""
    return len({source for text in texts if (source := code_block(text)) is not None}) > 1


def behaviour(source: str, question: str) -> dict[str, str] | None:
    """Return what the last function of a program returns, by input; None where it does not run. Blocks until it ends.

    Inputs are arguments as they are written; results are spelled so that equal ones are equal.
    """
    function = _function(source)
    if function is None:
        return None
    mark = secrets.token_hex(8)
    program = _HARNESS.format(
        source=source, name=function.name, inputs=inputs(function, question), mark=mark, seconds=CALL_SECONDS,
        unsuited=UNSUITED,
    )  # fmt: skip
    printed = run_python(program, timeout_seconds=RUN_SECONDS).stdout.rpartition(mark)[2]
    try:
        results = json.loads(printed)
    except (ValueError, RecursionError):
        return None
    return {str(key): str(value) for key, value in results.items()} if isinstance(results, dict) else None


def same(one: dict[str, str] | None, other: dict[str, str] | None) -> bool:
    """Say whether two functions return the same on every input that suits both, of which there must be some."""
    if one is None or other is None:
        return False
    shared = [key for key in one if key in other and UNSUITED not in (one[key], other[key])]
    telling = len({one[key] for key in shared}) > 1
    return telling and len(shared) >= LEAST_SHARED and all(one[key] == other[key] for key in shared)


def _function(source: str) -> ast.FunctionDef | None:
    if len(source) > LONGEST_CODE:
        return None
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return next((node for node in reversed(tree.body) if isinstance(node, ast.FunctionDef)), None)


_HARNESS = """\
import io, itertools, json, signal, sys
_out, sys.stdout = sys.stdout, io.StringIO()

class _Late(BaseException):
    pass

def _stop(*_):
    raise _Late

def _plain(value, depth=0):
    if isinstance(value, float):
        whole = value == value and abs(value) < 1e15 and value == int(value)
        return str(int(value)) if whole else format(value, ".10g")
    if isinstance(value, bool) or depth > 8:
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_plain(each, depth + 1) for each in value) + "]"
    if isinstance(value, (set, frozenset)):
        return "{{" + ",".join(sorted(_plain(each, depth + 1) for each in value)) + "}}"
    if hasattr(value, "__next__"):
        return _plain(list(itertools.islice(value, 32)), depth + 1)
    return repr(value)

_space = {{"__name__": "answer"}}
exec(compile({source!r}, "answer.py", "exec"), _space)
_results = {{}}
signal.signal(signal.SIGVTALRM, _stop)
for _arguments in {inputs!r}:
    signal.setitimer(signal.ITIMER_VIRTUAL, {seconds})
    try:
        _result = _plain(eval("_f(" + _arguments + ")", {{"_f": _space[{name!r}]}}))[:300]
    except (TypeError, AttributeError):
        _result = {unsuited!r}
    except _Late:
        _result = "late"
    except Exception:
        _result = "raises"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    _results[_arguments] = _result
_out.write({mark!r} + json.dumps(_results))
"""
