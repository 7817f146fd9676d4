"""Panels as the aggregator sees them: what a fuser is sent for one, and what a vote makes of one. Asks nobody."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from aggregator import Aggregator, FusionConfig
from aggregator.replay import replay
from aggregator.strategies.auto import dominant
from aggregator.strategies.synthesize import fuser_call
from aggregator.types import Answer, Candidate, FusionTask
from experts.errors import ExpertUnavailable
from experts.fusing_exam import Panel, Seat
from experts.types import AnswerChunk, CallFacts, ExpertAnswer, ExpertCall, ExpertName, ExpertStream, Usage

VOTE = "vote"


def call_for(
    panel: Panel, fuser: ExpertName, parameters: Mapping[str, Any], config: FusionConfig | None = None
) -> ExpertCall:
    """Return what `synthesize` would send a fuser for this panel."""
    used = config or FusionConfig()
    answers = [_answer(seat) for seat in panel.seats]
    return fuser_call(_task(panel, used, fuser, parameters), answers, tell_adopting=used.synthesize.adopt == "told")


def adoptable(panel: Panel, config: FusionConfig) -> Mapping[ExpertName, str]:
    """Return the answers that a fuser may adopt by naming their expert."""
    return {} if config.synthesize.adopt == "never" else {seat.expert: seat.text for seat in panel.seats}


async def voted(panel: Panel, config: FusionConfig) -> str:
    """Return the answer that a vote on this panel gives."""
    stream = Aggregator().fuse(_task(panel, config), VOTE)
    return (await stream.read()).answer.text


def dominated(panel: Panel) -> bool:
    """Say whether `auto` would leave this panel's question to one member, whatever is found to pay."""
    return dominant(_task(panel, FusionConfig()).candidates) is not None


def _task(
    panel: Panel, config: FusionConfig, fuser: ExpertName | None = None, parameters: Mapping[str, Any] | None = None
) -> FusionTask:
    candidates = tuple(Candidate(_told_again(seat), seat.weight, seat.quality, seat.domains) for seat in panel.seats)
    return FusionTask(
        candidates=candidates,
        messages=panel.question.messages,
        ask=_nobody,
        parameters=parameters or {},
        fuser=fuser,
        config=config,
    )


def _nobody(call: ExpertCall) -> ExpertStream:
    raise ExpertUnavailable(call.expert, f"Nobody asks '{call.expert}' while a recorded panel votes.")


def _answer(seat: Seat) -> Answer:
    message = {"role": "assistant", "content": seat.text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": seat.expert, "object": "chat.completion", "created": 0, "model": seat.expert, "choices": [choice]}
    whole = ExpertAnswer(seat.expert, body, seat.text, "stop", Usage(), CallFacts(seat.expert))
    return Answer(whole, seat.weight, seat.quality, seat.domains)


def _told_again(seat: Seat) -> ExpertStream:
    """Return a recorded answer as a stream that says it again."""

    async def chunks(_: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
        async for chunk in replay(_answer(seat).answer):
            yield chunk

    return ExpertStream(ExpertCall(seat.expert, ()), chunks)
