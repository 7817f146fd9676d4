"""`panel`: fixed roles report, each from its side, and one general expert decides over their quoted reports.

TradExpert (2411.00782): the same seats for every question, a general expert that reads their texts. A seat that fails
or comes late is left out; when nobody can decide, the primary answers the question alone. Without configured roles each
candidate speaks for its own domains. Reports are no answers: a request that offers tools is left to the primary.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import cycle

from aggregator.asides import gather_texts, remark
from aggregator.asking import as_chosen, aside_parameters, asked, instructed, writing_parameters
from aggregator.config import RoleConfig
from aggregator.prompts import deciding_instructions, role_instructions
from aggregator.replay import pass_through
from aggregator.strategies.single import Single
from aggregator.types import Candidate, Chosen, Failure, FusionReport, FusionTask, Step
from experts.errors import ExpertError
from experts.types import AnswerChunk, ExpertCall

ITS_OWN_SIDE = "Look at it as an expert for {}: what matters from this side, why, and what follows from it?"


@dataclass(frozen=True, slots=True)
class Seat:
    """Who speaks in which role."""

    role: str
    instructions: str
    chosen: Chosen


class Panel:
    """Let one expert decide over reports from several sides."""

    name = "panel"

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the decision; see `Strategy.fuse`."""
        alone = (len(task.candidates) == 1 and not task.config.panel.roles) or task.config.max_calls == 1
        if why := "nobody else has a seat" if alone else offers_tools(task):
            remark(report, f"{why}: the primary answers alone")
            chunks = Single().fuse(task, report)
        else:
            instructions = deciding_instructions(await _reports(task, report))
            chunks = await written_or_alone(task, instructions, report)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


def seats(roles: Sequence[RoleConfig], candidates: Sequence[Candidate]) -> list[Seat]:
    """Return who sits where: named experts on their seats, the candidates that have none in turn on the others."""
    if not roles:
        return [_own_seat(candidate) for candidate in candidates]
    known = {candidate.expert: as_chosen(candidate) for candidate in candidates}
    named = {role.expert for role in roles}
    in_turn = cycle([who for name, who in known.items() if name not in named] or known.values())
    return [
        Seat(
            role.name,
            role.instructions,
            next(in_turn) if role.expert is None else known.get(role.expert, Chosen(role.expert, 1 / len(roles))),
        )
        for role in roles
    ]


def _own_seat(candidate: Candidate) -> Seat:
    side = " and ".join(candidate.domains) or "everything"
    return Seat(side, ITS_OWN_SIDE.format(side), as_chosen(candidate))


async def _reports(task: FusionTask, report: FusionReport) -> list[tuple[str, str, str]]:
    """Return (role, expert, text) of every seat that reported; one of the request's calls is kept for the decision.

    Raises:
        QuorumNotReached: too few did.
    """
    parameters, calls, roles = aside_parameters(task), list[Candidate](), dict[int, str]()
    every = seats(task.config.panel.roles, task.candidates)
    if len(every) >= task.config.max_calls:
        remark(report, f"max_calls leaves room for {task.config.max_calls - 1} of {len(every)} seats")
    for seat in every[: task.config.max_calls - 1]:
        messages = instructed(task.messages, role_instructions(seat.role, seat.instructions))
        calls.append(asked(task, seat.chosen, messages, parameters))
        roles[id(calls[-1].stream.facts)] = seat.role
    answers, missed = await gather_texts(calls, task, report)
    if missed is not None:
        raise missed
    for answer in answers:
        role = roles[id(answer.answer.facts)]
        report.steps.append(Step(f"report: {role}", answer.expert, answer.text, usage=answer.answer.usage))
    if len(answers) < len(calls):
        remark(report, f"{len(calls) - len(answers)} of {len(calls)} seats stayed empty")
    return [(roles[id(answer.answer.facts)], answer.expert, answer.text) for answer in answers if answer.text.strip()]


def offers_tools(task: FusionTask) -> str:
    """Say where the client's answer may be a tool call, which no report and no background can lead to; else nothing."""
    offered = task.parameters.get("tools") and task.parameters.get("tool_choice") != "none"
    return "the request offers tools" if offered or task.parameters.get("functions") else ""


async def written_or_alone(
    task: FusionTask, instructions: str, report: FusionReport
) -> AsyncGenerator[AnswerChunk, None]:
    """Ask the general expert; when it gives no first chunk, the candidates answer the client's question as in `single`.

    For strategies whose candidates have not been asked that question.
    """
    general = task.fuser or task.candidates[0].expert
    messages = instructed(task.messages, instructions) if instructions else task.messages
    stream = task.ask(ExpertCall(general, messages, writing_parameters(task)))
    try:
        await stream.prime()
    except ExpertError as error:
        report.attempts += stream.facts.attempts
        report.failures.append(Failure(stream.expert, 0.0, f"fuser: {error}", error))
        remark(report, "the fuser failed: the primary answers alone")
        return Single().fuse(task, report)
    report.fuser = report.answered_by = stream.expert
    return pass_through(stream, report)
