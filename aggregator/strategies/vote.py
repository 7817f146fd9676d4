"""`vote`: the final answer with the most weight behind it wins, and its heaviest voter is quoted verbatim.

Answers are counted as aggregator.ballots says (self-consistency of 2203.11171 with experts for samples and log odds
for counts; Symbolic-MoE, 2503.05641, section 3.3 baseline). Candidates whose texts hold no comparable final answer
abstain; when all abstain the primary's answer is returned. Tool calls are answers like any other.

Waiting stops as soon as no remaining candidate can change the winner; in stages, such candidates are never asked
("two, then a third on disagreement"). With `fusion.run_code` code is the same that returns the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from aggregator.ballots import Ballot
from aggregator.extraction.behaviour import by_behaviour, differing_code
from aggregator.gathering import gather
from aggregator.replay import replay
from aggregator.types import Answer, Candidate, FusionReport, FusionTask
from experts.types import AnswerChunk


class Vote:
    """Weighted vote over comparable final answers."""

    name = "vote"

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the winner's answer; see `Strategy.fuse`."""
        ballot, run_code = Ballot.of(task.candidates, task.messages), task.config.run_code

        def decided(answers: Sequence[Answer], pending: Sequence[Candidate]) -> bool:
            undecided = run_code and differing_code([answer.text for answer in answers])
            return not undecided and ballot.decided(answers, pending)

        stages = ballot.stages(task.candidates) if task.stages and ballot.shift is not None else task.stages
        answers = await gather(task.candidates, task.limits, report, decided, stages)
        finals = [ballot.final(answer) for answer in answers]
        if run_code:
            finals = await by_behaviour([answer.text for answer in answers], finals, task.messages)
        report.finals.update({answer.expert: final for answer, final in zip(answers, finals, strict=True)})
        if report.unasked:
            report.note = f"{', '.join(report.unasked)} could not change the winner and was not asked"
        winner = ballot.elect(answers, finals)
        if winner is None:
            report.note = "no comparable final answers: the primary's answer is returned"
            winner = answers[0]
        report.answered_by = winner.expert
        async for chunk in replay(winner.answer):
            yield chunk


def elect(answers: Sequence[Answer]) -> Answer | None:
    """Return the answer that wins by the router's weights, or None when nobody gave a comparable one."""
    return Ballot().elect(answers)
