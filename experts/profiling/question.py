"""A question with its right answer: what an expert is measured on, and what a row of a question file must say.

    kind       right when                                                  needs
    choice     the final answer is the option's letter, or its text        options, answer (letter, index or text)
    numeric    the number is within the tolerance, in any unit we know     answer
    exact      the final answer is one of the answers, case and dots aside answer, or a list of them
    code       the fenced Python passes the tests                          tests
    judged     another expert marks it, 0 to 1                             a judge; `answer`, `rubric` help it

A row that names no kind is taken for the first that fits: tests, options, a number, a short answer, else judged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from experts.errors import ServiceError
from experts.pocket import CodeTest
from experts.profiling.units import quantity
from experts.types import Domain, Message

Kind = Literal["choice", "numeric", "exact", "code", "judged"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SHORT_WORDS = 8
"""Answers up to this long can be compared word for word; longer ones need a judge."""
ASKS_FOR_LETTER = "End with a line that says 'Answer: ' and the letter of the right option."


class QuestionError(ServiceError):
    """A question cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Args:
        messages: what the expert is sent.
        kind: how it is marked.
        domain: under which its mark counts.
        answers: what is right, any of them; for a choice the letter.
        options: of a choice, in order.
        tests: of code; one without `expected` is a program of its own, run behind the answer.
        tolerance: of a number: absolute, or a share of the right number when `relative`; None: as precise as `answers`.
        rubric: what a judge should look for.
        skills: finer labels, counted beside the domain.
    """

    messages: tuple[Message, ...]
    kind: Kind
    domain: Domain
    answers: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    tests: tuple[CodeTest, ...] = ()
    tolerance: float | None = None
    relative: bool = False
    rubric: str = ""
    skills: tuple[str, ...] = ()
    key: str = field(init=False, default="")
    """Names the question and how it is marked: equal for equal questions, in every process."""

    def __post_init__(self) -> None:
        marked = [self.messages, self.kind, self.answers, self.options, self.tolerance, self.relative, self.rubric]
        told = json.dumps([*marked, [[t.expression, t.expected] for t in self.tests]], sort_keys=True, default=str)
        object.__setattr__(self, "key", hashlib.sha256(told.encode()).hexdigest()[:24])


def question_of(row: Mapping[str, Any]) -> Question:
    """Return the question that a row of a file describes; columns we do not know are left alone.

    Raises:
        QuestionError: something it needs is missing or makes no sense.
    """
    options, tests = _texts(row.get("options") or row.get("choices")), _tests(row.get("tests"))
    answers = _texts(row.get("answer") if row.get("answer") is not None else row.get("answer_index"))
    tolerance, relative = _tolerance(row.get("tolerance"))
    if row.get("unit") and len(answers) == 1:
        answers = (f"{answers[0]} {row['unit']}",)
    kind = _kind(row.get("kind"), options, tests, answers)
    if kind == "choice":
        answers = (_letter(row, options),)
    question = Question(
        messages=_messages(row, options),
        kind=kind,
        domain=_domain(row),
        answers=answers,
        options=options,
        tests=tests,
        tolerance=tolerance,
        relative=relative,
        rubric=str(row.get("rubric") or ""),
        skills=_skills(row.get("skills")),
    )
    _check(question)
    return question


def _check(question: Question) -> None:
    if question.kind == "code" and not question.tests:
        raise QuestionError("code needs tests")
    if question.kind in ("exact", "numeric") and not question.answers:
        raise QuestionError("there is no answer")
    if question.kind == "numeric" and any(quantity(answer) is None for answer in question.answers):
        raise QuestionError(f"'{question.answers[0]}' is not a number")


def _kind(named: Any, options: Sequence[str], tests: Sequence[CodeTest], answers: Sequence[str]) -> Kind:
    if named:
        if named not in KINDS:
            raise QuestionError(f"there is no kind '{named}', only {', '.join(KINDS)}")
        kind: Kind = named
        return kind
    if tests:
        return "code"
    if options:
        return "choice"
    if answers and all(quantity(answer) is not None for answer in answers):
        return "numeric"
    short = answers and all(len(answer.split()) <= SHORT_WORDS for answer in answers)
    return "exact" if short else "judged"


def _messages(row: Mapping[str, Any], options: Sequence[str]) -> tuple[Message, ...]:
    given = _parsed(row.get("messages"))
    if given:
        if not isinstance(given, list) or not all(isinstance(each, dict) and "role" in each for each in given):
            raise QuestionError("messages must be a list of chat messages with a role")
        return tuple(given)
    text = str(row.get("question") or row.get("prompt") or "").strip()
    if not text:
        raise QuestionError("there is no question (or messages)")
    if options:
        listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
        text = f"{text}\n\n{listed}\n\n{ASKS_FOR_LETTER}"
    return ({"role": "user", "content": text},)


def _letter(row: Mapping[str, Any], options: Sequence[str]) -> str:
    """Return the right option's letter, from a letter, its text, or its index (from 0)."""
    if not 2 <= len(options) <= len(LETTERS):
        raise QuestionError(f"a choice needs 2 to {len(LETTERS)} options, not {len(options)}")
    given = row.get("answer") if row.get("answer") is not None else row.get("answer_index")
    text = str(given).strip() if given is not None else ""
    if not isinstance(given, int) and text in options:
        return LETTERS[options.index(text)]
    place = LETTERS.find(text.upper()) if len(text) == 1 and text.isalpha() else int(text) if text.isdigit() else -1
    if not 0 <= place < len(options):
        raise QuestionError(f"the answer '{text}' is none of the {len(options)} options")
    return LETTERS[place]


def _domain(row: Mapping[str, Any]) -> Domain:
    named = str(row.get("domain") or row.get("category") or "").strip()
    if not named:
        raise QuestionError("there is no domain (or category)")
    return named


def _tests(given: Any) -> tuple[CodeTest, ...]:
    listed = _parsed(given)
    if not listed:
        return ()
    found = []
    for each in listed if isinstance(listed, list) else [listed]:
        if isinstance(each, dict):
            found.append(CodeTest(str(each.get("expression", "")), str(each.get("expected", ""))))
        else:
            found.append(CodeTest(str(each), ""))
    return tuple(found)


def _tolerance(given: Any) -> tuple[float | None, bool]:
    if given is None or given == "":
        return None, False
    text = str(given).strip()
    try:
        value, relative = (float(text[:-1]) / 100, True) if text.endswith("%") else (float(text), False)
    except ValueError as error:
        raise QuestionError(f"the tolerance '{text}' is neither a number nor a percentage") from error
    if not 0 <= value < float("inf"):
        raise QuestionError(f"the tolerance '{text}' makes no sense")
    return value, relative


def _texts(given: Any) -> tuple[str, ...]:
    """Return a list of texts, from a list, its JSON, or one text."""
    listed = _parsed(given)
    if listed is None:
        return ()
    return tuple(str(each).strip() for each in (listed if isinstance(listed, list) else [listed]) if str(each).strip())


def _skills(given: Any) -> tuple[str, ...]:
    listed = _parsed(given)
    if isinstance(listed, str):
        listed = listed.replace(";", ",").split(",")
    return tuple(dict.fromkeys(str(each).strip() for each in listed or () if str(each).strip()))


def _parsed(given: Any) -> Any:
    """Return what a cell holds: tables without lists write them as JSON, others as arrays."""
    if hasattr(given, "tolist"):
        given = given.tolist()
    if isinstance(given, str) and given.strip()[:1] in ("[", "{"):
        try:
            return json.loads(given)
        except ValueError:
            return given
    return list(given) if isinstance(given, tuple) else given
