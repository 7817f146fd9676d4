"""Measure an expert: questions with right answers, marks, and the skills that follow. Asking is the gateway's part."""

from __future__ import annotations

from experts.profiling.figures import Findings, Outcome, Share, findings, wilson
from experts.profiling.marking import Reading, right, spoken
from experts.profiling.measured import measured_body
from experts.profiling.question import KINDS, Question, QuestionError, question_of
from experts.profiling.reading import POCKET, chosen, pocket_questions, read_questions

__all__ = [
    "KINDS",
    "POCKET",
    "Findings",
    "Outcome",
    "Question",
    "QuestionError",
    "Reading",
    "Share",
    "chosen",
    "findings",
    "measured_body",
    "pocket_questions",
    "question_of",
    "read_questions",
    "right",
    "spoken",
    "wilson",
]
