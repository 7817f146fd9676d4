"""`single`: the primary answers, live. The others are opened only if it fails before its first chunk."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aggregator.replay import pass_through
from aggregator.types import Failure, FusionReport, FusionTask
from experts.errors import ExpertError
from experts.types import AnswerChunk


class Single:
    """Pass the best candidate straight through."""

    name = "single"

    def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the first candidate that can answer; see `Strategy.fuse`."""
        if len(task.candidates) == 1:
            return pass_through(task.candidates[0].stream, report)
        return first_that_can(task, report)


async def first_that_can(task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
    """Yield the first candidate that begins to answer; the last one's failure is everybody's."""
    *tries, last = task.candidates
    for candidate in tries:
        try:
            await candidate.stream.prime()
        except ExpertError as error:
            if not error.retryable:
                raise
            report.attempts += candidate.stream.facts.attempts
            report.failures.append(Failure(candidate.expert, candidate.weight, str(error), error))
            continue
        last = candidate
        break
    async with aclosing(pass_through(last.stream, report)) as chunks:
        async for chunk in chunks:
            yield chunk
