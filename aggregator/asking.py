"""How a strategy asks experts something that is not the client's own question: one place for prompts and fallbacks.

asked      a candidate of our own making: another question, another sample, another role
instructed our instructions in the system message, the conversation unchanged
written    the stream of an expert that writes the fused answer, or the best single answer when it cannot
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, TypeAlias

from aggregator.replay import pass_through, replay
from aggregator.types import Answer, Candidate, Chosen, Failure, FusionReport, FusionTask
from experts.errors import ExpertError
from experts.types import AnswerChunk, ExpertCall, ExpertStream, Message

Chunks: TypeAlias = AsyncGenerator[AnswerChunk, None]
Read: TypeAlias = Callable[[ExpertStream, FusionReport], Chunks]
NOT_FOR_THE_FUSER = frozenset({"tools", "tool_choice", "parallel_tool_calls", "logprobs", "top_logprobs"})
"""Parameters of the client's that make sense for one expert's own answer only."""
ABOUT_THE_FORM = frozenset(
    {
        *("n", "response_format", "structured_outputs", "logit_bias", "seed", "stop", "stop_token_ids", "ignore_eos"),
        *("max_tokens", "max_completion_tokens", "min_tokens", "bad_words", "allowed_token_ids", "echo"),
        *("guided_json", "guided_choice", "guided_regex", "guided_grammar"),
    }
)
"""Parameters that shape the client's answer, and would spoil a text that only we read."""


def asked(
    task: FusionTask,
    chosen: Chosen,
    messages: tuple[Message, ...],
    parameters: Mapping[str, Any],
) -> Candidate:
    """Return the (lazy) answer of an expert to messages of ours."""
    stream = task.ask(ExpertCall(expert=chosen.expert, messages=messages, parameters=parameters))
    return Candidate(stream, chosen.weight, chosen.quality, chosen.domains)


def as_chosen(candidate: Candidate) -> Chosen:
    """Return who a candidate is, to ask the same expert something else."""
    return Chosen(candidate.expert, candidate.weight, candidate.quality, candidate.domains)


def writing_parameters(task: FusionTask) -> dict[str, Any]:
    """Return the client's parameters for the call that writes the answer the client gets."""
    return {key: value for key, value in task.parameters.items() if key not in NOT_FOR_THE_FUSER}


def aside_parameters(task: FusionTask) -> dict[str, Any]:
    """Return the client's parameters for a text that only we read: a plan, a comparison, a background."""
    return {key: value for key, value in writing_parameters(task).items() if key not in ABOUT_THE_FORM}


def instructed(messages: tuple[Message, ...], instructions: str) -> tuple[Message, ...]:
    """Put our instructions into the system message: one of its own, or after the client's."""
    if messages and messages[0].get("role") == "system" and isinstance(messages[0].get("content"), str):
        first: Mapping[str, Any] = {**messages[0], "content": f"{messages[0]['content']}\n\n{instructions}"}
        return (first, *messages[1:])
    return ({"role": "system", "content": instructions}, *messages)


async def written(
    task: FusionTask,
    call: ExpertCall,
    best: Answer,
    report: FusionReport,
    read: Read = pass_through,
) -> AsyncGenerator[AnswerChunk, None]:
    """Ask for the fused answer; when nobody writes its first chunk, `best` is returned and the note says so.

    `read` makes chunks of the writer's stream.
    """
    stream = task.ask(call)
    try:
        await stream.prime()
    except ExpertError as error:
        report.failures.append(Failure(stream.expert, 0.0, f"fuser: {error}", error))
        report.note = "; ".join(filter(None, [report.note, "the fuser failed: the best single answer is returned"]))
        report.answered_by = best.expert
        return replay(best.answer)
    report.fuser = report.answered_by = stream.expert
    return read(stream, report)
