"""`cascade`: the next expert is asked only when the answer before looks weak, or those before disagree.

Candidates come in the order in which they are asked. A stage of one is kept unless it looks weak
(aggregator.verification); a stage of several is kept when they agree on a final answer. The last stage is
not checked: when it is one expert it is passed through live, and if it fails the best earlier answer stands.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aggregator.errors import QuorumNotReached
from aggregator.extraction import final_answer
from aggregator.gathering import read_stage, wait_for_all
from aggregator.replay import pass_through, replay
from aggregator.strategies.vote import elect
from aggregator.types import Answer, Candidate, Failure, FusionReport, FusionTask
from aggregator.verification import agreed, weakness
from experts.errors import ExpertError
from experts.types import AnswerChunk


class Cascade:
    """Cheap first, stronger only when needed."""

    name = "cascade"

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the first answer that looks good enough; see `Strategy.fuse`."""
        stages = _stages(task)
        deadline = time.monotonic() + task.limits.deadline_seconds
        earlier: list[Answer] = []
        for position, stage in enumerate(stages):
            last = position == len(stages) - 1
            if last and len(stage) == 1:
                chunks = await _final(stage[0], earlier, report)
                break
            answers = await _read(stage, task, report, deadline)
            earlier += answers
            kept, why = _kept(answers, task, last=last, earlier=earlier)
            if kept is not None:
                report.unasked.extend(candidate.expert for rest in stages[position + 1 :] for candidate in rest)
                report.answered_by, chunks = kept.expert, replay(kept.answer)
                break
            report.note = "; ".join(filter(None, [report.note, why]))
        else:
            raise QuorumNotReached(1, 0, report.failures)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


def _stages(task: FusionTask) -> list[tuple[Candidate, ...]]:
    """Return the candidates stage by stage; without a plan each is a stage of its own."""
    stages, at = [], 0
    for size in task.stages or (1,) * len(task.candidates):
        stages.append(task.candidates[at : at + size])
        at += size
    return [stage for stage in stages if stage]


async def _read(stage: Sequence[Candidate], task: FusionTask, report: FusionReport, deadline: float) -> list[Answer]:
    outcomes = await read_stage(stage, task.limits, wait_for_all, deadline)
    report.attempts += sum(candidate.stream.facts.attempts for candidate in stage)
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    report.answers.extend(answers)
    report.failures.extend(outcome for outcome in outcomes if isinstance(outcome, Failure))
    for answer in answers:
        report.used(answer.expert, answer.answer.usage)
        report.finals[answer.expert] = final_answer(answer.text)
    return answers


def _kept(
    answers: Sequence[Answer], task: FusionTask, *, last: bool, earlier: Sequence[Answer]
) -> tuple[Answer | None, str]:
    """Return the answer to keep, or None and why the next stage is asked."""
    if last:
        return (elect(earlier) or (earlier[-1] if earlier else None)), ""
    if not answers:
        return None, ""
    if len(answers) > 1:
        if agreed([answer.answer for answer in answers]):
            return max(answers, key=lambda answer: answer.weight), ""
        return None, f"{' and '.join(answer.expert for answer in answers)} disagree"
    weak = weakness(answers[0].answer, task.messages)
    return (answers[0], "") if weak is None else (None, f"{answers[0].expert} looks weak: {weak}")


async def _final(
    candidate: Candidate, earlier: Sequence[Answer], report: FusionReport
) -> AsyncGenerator[AnswerChunk, None]:
    """Return the last expert's live answer, or the best earlier one when it cannot answer.

    Raises:
        ExpertError: it cannot answer and nobody else did.
    """
    stream = candidate.stream
    try:
        await stream.prime()
    except ExpertError as error:
        report.attempts += stream.facts.attempts
        report.failures.append(Failure(candidate.expert, candidate.weight, str(error), error))
        if not earlier:
            raise
        best = max(earlier, key=lambda answer: answer.weight)
        report.note = "; ".join(filter(None, [report.note, "the last expert failed: the best earlier answer stands"]))
        report.answered_by = best.expert
        return replay(best.answer)
    report.answered_by = stream.expert
    return pass_through(stream, report)
