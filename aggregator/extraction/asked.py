"""What kind of answer does a question want? Read off the last message, so that a text is searched for that kind only.

choice    a letter: the question lists options
literal   a Python value, case and quotes counting: the question asks what code returns
number    a number: the question asks how many or how much; its unit is that of the question, where it names one
any       nothing is known: whatever looks like a final answer
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from aggregator.extraction.spelling import known_unit, normalise
from experts.types import Message

Kind: TypeAlias = Literal["any", "choice", "literal", "number"]
Form: TypeAlias = Literal["", "said", "field"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LONGEST_QUESTION = 20_000
"""Characters of a question that are looked at, from its end."""

_OPTION = re.compile(r"(?m)^[ \t]*\(?([A-Z])[).:][ \t]+(\S[^\n]*)$")
_LITERAL = re.compile(r"==\s?\?\?|\bas a Python literal\b|\bwith a literal\b")
_COUNT = re.compile(r"(?i)\bhow (?:many|much)((?: [a-z]+){1,3})|\bin ([a-z]+)\?")
_FIELD = re.compile(r"`answer` field|\"answer\"\s?:")
_SAID = re.compile(r"(?i)[\"'`]the answer is \(?[XA-J]?")
_NUMBER = re.compile(r"(?i)\bhow (?:many|much)\b")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a question wants.

    Args:
        kind: of answer.
        options: normalised texts of the options by letter, for a choice.
        unit: that a number is asked in; empty where none is known.
        form: how the question says the answer is to be given: in the words "the answer is", in a JSON field "answer";
            empty where it leaves that open.
    """

    kind: Kind = "any"
    options: tuple[str, ...] = ()
    unit: str = ""
    form: Form = ""

    @property
    def letters(self) -> str:
        """The letters an answer may name: A to J at least, because one that is not offered is an answer too."""
        return LETTERS[: max(len(self.options), 10)]


ANYTHING = Wanted()


def wanted(messages: Sequence[Message]) -> Wanted:
    """Return what the last message asks for; how it is to be given may also stand in the system message."""
    if not messages:
        return ANYTHING
    found, first = wanted_by(_text(messages[-1])), messages[0]
    if found.form or first.get("role") not in ("system", "developer"):
        return found
    return replace(found, form=_form(_text(first)))


def wanted_by(question: str) -> Wanted:
    """Return what a question asks for. Options count where they run from A without a gap; the last such list does."""
    question = question[-LONGEST_QUESTION:]
    form = _form(question)
    if options := _options(question):
        return Wanted("choice", options, form=form)
    if _LITERAL.search(question):
        return Wanted("literal", form=form)
    if _NUMBER.search(question):
        return Wanted("number", unit=unit_of(question), form=form)
    return Wanted(form=form)


def _form(instructions: str) -> Form:
    if _FIELD.search(instructions):
        return "field"
    return "said" if _SAID.search(instructions) else ""


def unit_of(question: str) -> str:
    """Return the unit a question asks for by name ("how many hours", "in metres?"), or an empty string."""
    named = [name for match in _COUNT.finditer(question) for name in (match[1] or match[2]).casefold().split()]
    return next((name for name in reversed(named) if known_unit(name)), "")


def _options(question: str) -> tuple[str, ...]:
    found: list[str] = []
    for letter, text in _OPTION.findall(question):
        if letter == "A":
            found = []
        if letter == LETTERS[len(found) % len(LETTERS)]:
            found.append(normalise(text) or "")
    return tuple(found) if len(found) > 1 else ()


def said_last(messages: Sequence[Message]) -> str:
    """Return the text of the last message."""
    return _text(messages[-1]) if messages else ""


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))
