"""`cascade`: the next expert is asked only when the answer before may not stand, or those before disagree.

Candidates come in the order in which they are asked. A stage of one is kept unless it looks weak
(aggregator.verification) or the verifier in the settings doubts it (aggregator.verifiers); a stage of several is kept
when they agree on a final answer. The last stage is not checked: when it is one expert it is passed through live, and
if it fails the best earlier answer stands. Checking ends with the deadline: what is unchecked by then is in doubt.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from aggregator.ballots import Ballot
from aggregator.errors import QuorumNotReached
from aggregator.gathering import read_stage, wait_for_all
from aggregator.replay import pass_through, replay
from aggregator.types import Answer, Candidate, Failure, FusionReport, FusionTask
from aggregator.verification import agreed, calls_tools, finals, weakness
from aggregator.verifiers import VERIFIERS, Inquiry
from experts.errors import ExpertError, ExpertRejected
from experts.types import AnswerChunk, ExpertAnswer


class Cascade:
    """Cheap first, stronger only when needed."""

    name = "cascade"

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the first answer that may stand; see `Strategy.fuse`."""
        stages = _stages(task)
        deadline = time.monotonic() + task.limits.deadline_seconds
        earlier: list[Answer] = []
        for position, stage in enumerate(stages):
            last = position == len(stages) - 1
            if last and len(stage) == 1:
                chunks = await _final(stage[0], earlier, task, report)
                break
            answers = await _read(stage, task, report, deadline)
            kept, why = await _kept(answers, Inquiry(task, stage[0], tuple(earlier), deadline, report), last=last)
            earlier += answers
            if kept is not None:
                report.unasked.extend(candidate.expert for rest in stages[position + 1 :] for candidate in rest)
                report.answered_by, chunks = kept.expert, replay(_as_asked(kept.answer, task))
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
    opened = stage
    if len(stage) == 1:
        opened = [VERIFIERS[task.config.cascade.verifier].opened(stage[0], task)]
    outcomes = await read_stage(opened, task.limits, wait_for_all, deadline)
    if opened[0] is not stage[0] and _refused(outcomes):
        report.attempts += opened[0].stream.facts.attempts
        opened = stage
        outcomes = await read_stage(opened, task.limits, wait_for_all, deadline)
    report.attempts += sum(candidate.stream.facts.attempts for candidate in opened)
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    report.answers.extend(answers)
    report.failures.extend(outcome for outcome in outcomes if isinstance(outcome, Failure))
    for answer in answers:
        report.used(answer.expert, answer.answer.usage)
    found = finals([answer.text for answer in answers], task.messages)
    report.finals.update(zip((answer.expert for answer in answers), found, strict=True))
    return answers


def _refused(outcomes: Sequence[Answer | Failure]) -> bool:
    """Say whether a server did not take the request, maybe for what the verifier added to it."""
    return any(isinstance(each, Failure) and isinstance(each.error, ExpertRejected) for each in outcomes)


async def _kept(answers: Sequence[Answer], inquiry: Inquiry, *, last: bool) -> tuple[Answer | None, str]:
    """Return the answer to keep, or None and why the next stage is asked."""
    if last:
        known = [*inquiry.earlier, *answers]
        ballot = Ballot.of(inquiry.task.candidates, inquiry.task.messages)
        return (ballot.elect(known) or (known[-1] if known else None)), ""
    if not answers:
        return None, ""
    if len(answers) > 1:
        if agreed([answer.answer for answer in answers], inquiry.task.messages):
            return max(answers, key=lambda answer: answer.weight), ""
        return None, f"{' and '.join(answer.expert for answer in answers)} disagree"
    answer = answers[0]
    if (weak := weakness(answer.answer, inquiry.task.messages)) is not None:
        return None, f"{answer.expert} looks weak: {weak}"
    if calls_tools(answer.answer):
        return answer, ""
    doubt = await VERIFIERS[inquiry.task.config.cascade.verifier].doubt(answer, inquiry)
    return (answer, "") if doubt is None else (None, f"{answer.expert} is in doubt: {doubt}")


async def _final(
    candidate: Candidate, earlier: Sequence[Answer], task: FusionTask, report: FusionReport
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
        return replay(_as_asked(best.answer, task))
    report.answered_by = stream.expert
    return pass_through(stream, report)


def _as_asked(answer: ExpertAnswer, task: FusionTask) -> ExpertAnswer:
    """Return the answer without log probabilities that only the verifier asked for."""
    choices = answer.body["choices"]
    if task.parameters.get("logprobs") or not any(choice.get("logprobs") for choice in choices):
        return answer
    choices = [{**choice, "logprobs": None} for choice in choices]
    return replace(answer, body={**answer.body, "choices": choices})
