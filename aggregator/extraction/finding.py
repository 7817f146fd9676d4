r"""Where in a text does the final answer stand? Thoughts, up to `</think>`, are not part of an answer.

Of any kind, the first of these that is there: the last JSON field "answer"; \boxed{...}; a line "Answer: ..." or "the
answer is ..."; a fenced code block (compared by its syntax tree, so layout and comments do not matter); a text that is
JSON as a whole; a number the text ends on after "is", "equals" or "="; a text that is short as a whole; the last number
of a longer one. Longer texts without any of these have no comparable answer.

Where it is known what the question wants, only that is looked for, and where the question says how the answer is to be
given ("the answer is (X)", a field "answer"), only what is given so, or is nothing but the answer. A choice is a letter
stated as the answer (the first "the answer is (X)": what follows it is mostly a model that goes on with questions of
its own), or the text of an option; a number comes without what was counted; a literal is as Python writes it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping

from aggregator.extraction.asked import ANYTHING, Kind, Wanted
from aggregator.extraction.spelling import in_unit, literal, normalise, undressed

SHORT_WORDS = 8
LONGEST_ANSWER = 2000
"""Characters of a stated answer that are read, and how near its end a text must conclude."""
LONGEST_CODE = 20_000

_STATED = re.compile(r"(?i)\banswer\s{0,9}(?:is|:|=)[\s*]{0,9}(?P<answer>[^\n]{1,2000})")
_SAID = re.compile(r"(?i:\banswer\s{0,3}is)[\s:*$]{0,6}(?:\\(?:text|boxed)\{)?\(?(?P<letter>[A-Z])(?!\w)")
_LINE = re.compile(r"(?i:\banswer)[\s*]{0,3}[:=][\s*$]{0,6}(?:\\(?:text|boxed)\{)?\(?(?P<letter>[A-Z])(?!\w)")
_LETTER = re.compile(r"\(?(?P<letter>[A-Za-z])\)?(?:[.:)]\s.*)?", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])(?<!\d,)[-+]?\d[\d,]*+(?:\.\d++)?(?:[eE][-+]?\d++)?(?!\w)")
_CONCLUDED = re.compile(r"(?:\bis|\bequals|=)\s{0,9}(?P<answer>[-+]?\d[\d,]*+(?:\.\d++)?)\s{0,9}\.?$")
_CLOCK = re.compile(r"\d:\d")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_FENCE = "```"
_PYTHON = frozenset({"", "python", "py", "python3"})


def final_answer(text: str, wanted: Wanted = ANYTHING) -> str | None:
    r"""Return the normalised final answer, or None when the text holds nothing comparable.

    >>> final_answer("2 + 2 = 4\nAnswer: 4.0") == final_answer(r"so \boxed{4}")
    True
    """
    return FINDERS[wanted.kind](text.rpartition("</think>")[2].strip(), wanted)


def _any(text: str, _wanted: Wanted) -> str | None:
    for explicit in (*_explicit(text), _stated(text)):
        if explicit is not None:
            return normalise(explicit)
    if (source := code_block(text)) is not None:
        return syntax(source)
    if (structure := _structure(text)) is not None:
        return structure
    if concluded := _CONCLUDED.search(text[-LONGEST_ANSWER:]):
        return normalise(concluded["answer"])
    return normalise(text) if _short(text) else _last_number(text)


def _choice(text: str, wanted: Wanted) -> str | None:
    said = next((match["letter"] for match in _SAID.finditer(text) if match["letter"] in wanted.letters), None)
    alone = text if _short(text) else None
    loosely = (*_explicit(text), said, _last(_LINE, text), _stated(text), alone)
    for stated in {"": loosely, "said": (said, alone), "field": (*_explicit(text), alone)}[wanted.form]:
        if stated is not None and (letter := _chosen(stated, wanted)) is not None:
            return letter
    return None


def _chosen(stated: str, wanted: Wanted) -> str | None:
    """Return the letter that a short statement names, by itself or by the text of its option."""
    bare = undressed(stated)
    if (named := _LETTER.fullmatch(bare)) and named["letter"].upper() in wanted.letters:
        return named["letter"].upper()
    words = normalise(stated)
    return wanted.letters[wanted.options.index(words)] if words and wanted.options.count(words) == 1 else None


def _number(text: str, wanted: Wanted) -> str | None:
    strictly = wanted.form == "field"
    for explicit in (*_explicit(text), None if strictly else _stated(text)):
        if explicit is not None:
            return _counted(explicit, wanted)
    if _short(text):
        return _counted(text, wanted) or (None if strictly else normalise(text))
    if strictly:
        return None
    if (source := code_block(text)) is not None:
        return syntax(source)
    concluded = _CONCLUDED.search(text[-LONGEST_ANSWER:])
    return _counted(concluded["answer"], wanted) if concluded else _last_number(text)


def _counted(stated: str, wanted: Wanted) -> str | None:
    """Return the number that a statement is, or begins with."""
    bare = undressed(stated)
    if not _CLOCK.search(bare) and (number := in_unit(bare, wanted.unit)) is not None:
        return number
    first = _NUMBER.search(bare)
    return in_unit(first[0].rstrip(","), "") if first else None


def _literal(text: str, wanted: Wanted) -> str | None:
    if (value := _field(text)) is not None:
        return literal(value)
    stated = (None if wanted.form == "field" else _stated(text)) or (text if _short(text) else None)
    return None if stated is None else literal(stated.strip("` "))


FINDERS: Mapping[Kind, Callable[[str, Wanted], str | None]] = {
    "any": _any,
    "choice": _choice,
    "literal": _literal,
    "number": _number,
}
"""One function a kind."""


def code_block(text: str) -> str | None:
    """Return the last fenced block of Python (or of no named language), or None when there is none."""
    return next(iter(reversed(list(_blocks(text)))), None)


def _blocks(text: str) -> Iterator[str]:
    language, begun = None, 0
    for start, line in _lines(text):
        if not line.lstrip().startswith(_FENCE):
            continue
        if language is None:
            language, begun = line.strip().removeprefix(_FENCE).strip().casefold(), start + len(line)
        else:
            if language in _PYTHON:
                yield text[begun:start]
            language = None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    at = 0
    for line in text.splitlines(keepends=True):
        yield at, line
        at += len(line)


def syntax(source: str) -> str | None:
    """Return code as its syntax tree in words; what does not parse, without its layout."""
    if len(source) <= LONGEST_CODE:
        try:
            return ast.dump(ast.parse(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass
    return " ".join(source.split()) or None


def _structure(text: str) -> str | None:
    """Return a text that is JSON as a whole, the order of its keys and its layout aside."""
    if text[:1] not in ("{", "[") or len(text) > LONGEST_CODE:
        return None
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return None


def _field(text: str) -> str | None:
    """Return the value of the last JSON field "answer"; what is no string, as it is written."""
    at = text.rfind('"answer"')
    rest = text[at + len('"answer"') :].lstrip() if at >= 0 else ""
    if not rest.startswith(":"):
        return None
    rest = rest[1:].lstrip()
    if string := _STRING.match(rest):
        try:
            return str(json.loads(string[0], strict=False)).encode("utf-8", "replace").decode()  # half a surrogate
        except ValueError:
            return string[0][1:-1]
    line = rest[:LONGEST_ANSWER].partition("\n")[0].rstrip().rstrip(",}").strip()
    return line or None


def _explicit(text: str) -> tuple[str | None, str | None]:
    """Return the values of the last JSON field "answer" and of the last box."""
    return _field(text), _boxed(text)


def _stated(text: str) -> str | None:
    return _last(_STATED, text)


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007
        pass
    return str(found[1]) if found else None


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


def _short(text: str) -> bool:
    return bool(text) and len(text) <= LONGEST_ANSWER and len(text.split()) <= SHORT_WORDS


def _last_number(text: str) -> str | None:
    return normalise(number) if (number := _last(re.compile(f"({_NUMBER.pattern})"), text)) else None
