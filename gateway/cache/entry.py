"""An answer as it is kept, and as it is said again: the same body and facts, whole or in a few chunks. Pure.

What is kept of it is the answer, who wrote it and how it was fused; never the question.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

import orjson

from aggregator.replay import replay
from aggregator.types import Answer, FusedStream, FusionReport, Step
from experts.types import AnswerChunk, CallFacts, ExpertAnswer, ExpertName, Usage

WHOLE = frozenset({"stop", "tool_calls", "function_call"})
CONTINUED = "continued"
"""Stands in an answer that broke off and that another expert went on with (`gateway.continuing`)."""
SAID = ("content", "tool_calls", "function_call", "refusal")


def worth_keeping(answer: ExpertAnswer, report: FusionReport, asked: Iterable[ExpertName], *, bounded: bool) -> bool:
    """Say whether an answer may be given again: whole, and of nobody but those who were chosen.

    Args:
        asked: who was chosen to answer.
        bounded: whether the client said how long it may be; cut off there, it is what was asked for.
    """
    allowed = WHOLE | ({"length"} if bounded else set())
    chosen: set[ExpertName | None] = set(asked)
    wrote: set[ExpertName | None] = {each.expert for each in report.answers} or {report.answered_by}
    choices = answer.body.get("choices") or []
    whole = all(choice["finish_reason"] in allowed for choice in choices)
    says = any(choice["message"].get(field) for choice in choices for field in SAID)
    return whole and says and not report.failures and wrote <= chosen and CONTINUED not in answer.body


def content_of(answer: ExpertAnswer, report: FusionReport) -> bytes:
    """Return an answer and how it came about, as it is kept."""
    told = {
        "answer": _answer(answer),
        "strategy": report.strategy,
        "answered_by": report.answered_by,
        "fuser": report.fuser,
        "note": report.note,
        "unasked": report.unasked,
        "finals": report.finals,
        "usage": {expert: _usage(usage) for expert, usage in report.usage_by_expert.items()},
        "answers": [[_answer(each.answer), each.weight, each.quality, each.domains] for each in report.answers],
        "steps": [[s.question, s.expert, s.text, s.final, _usage(s.usage), s.error] for s in report.steps],
    }
    return orjson.dumps(told)


def stream_of(content: bytes) -> FusedStream:
    """Return a kept answer as a stream that costs nobody anything."""
    told = orjson.loads(content)
    answer = _read_answer(told["answer"])
    report = FusionReport(
        strategy=told["strategy"],
        answered_by=told["answered_by"],
        fuser=told["fuser"],
        note=told["note"],
        unasked=told["unasked"],
        finals=told["finals"],
        usage_by_expert={expert: Usage(*usage) for expert, usage in told["usage"].items()},
        answers=[Answer(_read_answer(each), weight, q, tuple(d)) for each, weight, q, d in told["answers"]],
        steps=[
            Step(q, expert, text, final, Usage(*used), error) for q, expert, text, final, used, error in told["steps"]
        ],
    )
    return FusedStream(_chunks(answer), report)


async def _chunks(answer: ExpertAnswer) -> AsyncGenerator[AnswerChunk, None]:
    async for chunk in replay(answer):
        yield chunk


def _answer(answer: ExpertAnswer) -> dict[str, Any]:
    return {
        "expert": answer.expert,
        "body": answer.body,
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "usage": _usage(answer.usage),
    }


def _read_answer(told: Mapping[str, Any]) -> ExpertAnswer:
    facts = CallFacts(expert=told["expert"])
    usage = Usage(*told["usage"])
    return ExpertAnswer(told["expert"], told["body"], told["text"], told["finish_reason"], usage, facts)


def _usage(usage: Usage) -> list[int]:
    return [usage.prompt_tokens, usage.completion_tokens]
