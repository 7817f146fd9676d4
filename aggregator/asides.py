"""Texts that only we read, or read first: asked together, counted, and never fatal.

Comparisons, revisions, reports and background are such texts. What failed or came late is a `Failure` in its place,
so a strategy goes on with what is there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from aggregator.errors import FusionError
from aggregator.extraction import alike, final_answer, wanted
from aggregator.gathering import gather, read_stage, wait_for_all
from aggregator.types import Answer, Candidate, Failure, FusionReport, FusionTask
from aggregator.verification import wants_final_answer
from experts.errors import ExpertError
from experts.fusion_prompt import Shown
from experts.types import Message

LONGEST_BARE_ANSWER = 200
"""Words; two longer texts that end on the same number have not therefore said the same, unless one was asked for."""


async def read_together(
    calls: Sequence[Candidate], task: FusionTask, report: FusionReport, deadline: float | None = None
) -> list[Answer | Failure]:
    """Return what became of each call, in their order; attempts and usage are added to the report.

    Args:
        deadline: monotonic seconds; None grants them as long as candidates get.
    """
    until = time.monotonic() + task.limits.deadline_seconds if deadline is None else deadline
    outcomes = await read_stage(calls, task.limits, wait_for_all, until)
    report.attempts += sum(call.stream.facts.attempts for call in calls)
    for outcome in outcomes:
        if isinstance(outcome, Answer):
            report.used(outcome.expert, outcome.answer.usage)
    return outcomes


async def gather_texts(
    calls: Sequence[Candidate], task: FusionTask, report: FusionReport
) -> tuple[list[Answer], ExpertError | FusionError | None]:
    """Gather texts that answer something else than the client's question, and the error where the quorum was missed.

    They count in the report and are none of its answers: nobody is judged by them, or learns from them.
    """
    aside, missed = FusionReport(report.strategy), None
    try:
        await gather(calls, task.limits, aside)
    except (ExpertError, FusionError) as error:
        missed = error
    report.attempts += aside.attempts
    report.failures.extend(aside.failures)
    for answer in aside.answers:
        report.used(answer.expert, answer.answer.usage)
    return aside.answers, missed


def remark(report: FusionReport, what: str) -> None:
    """Add to the report's note."""
    report.note = "; ".join(filter(None, [report.note, what]))


def shown(answer: Answer) -> Shown:
    """Return an answer as prompts show it."""
    return answer.expert, answer.domains, answer.weight, answer.text


class Group(NamedTuple):
    """Answers that come to the same final answer, heaviest first; an answer without any is a group of its own."""

    final: str | None
    answers: list[Answer]

    @property
    def weight(self) -> float:
        """The weights of all of them together."""
        return round(sum(answer.weight for answer in self.answers), 9)


def by_final_answer(answers: Sequence[Answer], messages: Sequence[Message]) -> list[Group]:
    """Group answers by their final answer, in the order in which these first appear.

    A long text on an open question is a group of its own: nothing in it can be compared.
    """
    sought = wanted(messages)
    closed = sought.kind != "any" or wants_final_answer(messages)
    finals = [
        final_answer(answer.text, sought) if closed or len(answer.text.split()) <= LONGEST_BARE_ANSWER else None
        for answer in answers
    ]
    same = alike(final for final in finals if final is not None)
    found: dict[object, Group] = {}
    for answer, final in zip(answers, finals, strict=True):
        spelled = None if final is None else same[final]
        found.setdefault(id(answer) if final is None else spelled, Group(spelled, [])).answers.append(answer)
    for group in found.values():
        group.answers.sort(key=lambda answer: -answer.weight)
    return list(found.values())
