"""A fuser may adopt an answer instead of writing one: it begins with the expert's name and a colon, alone on the line.

The answer is then passed on word for word: nothing is garbled in copying, and nothing is paid for it. Until it is clear
whether the fuser names somebody, at most a line as long as the longest name is held back.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aggregator.asides import remark
from aggregator.replay import pass_through, replay
from aggregator.types import Answer, FusionReport
from experts.fusion_prompt import may_name, named_expert
from experts.types import AnswerChunk, ExpertStream

LONGEST_AFTERWORD = 64
"""Chunks that a fuser may go on writing unread, so that it says its own usage; then it is cut off."""


async def adopting(
    stream: ExpertStream, report: FusionReport, answers: Sequence[Answer]
) -> AsyncGenerator[AnswerChunk, None]:
    """Yield the adopted answer, or what the fuser writes where it names nobody; `report` says which.

    Args:
        stream: the fuser's, primed.
        report: gets who answered before the first chunk.
        answers: what it was shown, in that order.
    """
    async with aclosing(pass_through(stream, report)) as chunks:
        held, text = [], ""
        async for chunk in chunks:
            held.append(chunk)
            text += chunk.text
            if not may_name(text, [answer.expert for answer in answers]):
                break
        place = named_expert(text, [answer.expert for answer in answers])
        if place is not None:
            adopted = answers[place]
            remark(report, f"the fuser adopted {adopted.expert}'s answer")
            report.answered_by = adopted.expert
            async for chunk in replay(adopted.answer):
                yield chunk
            await _read_out(chunks)
            return
        for chunk in held:
            yield chunk
        async for chunk in chunks:
            yield chunk


async def _read_out(chunks: AsyncGenerator[AnswerChunk, None]) -> None:
    for _ in range(LONGEST_AFTERWORD):
        if await anext(chunks, None) is None:
            return
