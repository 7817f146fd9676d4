"""Small worlds for fusion tests: streams that say, fail or stall on cue, without any network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from aggregator.types import Candidate
from experts.errors import ExpertError, ExpertUnavailable
from experts.types import AnswerChunk, CallFacts, ExpertCall, ExpertStream, Usage


def says(
    expert: str,
    text: str,
    weight: float = 1.0,
    *,
    after: float = 0.0,
    closed: list[str] | None = None,
    quality: float | None = None,
) -> Candidate:
    """Return a candidate that answers `text` after some seconds; `closed` notes when its stream ends."""

    async def chunks(facts: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
        try:
            facts.attempts = 1
            await asyncio.sleep(after)
            for part in (text[: len(text) // 2], text[len(text) // 2 :]):
                yield AnswerChunk(raw={"choices": [{"index": 0, "delta": {"content": part}}]}, text=part)
            end = {"index": 0, "delta": {}, "finish_reason": "stop"}
            yield AnswerChunk(raw={"choices": [end]}, finish_reason="stop")
            facts.usage = Usage(2, 3)
            usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
            yield AnswerChunk(raw={"choices": [], "usage": usage}, usage=facts.usage)
        finally:
            if closed is not None:
                closed.append(expert)

    return Candidate(ExpertStream(ExpertCall(expert, ()), chunks), weight, quality)


def fails(expert: str, weight: float = 1.0, error: ExpertError | None = None) -> Candidate:
    """Return a candidate whose expert cannot answer."""

    async def chunks(facts: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
        facts.attempts = 1
        if expert:
            raise error or ExpertUnavailable(expert, f"{expert} is down")
        yield AnswerChunk(raw={"choices": []})

    return Candidate(ExpertStream(ExpertCall(expert, ()), chunks), weight)
