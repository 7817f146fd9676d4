"""Read candidates concurrently until enough are in, or time is up. The only place that starts tasks here.

In stages, later candidates are asked only when the earlier ones do not settle it: a stream that nobody reads
costs nothing.

Task groups wrap errors in ExceptionGroups that no handler finds by class; so tasks return their failure as
a value, and whatever still runs when we stop waiting is cancelled and awaited before anything is returned.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from aggregator.errors import QuorumNotReached
from aggregator.types import Answer, Candidate, Failure, FusionLimits, FusionReport
from experts.errors import ExpertError, ExpertRejected

Enough = Callable[[Sequence[Answer], Sequence[Candidate]], bool]


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
        ExpertRejected: nobody answered and the first expert refused the request itself.
    """
    deadline = time.monotonic() + limits.deadline_seconds
    outcomes: list[Answer | Failure] = []
    left = list(candidates)
    for size in stages or (len(left),):
        asked, left = left[:size], left[size:]
        outcomes += await read_stage(asked, limits, _knowing(outcomes, left, limits.quorum, enough), deadline)
        if not left or time.monotonic() >= deadline:
            break
        answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
        if len(answers) >= limits.quorum and enough(answers, left):
            break
    report.unasked.extend(candidate.expert for candidate in left)
    report.attempts += sum(candidate.stream.facts.attempts for candidate in candidates)
    return _record(outcomes, limits, report)


async def read_stage(
    candidates: Sequence[Candidate], limits: FusionLimits, enough: Enough, deadline: float
) -> list[Answer | Failure]:
    """Return what became of each candidate, asked together, by the deadline (monotonic) at the latest."""
    tasks = {asyncio.create_task(_read(candidate)): candidate for candidate in candidates}
    decided = False
    try:
        decided = await _wait(tasks, deadline, enough)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    late = "not needed any more" if decided else f"not done within {limits.deadline_seconds:g} s"
    return [_outcome(task, candidate, late) for task, candidate in tasks.items()]


def _knowing(earlier: Sequence[Answer | Failure], later: Sequence[Candidate], quorum: int, enough: Enough) -> Enough:
    """Return `enough` for one stage, told also of the earlier stages' answers and of the later candidates."""
    known = [outcome for outcome in earlier if isinstance(outcome, Answer)]

    def in_this_stage(answers: Sequence[Answer], pending: Sequence[Candidate]) -> bool:
        together = [*known, *answers]
        return len(together) >= quorum and enough(together, [*pending, *later])

    return in_this_stage


async def _read(candidate: Candidate) -> Answer | Failure:
    try:
        return Answer(await candidate.stream.read(), candidate.weight, candidate.quality, candidate.domains)
    except ExpertError as error:
        return Failure(candidate.expert, candidate.weight, str(error), error)


async def _wait(tasks: dict[asyncio.Task[Answer | Failure], Candidate], deadline: float, enough: Enough) -> bool:
    """Wait until all are done, time is up, or enough are in; True in the last case."""
    pending = set(tasks)
    while pending and (left := deadline - time.monotonic()) > 0:
        _, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        answers = [r for task in tasks if task.done() and isinstance(r := task.result(), Answer)]
        waiting = [candidate for task, candidate in tasks.items() if task in pending]
        if enough(answers, waiting):
            return True
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
    rejected = next((f.error for f in failures if isinstance(f.error, ExpertRejected)), None)
    if not answers and rejected is not None:
        raise rejected
    if len(answers) < limits.quorum:
        raise QuorumNotReached(limits.quorum, len(answers), failures)
    return answers
