"""`refine`: the primary revises its own answer having seen its peers', streamed as it is written.

The interface of Mixture of Thoughts (2509.21164) without its hidden states: one primary, advisers whose drafts it
reads as quoted data, and the primary's word is final. Peers that come late are left out; when all come to the same
final answer, or a revision fails, the primary's own answer stands. A primary that failed is replaced by the next.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aggregator.asides import by_final_answer, read_together, remark, shown
from aggregator.asking import instructed, writing_parameters, written
from aggregator.gathering import gather
from aggregator.prompts import revising_instructions
from aggregator.replay import replay
from aggregator.strategies.synthesize import has_tool_calls
from aggregator.types import Answer, Candidate, Failure, FusionReport, FusionTask
from experts.types import AnswerChunk, ExpertCall


class Refine:
    """Let the primary write its answer anew."""

    name = "refine"

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the primary's revised answer; see `Strategy.fuse`."""
        deadline = time.monotonic() + task.limits.deadline_seconds
        own, *others = await gather(task.candidates, task.limits, report)
        peers = [peer for peer in others if peer.text.strip() and not has_tool_calls(peer)]
        if why := _nothing_to_revise(own, peers, task):
            stands = True
            remark(report, why)
        else:
            own, stands = await _revised(own, peers, task, report, deadline)
        report.answered_by = own.expert
        chunks = replay(own.answer) if stands else await written(task, _revision(own, peers, task), own, report)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


def _nothing_to_revise(own: Answer, peers: Sequence[Answer], task: FusionTask) -> str:
    """Return why the primary's own answer stands as it is, or an empty text."""
    if has_tool_calls(own):
        return "tool calls: the primary's"
    if not peers:
        return "no peer's answer arrived: passed through"
    agree = own.text.strip() and len(by_final_answer([own, *peers], task.messages)) == 1
    return "the answers agree: nothing was revised" if agree else ""


async def _revised(
    own: Answer, peers: Sequence[Answer], task: FusionTask, report: FusionReport, deadline: float
) -> tuple[Answer, bool]:
    """Return the primary's answer after all rounds but the last, and whether it stands as it is.

    It stands when a revision failed or changed nothing; rounds for which no time is left are skipped.
    """
    for round_ in range(1, task.config.refine.rounds):
        if time.monotonic() >= deadline:
            remark(report, f"no time for more than {round_} of {task.config.refine.rounds} rounds")
            break
        call = Candidate(task.ask(_revision(own, peers, task)), own.weight, own.quality, own.domains)
        (outcome,) = await read_together([call], task, report, deadline)
        if isinstance(outcome, Failure):
            report.failures.append(outcome)
        if isinstance(outcome, Failure) or not outcome.text.strip():
            remark(report, f"revision {round_} failed: the answer before it stands")
            return own, True
        if outcome.text.strip() == own.text.strip():
            return own, True
        own = outcome
    return own, False


def _revision(own: Answer, peers: Sequence[Answer], task: FusionTask) -> ExpertCall:
    instructions = revising_instructions(own.text, [shown(peer) for peer in peers])
    return ExpertCall(own.expert, instructed(task.messages, instructions), writing_parameters(task))
