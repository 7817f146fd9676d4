"""`self`: several samples of the best expert become one answer; nobody else is asked unless it fails.

One sample is the answer the expert would have given anyway; the others differ by seed, at `fusion.sampling.temperature`
unless the client set one. Samples that come to comparable final answers are counted, and the commonest is quoted
verbatim (self-consistency, 2203.11171), with no waiting for samples that cannot change it; ties go to the expert's
first answer that is among them. Otherwise the fuser writes one answer of all (Self-MoA, 2502.00674).

A client that asks for `n` choices gets n where samples are counted, the commonest answer first; its choices are samples
too, so that n at or above `samples` costs nothing more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from aggregator.asking import written
from aggregator.errors import QuorumNotReached
from aggregator.gathering import Enough, gather
from aggregator.replay import replay
from aggregator.sampling import sampled, samples_differ
from aggregator.strategies.synthesize import fuser_call
from aggregator.types import Answer, Candidate, FusionReport, FusionTask
from aggregator.verification import calls_tools, finals, wants_final_answer
from experts.types import AnswerChunk, ExpertAnswer, Message


class Self:
    """Let one expert vote with itself, or be fused with itself."""

    name = "self"

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the commonest sample, or what the fuser makes of all; see `Strategy.fuse`."""
        answers = await _samples(task, report)
        own = answers[0]
        drawn = [sample for answer in answers for sample in choices_of(answer)]
        leader, count = next(iter(counted(drawn, task.messages)), (None, 0))
        if len(drawn) == 1 or calls_tools(own.answer):
            chunks = replay(own.answer)
        elif leader is not None and (wants_final_answer(task.messages) or 2 * count > len(drawn)):
            report.note = f"{count} of {len(drawn)} samples agree"
            chunks = replay(_led_by(leader, own))
        else:
            report.note = "the samples cannot be counted: the fuser writes one answer of them"
            chunks = await written(task, fuser_call(task, drawn), own, report)
        report.answered_by = report.answered_by or own.expert
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


async def _samples(task: FusionTask, report: FusionReport) -> list[Answer]:
    """Return the samples of the first candidate that gives any, its own answer first.

    Raises:
        QuorumNotReached: no candidate gave one.
        ExpertRejected: the request itself was refused.
    """
    for place, candidate in enumerate(task.candidates):
        failed = len(report.failures)
        drawn = [candidate, *_more(candidate, task)]
        limits = replace(task.limits, quorum=min(task.limits.quorum, len(drawn)))
        try:
            answers = await gather(drawn, limits, report, _settled(task.messages))
        except QuorumNotReached:
            del report.failures[failed + 1 :]
            if place == len(task.candidates) - 1:
                raise
            continue
        report.unasked.extend(other.expert for other in task.candidates[place + 1 :])
        return answers
    raise QuorumNotReached(task.limits.quorum, 0, report.failures)


def _more(candidate: Candidate, task: FusionTask) -> list[Candidate]:
    """Return the samples to draw besides the candidate's own answer, which may hold several choices already."""
    options = task.config.sampling
    missing = options.samples - _choices_asked(candidate)
    return sampled(task, candidate, max(0, missing), options.temperature) if samples_differ(candidate) else []


def _choices_asked(candidate: Candidate) -> int:
    asked = candidate.stream.call.parameters.get("n")
    return asked if isinstance(asked, int) and asked > 0 else 1


def choices_of(answer: Answer) -> list[Answer]:
    """Return each choice of an answer as an answer of its own; all samples count the same."""
    found = []
    for choice in answer.answer.body["choices"]:
        body, text = {**answer.answer.body, "choices": [{**choice, "index": 0}]}, choice["message"].get("content") or ""
        alone = replace(answer.answer, body=body, text=text, finish_reason=choice["finish_reason"])
        found.append(replace(answer, answer=alone, weight=1.0, quality=None))
    return found


def counted(samples: Sequence[Answer], messages: Sequence[Message]) -> list[tuple[Answer, int]]:
    """Return the first sample of each final answer and how many come to it, the commonest first, then the earliest."""
    found = finals([sample.text for sample in samples], messages)
    counts = Counter(final for final in found if final is not None)
    return [(samples[found.index(final)], count) for final, count in counts.most_common()]


def _settled(messages: Sequence[Message]) -> Enough:
    """Return whether samples still to come cannot change which final answer is commonest."""

    def settled(answers: Sequence[Answer], pending: Sequence[Candidate]) -> bool:
        counts = [count for _, count in counted([each for some in answers for each in choices_of(some)], messages)]
        return bool(counts) and counts[0] > (counts[1] if len(counts) > 1 else 0) + len(pending)

    return settled


def _led_by(winner: Answer, own: Answer) -> ExpertAnswer:
    """Return the expert's own answer with the winner as its first choice, and no more choices."""
    first, choices = winner.answer.body["choices"][0], own.answer.body["choices"]
    kept = [first, *(choice for choice in choices if choice["message"] is not first["message"])][: len(choices)]
    body = {**own.answer.body, "choices": [{**choice, "index": index} for index, choice in enumerate(kept)]}
    return replace(own.answer, body=body, text=winner.text, finish_reason=first["finish_reason"])
