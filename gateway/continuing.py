"""A streamed answer that breaks off, continued by another expert: only where `routing.continue_on_failure` says so.

Nobody switches silently: the first chunk of the continuation carries `continued`: by whom, and after what. Only plain
text can be continued; what has a form (tool calls, JSON, several choices, log probabilities) breaks off as ever, and so
does what is passed on from another endpoint.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from experts.errors import ExpertError
from experts.types import AnswerChunk, CallFacts, ExpertCall, ExpertName, ExpertStream
from gateway.schemas import ChatRequest
from gateway.usage.meter import estimated

FORMED = ("tools", "functions", "logprobs", "top_logprobs", "stop", "audio", "prediction")
GO_ON = (
    "Your answer above was cut off. Write only what follows, beginning at the very character where it stopped: "
    "repeat nothing of it, and do not mention the interruption."
)
Ask = Callable[[ExpertCall], ExpertStream]


def can_be_continued(request: ChatRequest) -> bool:
    """Say whether the answer is plain text, which another expert can take up anywhere."""
    parameters = request.parameters
    shape = parameters.get("response_format")
    plain = not isinstance(shape, dict) or shape.get("type") in (None, "text")
    if request.relay is not None or not request.stream or not plain:  # what is relayed could only be asked for anew
        return False
    return parameters.get("n") in (None, 1) and not any(map(parameters.get, FORMED))


def continued(stream: ExpertStream, stand_ins: Sequence[ExpertName], ask: Ask) -> ExpertStream:
    """Return the same answer, taken up by the first of `stand_ins` where it breaks off after its first token.

    Each expert is booked what it took itself: the one that broke off by the meter's estimate, the other in
    `facts.continuation`. Whoever holds it closes it, and with it the one given. A continuation that breaks off as well
    is not continued.
    """

    async def chunks(facts: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
        said: list[str] = []
        events = 0
        try:
            async with stream:
                async for chunk in stream:
                    said.append(chunk.text)
                    events += chunk.events
                    yield chunk
            return
        except ExpertError as failure:
            another = next((name for name in stand_ins if name != stream.expert), None)
            if another is None or not failure.retryable or not "".join(said):
                raise
            broken = failure
        text = "".join(said)
        facts.usage = estimated(stream.call, events, len(text))
        async with ask(_going_on(stream.call, another, text)) as rest, aclosing(_marked(rest, broken)) as marked:
            facts.continuation = rest.facts
            async for chunk in marked:
                yield chunk

    return ExpertStream(stream.call, chunks, stream.facts)


async def _marked(rest: ExpertStream, broken: ExpertError) -> AsyncGenerator[AnswerChunk, None]:
    """Yield the continuation, its first chunk with what happened."""
    begun = False
    async for chunk in rest:
        if not begun and chunk.text:
            begun = True
            facts = {"by": rest.expert, "after": f"{broken.expert}: {type(broken).__name__}"}
            chunk = replace(chunk, raw={**chunk.raw, "continued": facts}, words=())
        if begun or chunk.speaks:
            yield chunk


def _going_on(call: ExpertCall, expert: ExpertName, said: str) -> ExpertCall:
    answer = {"role": "assistant", "content": said}
    return replace(call, expert=expert, messages=(*call.messages, answer, {"role": "user", "content": GO_ON}))
