"""`synthesize`: a fuser reads every candidate and writes one answer, streamed as it is written.

The candidates go into the system message as quoted lines (experts.fusion_prompt), so nothing in them can
end the quotation or pose as an instruction of ours; the conversation itself is passed on unchanged
(Mixture-of-Agents, 2406.04692, section 2; Symbolic-MoE's aggregator, 2503.05641). A lone survivor is passed
straight through, and when the fuser fails before its first chunk the best single answer is returned.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from aggregator.gathering import gather
from aggregator.replay import pass_through, replay
from aggregator.types import Answer, Failure, FusionReport, FusionTask
from experts.errors import ExpertError
from experts.fusion_prompt import fusion_instructions
from experts.types import AnswerChunk, ExpertCall, Message

NOT_FOR_THE_FUSER = frozenset({"n", "tools", "tool_choice", "parallel_tool_calls", "logprobs", "top_logprobs"})


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
            chunks = await self._written(task, answers, best, report)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def _written(
        self, task: FusionTask, answers: Sequence[Answer], best: Answer, report: FusionReport
    ) -> AsyncGenerator[AnswerChunk, None]:
        stream = task.ask(fuser_call(task, answers))
        try:
            await stream.prime()
        except ExpertError as error:
            report.failures.append(Failure(stream.expert, 0.0, f"fuser: {error}", error))
            report.note = "the fuser failed: the best single answer is returned"
            report.answered_by = best.expert
            return replay(best.answer)
        report.fuser = report.answered_by = stream.expert
        return pass_through(stream, report)


def fuser_call(task: FusionTask, answers: Sequence[Answer]) -> ExpertCall:
    """Return the call that asks the fuser to write."""
    shown = [(answer.expert, answer.weight, answer.text) for answer in answers]
    parameters = {k: v for k, v in task.parameters.items() if k not in NOT_FOR_THE_FUSER}
    return ExpertCall(
        expert=task.fuser or task.candidates[0].expert,
        messages=instructed(task.messages, fusion_instructions(shown)),
        parameters=parameters,
    )


def instructed(messages: tuple[Message, ...], instructions: str) -> tuple[Message, ...]:
    """Put our instructions into the system message: one of its own, or after the client's."""
    if messages and messages[0].get("role") == "system" and isinstance(messages[0].get("content"), str):
        first: Mapping[str, Any] = {**messages[0], "content": f"{messages[0]['content']}\n\n{instructions}"}
        return (first, *messages[1:])
    return ({"role": "system", "content": instructions}, *messages)


def has_tool_calls(answer: Answer) -> bool:
    """Say whether the answer calls tools instead of answering in words."""
    return any(choice["message"].get("tool_calls") for choice in answer.answer.body["choices"])
