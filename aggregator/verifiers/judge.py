"""`judge`: an expert is asked whether the answer is right, and its yes must be probable enough.

The judge is `fusion.cascade.judge`, else the fuser, else the expert that would be asked last. It sees the conversation,
and the answer as quoted data (aggregator.judging). A judge that fails, is late, or says neither yes nor no has not said
that the answer is right.
"""

from __future__ import annotations

from aggregator.asking import aside_parameters, asked, instructed
from aggregator.judging import ASKED_WITH, judging_instructions, verdict
from aggregator.types import Answer, Candidate, Chosen, FusionTask
from aggregator.verifiers.base import Inquiry, read_aside
from experts.errors import ExpertRejected


class Judge:
    """Somebody else finds the answer right."""

    name = "judge"

    def opened(self, candidate: Candidate, task: FusionTask) -> Candidate:
        """Ask as the client did."""
        return candidate

    async def doubt(self, answer: Answer, inquiry: Inquiry) -> str | None:
        """Doubt an answer that the judge does not call right."""
        replies = await self._replies(answer, inquiry)
        chance = verdict(replies[0].answer) if replies else None
        if chance is None:
            return "its judge gave no verdict"
        least = inquiry.task.config.cascade.min_probability
        return None if chance >= least else f"its judge finds it right with probability {chance:.2f}"

    async def _replies(self, answer: Answer, inquiry: Inquiry) -> list[Answer]:
        """Ask for probabilities too; a server that refuses them is asked once more without."""
        begun = len(inquiry.report.failures)
        found = await read_aside([judging(answer, inquiry.task, probabilities=True)], inquiry, "judge")
        if any(isinstance(failure.error, ExpertRejected) for failure in inquiry.report.failures[begun:]):
            del inquiry.report.failures[begun:]
            found = await read_aside([judging(answer, inquiry.task, probabilities=False)], inquiry, "judge")
        return found


def judging(answer: Answer, task: FusionTask, *, probabilities: bool) -> Candidate:
    """Return the (lazy) judgement of an answer."""
    options = task.config.cascade
    judge = options.judge or task.fuser or task.candidates[-1].expert
    extra = ASKED_WITH if probabilities else {"temperature": 0}
    parameters = {**aside_parameters(task), **extra, "max_tokens": options.judge_tokens}
    return asked(task, Chosen(judge), instructed(task.messages, judging_instructions(answer.text)), parameters)
