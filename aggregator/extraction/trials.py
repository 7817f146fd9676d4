"""What to call a function with, to see what it does: the calls that stand in the question, and values of a kind.

A parameter's kind is that of the values it is given in the question, else what its annotation or its name says; of
unknown kind it gets values of every kind.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from itertools import product

MOST_INPUTS = 96
MOST_PARAMETERS = 3
VALUES: Mapping[str, tuple[str, ...]] = {
    "number": ("0", "1", "2", "7", "-3", "100", "2.5"),
    "text": ("''", "'a'", "'hello world'", "'Racecar'", "'a b a'"),
    "list": ("[]", "[1]", "[3, 1, 2, 3, -5]", "[8, 6, 7, 5]", "[10, 20, 30, 40, 50, 60]"),
}
_TYPES: Mapping[type, str] = {bool: "number", int: "number", float: "number", str: "text", list: "list", tuple: "list"}
_ANNOTATED = re.compile(
    r"(?i)(?P<number>\b(?:int|float|complex|number)\b)|(?P<text>\bstr\b)|(?P<list>list|sequence|iter)"
)
_NAMED = re.compile(
    r"(?i)(?P<text>s|str(?:ing)?\d?|.*text\d?|word|sentence|name|phrase|line)|"
    r"(?P<list>items|.*num(?:ber)?s|lst|l|list\d?|.*list|arr(?:ay)?|xs|ys|values|data|seq(?:uence)?|elements)|"
    r"(?P<number>n|m|k|i|j|num|number|integer|count|limit)"
)
_CALL = re.compile(r"\b[A-Za-z_]\w{0,60}\(([^()\n]{0,200})\)")


def inputs(function: ast.FunctionDef, question: str) -> list[str]:
    """Return arguments to call a function with, as they are written."""
    parameters = [*function.args.posonlyargs, *function.args.args]
    needed = parameters[: len(parameters) - len(function.args.defaults)]
    given = [call for call in calls(question) if len(call) >= len(needed)]
    written = [", ".join(ast.unparse(value) for value in call) for call in given]
    if len(needed) > MOST_PARAMETERS:
        return written[:MOST_INPUTS]
    pools = [_pool(parameter, [call[place] for call in given]) for place, parameter in enumerate(needed)]
    usual = [", ".join(values) for values in product(*pools)]
    step = max(1, -(-len(usual) // MOST_INPUTS))
    return list(dict.fromkeys([*written, *usual[::step]]))[:MOST_INPUTS]


def calls(question: str) -> list[list[ast.expr]]:
    """Return the arguments of each call with literals that stands in a text."""
    found = (_literals(arguments) for arguments in _CALL.findall(question))
    return [arguments for arguments in found if arguments]


def _literals(arguments: str) -> list[ast.expr]:
    try:
        call = ast.parse(f"f({arguments})", mode="eval").body
        values = call.args if isinstance(call, ast.Call) and not call.keywords else []
        for value in values:
            ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return []
    return values


def _pool(parameter: ast.arg, given: Sequence[ast.expr]) -> tuple[str, ...]:
    """Return the values to try for one parameter."""
    kinds = {_TYPES.get(type(ast.literal_eval(value)), "") for value in given}
    annotated = _ANNOTATED.search(ast.unparse(parameter.annotation)) if parameter.annotation else None
    told = annotated or _NAMED.fullmatch(parameter.arg)
    kind = kinds.pop() if len(kinds) == 1 else (told.lastgroup if told else "")
    return VALUES.get(kind or "") or tuple(value for values in VALUES.values() for value in values)
