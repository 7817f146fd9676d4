"""`vote`: the final answer with the most weight behind it wins, and its best-weighted author is quoted verbatim.

Candidates whose texts hold no comparable final answer abstain; when all abstain the primary's answer is
returned. Ties go to the group with the heaviest single voter, then to the primary (self-consistency of
2203.11171 with the router's weights in place of counts; Symbolic-MoE, 2503.05641, section 3.3 baseline).
Waiting stops as soon as no remaining candidate can change the winner; in stages, such candidates are never asked
("two, then a third on disagreement").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from aggregator.extraction import final_answer
from aggregator.gathering import gather
from aggregator.replay import replay
from aggregator.types import Answer, Candidate, FusionReport, FusionTask
from experts.types import AnswerChunk


@dataclass(frozen=True, slots=True)
class Group:
    """Candidates that gave the same final answer, best-weighted first."""

    final: str
    voters: tuple[Answer, ...]

    @property
    def weight(self) -> float:
        return sum(voter.weight for voter in self.voters)


class Vote:
    """Weighted vote over comparable final answers."""

    name = "vote"

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the winner's answer; see `Strategy.fuse`."""
        answers = await gather(task.candidates, task.limits, report, decided, task.stages)
        report.finals.update({answer.expert: final_answer(answer.text) for answer in answers})
        if report.unasked:
            report.note = f"{', '.join(report.unasked)} could not change the winner and was not asked"
        winner = elect(answers)
        if winner is None:
            report.note = "no comparable final answers: the primary's answer is returned"
            winner = answers[0]
        report.answered_by = winner.expert
        async for chunk in replay(winner.answer):
            yield chunk


def groups(answers: Sequence[Answer]) -> list[Group]:
    """Group answers by final answer, the winning group first. Answers come primary first."""
    voters: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        if (final := final_answer(answer.text)) is not None:
            voters[final].append(answer)
    found = [Group(final, tuple(sorted(who, key=lambda a: -a.weight))) for final, who in voters.items()]
    return sorted(found, key=lambda group: (-round(group.weight, 9), -group.voters[0].weight))


def elect(answers: Sequence[Answer]) -> Answer | None:
    """Return the winning answer, or None when nobody gave a comparable one."""
    ranked = groups(answers)
    return ranked[0].voters[0] if ranked else None


def decided(answers: Sequence[Answer], pending: Sequence[Candidate]) -> bool:
    """Say whether the weight still to come cannot change the winner."""
    ranked = groups(answers)
    if not ranked:
        return False
    second = ranked[1].weight if len(ranked) > 1 else 0.0
    return ranked[0].weight > second + sum(candidate.weight for candidate in pending)
