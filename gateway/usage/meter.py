"""What one request takes, call by call: also calls that were cut off, lost a race, or belong to nobody's answer.

A call that ran to its end says its usage itself. One that was cut off does not; its prompt is then estimated by its
characters, and its answer is taken to have a token a chunk, or a token per four characters where that is more.
A call that failed before it said anything has taken nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from experts.types import AnswerChunk, CallFacts, ExpertCall, ExpertName, ExpertStream, Usage
from router.conversation import message_text

CHARACTERS_PER_TOKEN = 4


class Meter:
    """Adds up what the calls of one request take, by the expert that really answered; `calls` are those that ended."""

    def __init__(self) -> None:
        self.used: dict[ExpertName, Usage] = {}
        self.calls: list[CallFacts] = []

    @property
    def total(self) -> Usage:
        """All calls together."""
        return sum(self.used.values(), Usage())

    def read(self, stream: ExpertStream) -> ExpertStream:
        """Return the same answer as a stream that is metered. Whoever holds it closes it, and with it the one given."""

        async def chunks(_: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
            said = characters = 0
            try:
                async with stream:
                    async for chunk in stream:
                        said += chunk.events
                        characters += len(chunk.text)
                        yield chunk
            finally:
                self.calls.append(stream.facts)
                if stream.facts.usage is not None:
                    self._add(stream.facts.expert, stream.facts.usage)
                elif said:
                    self._add(stream.facts.expert, estimated(stream.call, said, characters))

        return ExpertStream(stream.call, chunks, stream.facts)

    def _add(self, expert: ExpertName, usage: Usage) -> None:
        self.used[expert] = self.used.get(expert, Usage()) + usage


def estimated(call: ExpertCall, pieces: int, characters: int) -> Usage:
    """Return what a call took that was cut off after so many pieces, of so many characters together."""
    read = sum(len(message_text(message)) for message in call.messages)
    return Usage(read // CHARACTERS_PER_TOKEN, max(pieces, characters // CHARACTERS_PER_TOKEN))
