"""`synthesize`: a fuser reads every candidate and writes one answer, streamed as it is written.

The candidates go into the system message as quoted lines (experts.fusion_prompt), so nothing in them can
end the quotation or pose as an instruction of ours; the conversation itself is passed on unchanged
(Mixture-of-Agents, 2406.04692, section 2; Symbolic-MoE's aggregator, 2503.05641). A lone survivor is passed
straight through, and when the fuser fails before its first chunk the best single answer is returned.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aggregator.asking import instructed, writing_parameters, written
from aggregator.gathering import gather
from aggregator.replay import replay
from aggregator.types import Answer, FusionReport, FusionTask
from experts.fusion_prompt import fusion_instructions
from experts.types import AnswerChunk, ExpertCall


class Synthesize:
    """Let one expert write the answer from all candidates."""

    name = "synthesize"

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the fuser's answer; see `Strategy.fuse`."""
        answers = await gather(task.candidates, task.limits, report)
        best = max(answers, key=lambda answer: answer.weight)
        if len(answers) == 1 or has_tool_calls(best):
            report.note = "one answer arrived: passed through" if len(answers) == 1 else "tool calls: the primary's"
            chunks = replay(best.answer)
            report.answered_by = best.expert
        else:
            chunks = await written(task, fuser_call(task, answers), best, report)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


def fuser_call(task: FusionTask, answers: Sequence[Answer]) -> ExpertCall:
    """Return the call that asks the fuser to write."""
    shown = [(answer.expert, answer.domains, answer.weight, answer.text) for answer in answers]
    return ExpertCall(
        expert=task.fuser or task.candidates[0].expert,
        messages=instructed(task.messages, fusion_instructions(shown)),
        parameters=writing_parameters(task),
    )


def has_tool_calls(answer: Answer) -> bool:
    """Say whether the answer calls tools instead of answering in words."""
    return any(choice["message"].get("tool_calls") for choice in answer.answer.body["choices"])
