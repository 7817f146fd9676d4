"""`knowledge`: specialists write short background, filters keep what helps, and the generalist answers.

Knowledge Card's bottom-up mode (2305.09955): the texts are filtered by length, relevance and support (see
aggregator.background), the best supported first, as long as they fit the token budget, and shown as quoted data. The
generalist is the fuser; it answers alone when nothing is kept, whatever the quorum, and when it cannot answer the
candidates do as in `single`. A request that offers tools is left to the primary.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aggregator.asides import gather_texts, remark
from aggregator.asking import as_chosen, aside_parameters, asked, instructed
from aggregator.background import estimated_tokens, screened
from aggregator.prompts import background_instructions, informed_instructions, passage
from aggregator.strategies.panel import offers_tools, written_or_alone
from aggregator.strategies.single import Single
from aggregator.types import Answer, FusionReport, FusionTask, Step
from experts.types import AnswerChunk, Message

ENOUGH_WORDS = 4
"""A last message of fewer words ("and of Uganda?") is read together with the one before."""


class Knowledge:
    """Let a generalist answer with background by specialists."""

    name = "knowledge"

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the generalist's answer; see `Strategy.fuse`."""
        alone = [candidate.expert for candidate in task.candidates] == [task.fuser]
        if why := "there is no other specialist" if alone else offers_tools(task):
            remark(report, f"{why}: the primary answers alone")
            chunks = Single().fuse(task, report)
        else:
            passages = _passages(await _written(task, report), task, report)
            instructions = informed_instructions(passages) if passages else ""
            chunks = await written_or_alone(task, instructions, report)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


async def _written(task: FusionTask, report: FusionReport) -> list[Answer]:
    """Return the background that arrived, heaviest author first; none is no failure."""
    specialists = [candidate for candidate in task.candidates if candidate.expert != task.fuser] or task.candidates
    messages = instructed(task.messages, background_instructions(task.config.knowledge.max_words))
    parameters = aside_parameters(task)
    heard = specialists[: task.config.max_calls - 1]  # the call that is left is for who answers
    calls = [asked(task, as_chosen(candidate), messages, parameters) for candidate in heard]
    found, missed = await gather_texts(calls, task, report)
    if missed is not None:
        remark(report, "fewer specialists than the quorum wrote background")
    report.steps.extend(Step("background", one.expert, one.text, usage=one.answer.usage) for one in found)
    return sorted(found, key=lambda answer: -answer.weight)


def _passages(written: list[Answer], task: FusionTask, report: FusionReport) -> list[str]:
    """Return what is shown to the generalist, best supported first, within the budget."""
    options = task.config.knowledge
    found = screened([(answer.expert, answer.text) for answer in written], asked_about(task.messages), options)
    left_out = {written[number].expert: why for number, why in found.dropped.items()}
    passages, budget = list[str](), options.budget_tokens
    for number, text in found.kept:
        shown = passage(written[number].expert, written[number].domains, text)
        if (tokens := estimated_tokens(shown)) <= budget:
            passages.append(shown)
            budget -= tokens
        else:
            left_out[written[number].expert] = "beyond the token budget"
    if left_out:
        remark(report, "left out: " + ", ".join(f"{expert} ({why})" for expert, why in left_out.items()))
    if not passages:
        remark(report, "no background was kept: the generalist answers alone")
    return passages


def asked_about(messages: tuple[Message, ...]) -> str:
    """Return the words that background must speak of: the client's last message, or its last two when it is short."""
    said = [_text(message.get("content")) for message in messages if message.get("role") == "user"]
    return " ".join(said[-2:] if said and len(said[-1].split()) < ENOUGH_WORDS else said[-1:])


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
