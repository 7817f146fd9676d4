"""What every verifier of a cascade promises: asked whether an answer may stand, it says why not, or nothing.

A verifier fails soft. What it cannot tell, in time or at all, is a doubt, and a doubt only means that the next expert
is asked; so it never raises an ExpertError and never loses an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aggregator.gathering import Enough, read_stage, wait_for_all
from aggregator.types import Answer, Candidate, Failure, FusionReport, FusionTask


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What a verifier knows besides the answer.

    Args:
        candidate: whose answer it is; its call says what was asked, and how.
        earlier: the answers before it, oldest first.
        deadline: of all waiting, on the monotonic clock.
        report: gets the calls that checking takes.
    """

    task: FusionTask
    candidate: Candidate
    earlier: Sequence[Answer]
    deadline: float
    report: FusionReport


class Verifier(Protocol):
    """Says whether an answer may stand. Answers that look weak already never reach it."""

    name: str

    def opened(self, candidate: Candidate, task: FusionTask) -> Candidate:
        """Return the candidate as it should be asked, for verifiers that need more than the client asked for."""
        ...

    async def doubt(self, answer: Answer, inquiry: Inquiry) -> str | None:
        """Return in a few words why the answer may not stand, or None."""
        ...


async def read_aside(
    candidates: Sequence[Candidate], inquiry: Inquiry, what: str, enough: Enough = wait_for_all
) -> list[Answer]:
    """Return what came in time of questions of ours; the report gets their usage, and failures as `what`."""
    outcomes = await read_stage(candidates, inquiry.task.limits, enough, inquiry.deadline)
    report = inquiry.report
    report.attempts += sum(candidate.stream.facts.attempts for candidate in candidates)
    for outcome in outcomes:
        if isinstance(outcome, Answer):
            report.used(outcome.expert, outcome.answer.usage)
        elif outcome.error is not None:
            report.failures.append(Failure(outcome.expert, 0.0, f"{what}: {outcome.message}", outcome.error))
    return [outcome for outcome in outcomes if isinstance(outcome, Answer)]
