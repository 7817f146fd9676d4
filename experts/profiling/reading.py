"""Where questions come from: the pocket exam, or a file (JSON lines, CSV, parquet). And which of them are asked."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from experts.pocket import DOMAINS, PocketQuestion, generate
from experts.profiling.question import Question, QuestionError, question_of

POCKET = "builtin:pocket"
POCKET_SEED = 31_415
"""Draws the built-in questions: held out from training, and not those of an exam or a test."""
POCKET_PER_DOMAIN = 50
POCKET_MOST = 500
"""Most built-in questions a domain: drawing more distinct ones takes long."""
MOST_QUESTIONS = 100_000


def read_questions(path: Path, ending: str | None = None) -> list[Question]:
    """Return the questions of a file; its ending says what it is, unless `ending` does.

    Raises:
        QuestionError: it cannot be read, or a row is no question; the message names the row.
    """
    rows = ROWS.get(ending or path.suffix.lower())
    if rows is None:
        raise QuestionError(f"{path.name}: questions are read from {', '.join(ROWS)} files.")
    found = []
    try:
        for number, row in enumerate(rows(path), 1):
            found.append(_question(path, number, row))
            if len(found) > MOST_QUESTIONS:
                raise QuestionError(f"{path.name}: more than {MOST_QUESTIONS} questions; profile on a sample.")
    except (OSError, UnicodeDecodeError) as error:
        raise QuestionError(f"{path.name} cannot be read: {error}.") from error
    if not found:
        raise QuestionError(f"{path.name} has no questions.")
    return found


def pocket_questions(per_domain: int = POCKET_PER_DOMAIN) -> list[Question]:
    """Return held-out questions of the pocket domains, the same every time; the exam's task is the skill.

    Raises:
        QuestionError: there are not so many.
    """
    if per_domain > POCKET_MOST:
        raise QuestionError(f"There are at most {POCKET_MOST} built-in questions a domain, not {per_domain}.")
    try:
        drawn = [generate(domain, "heldout", per_domain, POCKET_SEED) for domain in DOMAINS]
    except ValueError as error:
        raise QuestionError(f"The built-in questions are fewer: {error}.") from error
    return [_of_pocket(question) for paper in drawn for question in paper]


def chosen(questions: Sequence[Question], per_domain: int | None, limit: int | None) -> list[Question]:
    """Return at most so many questions of each domain and in all, evenly over domains, none twice.

    Which ones is decided by what they say, so that a longer file or a higher limit keeps those asked before.
    """
    groups: dict[str, dict[str, Question]] = {}
    for question in questions:
        groups.setdefault(question.domain, {})[question.key] = question
    picked = {name: sorted(found.values(), key=_lot)[:per_domain] for name, found in sorted(groups.items())}
    longest = max(map(len, picked.values()), default=0)
    turns = [found[place] for place in range(longest) for found in picked.values() if place < len(found)]
    return turns[:limit]


def _lot(question: Question) -> float:
    return Random(question.key).random()


def _question(path: Path, number: int, row: Mapping[str, Any]) -> Question:
    try:
        return question_of(row)
    except QuestionError as error:
        raise QuestionError(f"{path.name}, question {number}: {error}.") from error


def _of_pocket(question: PocketQuestion) -> Question:
    return Question(
        messages=({"role": "user", "content": question.prompt},),
        kind="code" if question.tests else "exact",
        domain=question.domain,
        answers=() if question.tests else (question.answer,),
        tests=question.tests,
        skills=(question.task,),
    )


def _json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _row(path, number, line)


def _row(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise QuestionError(f"{path.name}, line {number}: is not JSON ({error}).") from error
    if not isinstance(row, dict):
        raise QuestionError(f"{path.name}, line {number}: is not a JSON object.")
    return row


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from csv.DictReader(file, strict=True)
        except csv.Error as error:
            raise QuestionError(f"{path.name} is not CSV: {error}.") from error


def _parquet(path: Path) -> Iterable[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        raise QuestionError(
            f"{path.name}: reading parquet needs `pip install consilium[train]`; or use .jsonl."
        ) from error
    try:
        rows: list[Mapping[str, Any]] = parquet.read_table(path).to_pylist()
    except ArrowInvalid as error:
        raise QuestionError(f"{path.name} is not parquet: {error}.") from error
    return rows


ROWS: Mapping[str, Callable[[Path], Iterable[Mapping[str, Any]]]] = {
    ".jsonl": _json_lines,
    ".csv": _csv,
    ".parquet": _parquet,
}
"""One way to read a kind of file."""
