"""`synthesize`: a fuser reads every candidate and writes one answer, streamed as it is written.

The candidates go into the system message as quoted lines (experts.fusion_prompt), so nothing in them can
end the quotation or pose as an instruction of ours; the conversation itself is passed on unchanged
(Mixture-of-Agents, 2406.04692, section 2; Symbolic-MoE's aggregator, 2503.05641). A lone survivor is passed
straight through, and when the fuser fails before its first chunk the best single answer is returned. One that names
an expert and writes nothing else adopts that expert's answer (aggregator.adopting).

With `layers` above 1 every expert first writes its answer anew, having read all of them as the fuser will. All layers
together have the candidates' deadline; who fails or is refused keeps its answer, and nobody writes where all agree.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from aggregator.adopting import adopting
from aggregator.asides import by_final_answer, read_together, remark, shown
from aggregator.asking import Read, asked, instructed, writing_parameters, written
from aggregator.gathering import gather
from aggregator.replay import pass_through, replay
from aggregator.types import Answer, Chosen, Failure, FusionReport, FusionTask
from experts.fusion_prompt import fusion_instructions
from experts.types import AnswerChunk, ExpertCall, Message


class Synthesize:
    """Let one expert write the answer from all candidates."""

    name = "synthesize"

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the fuser's answer; see `Strategy.fuse`."""
        deadline = time.monotonic() + task.limits.deadline_seconds
        answers = await gather(task.candidates, task.limits, report)
        best = max(answers, key=lambda answer: answer.weight)
        if len(answers) == 1 or has_tool_calls(best):
            report.note = "one answer arrived: passed through" if len(answers) == 1 else "tool calls: the primary's"
            chunks = replay(best.answer)
            report.answered_by = best.expert
        else:
            answers = await _layered(answers, task, report, deadline)
            best = max(answers, key=lambda answer: answer.weight)
            call = fuser_call(task, answers, tell_adopting=task.config.synthesize.adopt == "told")
            chunks = await written(task, call, best, report, reading(task, answers))
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


async def _layered(answers: list[Answer], task: FusionTask, report: FusionReport, deadline: float) -> list[Answer]:
    """Return the answers after every layer but the fuser's; an answer that calls tools is in the first one only."""
    for layer in range(2, task.config.synthesize.layers + 1):
        texts = [answer for answer in answers if not has_tool_calls(answer)]
        if len(by_final_answer(texts, task.messages)) < 2:
            remark(report, f"the answers agree: layer {layer} was not needed")
            break
        if time.monotonic() >= deadline:
            remark(report, f"no time for layer {layer}")
            break
        answers = await _rewritten(texts, task, report, deadline)
        report.answers[:] = answers
    return answers


async def _rewritten(
    answers: Sequence[Answer], task: FusionTask, report: FusionReport, deadline: float
) -> list[Answer]:
    """Return each expert's answer written anew, or the one it had where it gave no other."""
    calls = [
        asked(task, Chosen(answer.expert, answer.weight, answer.quality, answer.domains), *_reading(task, answers))
        for answer in answers
    ]
    outcomes = await read_together(calls, task, report, deadline)
    report.failures.extend(outcome for outcome in outcomes if isinstance(outcome, Failure))
    return [
        new if isinstance(new, Answer) and new.text.strip() else old for new, old in zip(outcomes, answers, strict=True)
    ]


def reading(task: FusionTask, answers: Sequence[Answer]) -> Read:
    """Return how the fuser's stream is read: whether it may adopt an answer by naming its expert."""
    if task.config.synthesize.adopt == "never" or task.parameters.get("n", 1) not in (None, 1):
        return pass_through
    return partial(adopting, answers=answers)


def fuser_call(task: FusionTask, answers: Sequence[Answer], *, tell_adopting: bool = False) -> ExpertCall:
    """Return the call that asks the fuser to write; `tell_adopting` that naming an expert is enough."""
    messages, parameters = _reading(task, answers, tell_adopting=tell_adopting)
    return ExpertCall(task.fuser or task.candidates[0].expert, messages, parameters)


def _reading(
    task: FusionTask, answers: Sequence[Answer], *, tell_adopting: bool = False
) -> tuple[tuple[Message, ...], dict[str, Any]]:
    """Return the messages and parameters for whoever writes an answer having read all."""
    instructions = fusion_instructions([shown(answer) for answer in answers], tell_adopting=tell_adopting)
    return instructed(task.messages, instructions), writing_parameters(task)


def has_tool_calls(answer: Answer) -> bool:
    """Say whether the answer calls tools instead of answering in words."""
    return any(choice["message"].get("tool_calls") for choice in answer.answer.body["choices"])
