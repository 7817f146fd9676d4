"""One expert in front of what it is sent: its own questions first, then panels of others' answers. Ask, mark, keep.

A call that failed is no wrong answer. An expert of whose calls more than a tenth failed is asked no more: what it did
answer would be a choice of the easy ones.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from experts.dispatcher import Dispatcher
from experts.errors import ExpertError
from experts.fusion_prompt import named_expert
from experts.profiling import Question, right
from experts.registry import Expert
from experts.types import ExpertCall, ExpertName
from gateway.job import Run
from gateway.profiling_journal import Journal, Marked, call_key
from gateway.profiling_sitting import MOST_FAILED, READING, asked_patiently


@dataclass(frozen=True, slots=True)
class Sheet:
    """What an expert is sent, and the question that its answer is marked against.

    `adoptable` are others' answers, by expert, that stand for its own where it only names the expert.
    """

    question: Question
    call: ExpertCall
    adoptable: Mapping[ExpertName, str] = field(default_factory=dict)

    def meant(self, text: str) -> str:
        """Return the answer that a text gives."""
        place = named_expert(text, [*self.adoptable])
        return text if place is None else [*self.adoptable.values()][place]


@dataclass(slots=True)
class Answers:
    """What became of an expert's sheets: `marks` by their place, missing where the call failed or was not made."""

    total: int
    marks: dict[int, Marked] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    last_error: str = ""
    reused: int = 0

    @property
    def usable(self) -> bool:
        """Whether few enough calls failed."""
        return self.total > 0 and self.failures.total() <= MOST_FAILED * self.total


class Sitting:
    """Puts sheets to experts, one expert after the other, several sheets at a time. Everything is borrowed.

    Args:
        dispatcher: asks.
        journal: keeps the answers.
        run: is told how far it is, counted in sheets.
        concurrency: how many sheets are under way.
    """

    def __init__(self, dispatcher: Dispatcher, journal: Journal, run: Run, concurrency: int) -> None:
        self._dispatcher, self._journal, self._run, self._concurrency = dispatcher, journal, run, concurrency
        self._before = 0

    async def put(self, expert: Expert, sheets: Sequence[Sheet], *, read_on: bool) -> Answers:
        """Return the marks of an expert's answers; with `read_on` also what they were."""
        answers, left = Answers(len(sheets)), iter(enumerate(sheets))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._concurrency, len(sheets))):
                group.create_task(self._put_all(expert, left, answers, read_on))
        self._before += len(sheets)
        self._run.progress(self._before)
        return answers

    async def _put_all(
        self, expert: Expert, left: Iterator[tuple[int, Sheet]], answers: Answers, read_on: bool
    ) -> None:
        for place, sheet in left:
            if answers.failures.total() > MOST_FAILED * answers.total:
                return
            key = call_key(expert.config, sheet.question, sheet.call)
            marked = self._journal.known.get(key)
            answers.reused += marked is not None
            if marked is None and (marked := await self._marked(sheet, answers, read_on)) is not None:
                self._journal.add(key, marked)
            if marked is not None:
                answers.marks[place] = marked
            self._run.progress(self._before + len(answers.marks) + answers.failures.total())

    async def _marked(self, sheet: Sheet, answers: Answers, read_on: bool) -> Marked | None:
        try:
            answer = await asked_patiently(self._dispatcher, sheet.call)
        except ExpertError as error:
            answers.failures[type(error).__name__] += 1
            answers.last_error = str(error)
            return None
        score = float(await asyncio.to_thread(right, sheet.question, sheet.meant(answer.text), READING))
        cut_off = answer.finish_reason == "length"
        return Marked(score, cut_off=cut_off, text=answer.text if read_on else None)
