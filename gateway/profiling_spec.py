"""What a profiling is asked to do, and the paper that follows: which questions are put, and which are left out."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from experts.profiling import POCKET, Question, QuestionError, chosen, pocket_questions, read_questions
from experts.profiling.reading import POCKET_PER_DOMAIN

FILE_ID = re.compile(r"file-[0-9a-f]+")
FindFile = Callable[[str], Path]
"""Where an uploaded file lies."""


class ProfileSpec(BaseModel):
    """The body of a profiling request, and the `spec` of its job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    questions: str = Field(default=POCKET, description="builtin:pocket, a file on the gateway's machine, or a file id.")
    per_domain: int | None = Field(default=None, ge=1, description="Most questions a domain.")
    limit: int | None = Field(default=None, ge=1, description="Most questions in all, evenly over domains.")
    concurrency: int = Field(default=8, ge=1, le=256, description="Questions under way at a time.")
    judge: str | None = Field(default=None, description="The expert that marks questions of the kind `judged`.")
    thinking: bool | None = Field(default=None, description="Ask with thinking on or off; None: as the expert is set.")
    max_tokens: int | None = Field(default=None, ge=1, description="Longest answer.")
    run_code: bool = Field(default=False, description="Run the code that the expert writes, on the gateway's machine.")


@dataclass(frozen=True, slots=True)
class Paper:
    """The questions that are put, and how many were left out for which reason."""

    questions: tuple[Question, ...]
    skipped: Mapping[str, int]


async def paper_of(spec: ProfileSpec, find_file: FindFile | None = None) -> Paper:
    """Read, choose and sort out the questions.

    Raises:
        QuestionError: they cannot be read, or none is left.
    """
    found = await asyncio.to_thread(_read, spec, find_file)
    picked = chosen(found, spec.per_domain, spec.limit)
    reasons = {question.key: reason for question in picked if (reason := _left_out(question, spec))}
    paper = Paper(
        tuple(question for question in picked if question.key not in reasons), dict(Counter(reasons.values()))
    )
    if not paper.questions:
        raise QuestionError(f"No question of {spec.questions} can be put: {', '.join(paper.skipped)}.")
    return paper


def _read(spec: ProfileSpec, find_file: FindFile | None) -> list[Question]:
    if spec.questions == POCKET:
        return pocket_questions(spec.per_domain or POCKET_PER_DOMAIN)
    if FILE_ID.fullmatch(spec.questions) and find_file is not None:
        return read_questions(find_file(spec.questions), ".jsonl")
    return read_questions(Path(spec.questions).expanduser())


def _left_out(question: Question, spec: ProfileSpec) -> str | None:
    if question.kind == "code" and not spec.run_code:
        return "code is not run unless run_code is set"
    if question.kind == "judged" and spec.judge is None:
        return "nobody was named to judge"
    return None
