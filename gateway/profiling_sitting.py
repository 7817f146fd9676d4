"""One expert in front of its questions: ask, mark, count; a call that failed is not a wrong answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from aggregator.extraction import final_answer, normalise
from experts.dispatcher import Dispatcher
from experts.errors import ExpertError
from experts.profile import Price
from experts.profiling import Outcome, Question, Reading, right, spoken
from experts.registry import Expert
from experts.types import BATCH_PRIORITY, ExpertAnswer, ExpertCall, Usage
from gateway.job import Run
from gateway.judging import PARAMETERS as JUDGE_PARAMETERS
from gateway.judging import judge_messages, read_mark
from gateway.profiling_journal import Journal, Marked, answer_key
from gateway.profiling_spec import Paper, ProfileSpec
from gateway.translate import for_expert
from router.policies.objective import Economy, price_of
from router.types import Thinking

READING = Reading(final_answer, normalise)
MOST_FAILED = 0.1
ATTEMPTS = 2
PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 3600.0
"""Longest a question may take, waiting for those who are waited for included."""
LONGEST_ANSWER_TOKENS = 2048
MODES: Mapping[bool | None, Thinking] = {True: "on", False: "off", None: "auto"}


class ProfilingFailed(ExpertError):
    """Too many calls failed; nothing was measured."""


@dataclass(slots=True)
class Tally:
    """What became of the questions so far."""

    outcomes: list[Outcome] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    cut_off: int = 0
    reused: int = 0
    last_error: str = ""

    @property
    def failed(self) -> int:
        return self.failures.total()


class Sitting:
    """Puts a paper to an expert. Everything is borrowed.

    Args:
        dispatcher: asks.
        expert: who is measured.
        judge: marks questions of the kind `judged`; not None where the paper has some.
        spec: how to ask.
        economy: what unpriced experts are taken to cost.
    """

    def __init__(
        self, dispatcher: Dispatcher, expert: Expert, judge: Expert | None, spec: ProfileSpec, economy: Economy
    ) -> None:
        self._dispatcher, self._expert, self._judge, self._spec = dispatcher, expert, judge, spec
        self._price = price_of(expert.profile, economy)
        self._parameters = for_expert(
            {"temperature": 0, "max_tokens": spec.max_tokens or longest_answer(expert)},
            expert.profile,
            MODES[spec.thinking],
        )
        self._tally = Tally()

    async def hold(self, paper: Paper, journal: Journal, run: Run) -> Tally:
        """Put every question, several at a time.

        Raises:
            ProfilingFailed: more than a tenth of the calls failed; the rest is not asked.
        """
        total = len(paper.questions)
        run.progress(0, total)
        left, tally = iter(paper.questions), self._tally
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._spec.concurrency, total)):
                group.create_task(self._ask_all(left, total, journal, run))
        if tally.failed > MOST_FAILED * total:
            told = ", ".join(f"{count} {name}" for name, count in tally.failures.most_common())
            raise ProfilingFailed(
                self._expert.name,
                f"More than a tenth of {total} calls to '{self._expert.name}' failed ({told}), so nothing was "
                f"measured. The last one: {tally.last_error}",
            )
        return tally

    async def _ask_all(self, left: Iterator[Question], total: int, journal: Journal, run: Run) -> None:
        tally = self._tally
        for question in left:
            if tally.failed > MOST_FAILED * total:
                return
            key = answer_key(self._expert.config, question, self._parameters, self._spec.judge)
            marked = journal.known.get(key)
            tally.reused += marked is not None
            if marked is None and (marked := await self._marked(question)) is not None:
                journal.add(key, marked)
            if marked is not None:
                self._count(question, marked)
            run.progress(len(tally.outcomes) + tally.failed)

    def _count(self, question: Question, marked: Marked) -> None:
        self._tally.cut_off += marked.cut_off
        self._tally.outcomes.append(
            Outcome(
                domain=question.domain,
                score=marked.score,
                skills=question.skills,
                output_tokens=marked.output_tokens,
                latency_ms=marked.latency_ms,
                cost_usd=marked.cost_usd,
            )
        )

    async def _marked(self, question: Question) -> Marked | None:
        """Ask and mark; None when the call failed or the judge said nothing usable."""
        try:
            call = ExpertCall(self._expert.name, question.messages, self._parameters)
            answer = await asked_patiently(self._dispatcher, call)
            score = await self._score(question, answer.text)
        except ExpertError as error:
            self._tally.failures[type(error).__name__] += 1
            self._tally.last_error = str(error)
            return None
        if score is None:
            self._tally.failures["no mark from the judge"] += 1
            self._tally.last_error = f"'{self._spec.judge}' answered with something else than a mark."
            return None
        facts = answer.facts
        seconds = None if facts.total_seconds is None else facts.total_seconds - facts.waited_seconds
        return Marked(
            score=score,
            output_tokens=answer.usage.completion_tokens or None,
            latency_ms=None if seconds is None else round(1000 * seconds, 1),
            cost_usd=_cost(answer.usage, self._price),
            cut_off=answer.finish_reason == "length",
        )

    async def _score(self, question: Question, text: str) -> float | None:
        if question.kind != "judged":
            return float(await asyncio.to_thread(right, question, text, READING))
        assert self._judge is not None
        parameters = for_expert(JUDGE_PARAMETERS, self._judge.profile, "off")
        messages = judge_messages(question.messages, spoken(text), guide=_guide(question))
        call = ExpertCall(self._judge.name, messages, parameters)
        return read_mark((await asked_patiently(self._dispatcher, call)).text)


async def asked_patiently(dispatcher: Dispatcher, call: ExpertCall) -> ExpertAnswer:
    """Ask as work that nobody waits for; once more where trying again may help.

    Raises:
        ExpertError: it failed.
    """
    call = replace(call, priority=BATCH_PRIORITY, deadline_seconds=PATIENCE_SECONDS)
    for _ in range(ATTEMPTS - 1):
        try:
            return await dispatcher.open(call).read()
        except ExpertError as error:
            if not error.retryable:
                raise
        await asyncio.sleep(PAUSE_SECONDS)
    return await dispatcher.open(call).read()


def longest_answer(expert: Expert) -> int:
    """Return how long an answer may be: half of what the expert can read and write, where that is known."""
    window = expert.profile.context_window
    return LONGEST_ANSWER_TOKENS if window is None else min(LONGEST_ANSWER_TOKENS, window // 2)


def _cost(usage: Usage, price: Price | None) -> float | None:
    """Return what an answer cost in USD; None where no price is known, or the server did not count tokens."""
    if price is None or not usage.total_tokens:
        return None
    read, written = usage.prompt_tokens, usage.completion_tokens
    return (read * price.input_per_million + written * price.output_per_million) / 1e6


def _guide(question: Question) -> str:
    """Return what a judge is told beside question and answer: the rubric and what would be right."""
    parts = [question.rubric, *(f"A right answer: {answer}" for answer in question.answers)]
    return "\n".join(part for part in parts if part)
