"""Turn a whole answer back into chunks, so that a chosen candidate leaves through the same stream as any."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from aggregator.types import FusionReport
from experts.types import AnswerChunk, ExpertAnswer, ExpertStream, Usage


async def replay(answer: ExpertAnswer) -> AsyncGenerator[AnswerChunk, None]:
    """Yield one chunk per choice, verbatim, then the finish reasons and usage."""
    envelope = {k: v for k, v in answer.body.items() if k not in ("choices", "usage", "object")}
    envelope["object"] = "chat.completion.chunk"
    for choice in answer.body["choices"]:
        delta = _delta(choice["message"])
        part = {**choice, "delta": delta, "finish_reason": None}
        del part["message"]
        text = answer.text if choice["index"] == 0 else ""
        yield AnswerChunk(raw={**envelope, "choices": [part]}, text=text)
        end = {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
        yield AnswerChunk(raw={**envelope, "choices": [end]}, finish_reason=choice["finish_reason"])
    if usage := answer.body.get("usage"):
        yield AnswerChunk(raw={**envelope, "choices": [], "usage": usage}, usage=answer.usage)


def _delta(message: dict[str, Any]) -> dict[str, Any]:
    delta = dict(message)
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
    return delta


async def pass_through(stream: ExpertStream, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
    """Yield a live stream's chunks and note who answered, in how many attempts, at whose usage."""
    async with stream:
        chunks = aiter(stream)
        try:
            first = await anext(chunks, None)
        finally:
            report.attempts += stream.facts.attempts
        report.answered_by = stream.expert
        report.first_token_seconds = stream.facts.first_token_seconds
        try:
            if first is not None:
                yield first
                async for chunk in chunks:
                    yield chunk
        finally:
            facts = stream.facts
            report.used(facts.expert, facts.usage or Usage())
            if (rest := facts.continuation) is not None:
                report.attempts += rest.attempts
                report.used(rest.expert, rest.usage or Usage())
