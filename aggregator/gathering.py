"""Read candidates concurrently until enough are in, or time is up. The only place that starts tasks here.

Time is up at the deadline, or some grace after the quorum was reached; one candidate's own time may end before that.

In stages, later candidates are asked only when the earlier ones do not settle it: a stream that nobody reads
costs nothing.

Task groups wrap errors in ExceptionGroups that no handler finds by class; so tasks return their failure as
a value, and whatever still runs when we stop waiting is cancelled and awaited before anything is returned.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aggregator.errors import QuorumNotReached
from aggregator.types import Answer, Candidate, Failure, FusionLimits, FusionReport
from experts.errors import CallRefused, ExpertError, ExpertRejected

Enough = Callable[[Sequence[Answer], Sequence[Candidate]], bool]


@dataclass(slots=True)
class Clock:
    """When waiting ends, in monotonic time: pulled nearer once, when the quorum is reached. All stages share one."""

    limits: FusionLimits
    deadline: float
    grace: bool = True
    answered_before: int = 0
    reached: bool = False

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()

    def answered(self, count: int) -> None:
        """Note how many of this stage have answered."""
        grace = self.limits.grace_seconds
        if grace is None or not self.grace or self.reached or self.answered_before + count < self.limits.quorum:
            return
        self.reached, self.deadline = True, min(self.deadline, time.monotonic() + grace)

    @property
    def verdict(self) -> str:
        """Why somebody who is not done yet is not waited for any more."""
        if self.reached:
            return f"not done {self.limits.grace_seconds:g} s after the quorum was"
        return f"not done within {self.limits.deadline_seconds:g} s"


def wait_for_all(_answers: Sequence[Answer], _pending: Sequence[Candidate]) -> bool:
    """Never stop early."""
    return False


async def gather(
    candidates: Sequence[Candidate],
    limits: FusionLimits,
    report: FusionReport,
    enough: Enough = wait_for_all,
    stages: Sequence[int] = (),
) -> list[Answer]:
    """Return the answers that arrived, in the candidates' order; `report` gets answers, failures and usage.

    Args:
        enough: told the answers so far and the candidates still writing or not yet asked; True ends it.
        stages: how many are asked together each time; empty means all at once.

    Raises:
        QuorumNotReached: fewer than `limits.quorum` answered.
        ExpertRejected: nobody answered and an expert refused the request itself.
        CallRefused: nobody was asked, because the request has used up what it may ask.
    """
    clock = Clock(limits, time.monotonic() + limits.deadline_seconds)
    outcomes: list[Answer | Failure] = []
    left = list(candidates)
    for size in stages or (len(left),):
        asked, left = left[:size], left[size:]
        outcomes += await _read_stage(asked, clock, _knowing(outcomes, left, limits.quorum, enough))
        answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
        clock.answered_before = len(answers)
        if not left or clock.left <= 0 or (len(answers) >= limits.quorum and enough(answers, left)):
            break
    report.unasked.extend(candidate.expert for candidate in left)
    report.attempts += sum(candidate.stream.facts.attempts for candidate in candidates)
    return _record(outcomes, limits, report)


async def read_stage(
    candidates: Sequence[Candidate], limits: FusionLimits, enough: Enough, deadline: float
) -> list[Answer | Failure]:
    """Return what became of each candidate, asked together, by the deadline (monotonic) at the latest.

    All of them are waited for, whatever the quorum, unless `enough` says otherwise.
    """
    return await _read_stage(candidates, Clock(limits, deadline, grace=False), enough)


async def _read_stage(candidates: Sequence[Candidate], clock: Clock, enough: Enough) -> list[Answer | Failure]:
    arm = clock.limits.arm_deadline_seconds
    tasks = {asyncio.create_task(_read(candidate, arm)): candidate for candidate in candidates}
    decided = False
    try:
        decided = await _wait(tasks, clock, enough)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    late = "not needed any more" if decided else clock.verdict
    return [_outcome(task, candidate, late) for task, candidate in tasks.items()]


def _knowing(earlier: Sequence[Answer | Failure], later: Sequence[Candidate], quorum: int, enough: Enough) -> Enough:
    """Return `enough` for one stage, told also of the earlier stages' answers and of the later candidates."""
    known = [outcome for outcome in earlier if isinstance(outcome, Answer)]

    def in_this_stage(answers: Sequence[Answer], pending: Sequence[Candidate]) -> bool:
        together = [*known, *answers]
        return len(together) >= quorum and enough(together, [*pending, *later])

    return in_this_stage


async def _read(candidate: Candidate, most_seconds: float | None) -> Answer | Failure:
    try:
        async with asyncio.timeout(most_seconds):
            return Answer(await candidate.stream.read(), candidate.weight, candidate.quality, candidate.domains)
    except ExpertError as error:
        return Failure(candidate.expert, candidate.weight, str(error), error)
    except TimeoutError:
        return Failure(candidate.expert, candidate.weight, f"not done within {most_seconds:g} s")


async def _wait(tasks: dict[asyncio.Task[Answer | Failure], Candidate], clock: Clock, enough: Enough) -> bool:
    """Wait until all are done, time is up, or enough are in; True in the last case."""
    pending = set(tasks)
    while pending and (left := clock.left) > 0:
        _, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        answers = [r for task in tasks if task.done() and isinstance(r := task.result(), Answer)]
        waiting = [candidate for task, candidate in tasks.items() if task in pending]
        if enough(answers, waiting):
            return True
        clock.answered(len(answers))
    return False


def _outcome(task: asyncio.Task[Answer | Failure], candidate: Candidate, late: str) -> Answer | Failure:
    return Failure(candidate.expert, candidate.weight, late) if task.cancelled() else task.result()


def _record(outcomes: Sequence[Answer | Failure], limits: FusionLimits, report: FusionReport) -> list[Answer]:
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    report.answers.extend(answers)
    report.failures.extend(failures)
    for answer in answers:
        report.used(answer.expert, answer.answer.usage)
    if not answers and (refusal := _refusal(failures)) is not None:
        raise refusal
    if len(answers) < limits.quorum:
        raise QuorumNotReached(limits.quorum, len(answers), failures)
    return answers


def _refusal(failures: Sequence[Failure]) -> ExpertError | None:
    """Return what to tell when nobody answered: a server's word on the request itself, or that nobody was asked."""
    if failures and all(isinstance(failure.error, CallRefused) for failure in failures):
        return next(failure.error for failure in failures if isinstance(failure.error, CallRefused))
    return next((failure.error for failure in failures if isinstance(failure.error, ExpertRejected)), None)
