"""The words every room speaks: what is asked of an expert and what comes back.

Every answer type has a live twin. A stream is lazy: nothing is sent until its first chunk is
awaited, and `await stream.read()` turns it into the whole answer. There is no second code path.

    ExpertCall   what to ask one expert            Dispatch      the calls one request becomes
    Relay        a request to another endpoint than chat, passed on as it came    RelayChunk  a piece of its answer
    ExpertStream an answer being written           ExpertAnswer  the same answer, whole
    AnswerChunk  one piece of it                   Usage         what it cost in tokens
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import orjson

from experts.assembly import assemble

ExpertName: TypeAlias = str
Domain: TypeAlias = str
Message: TypeAlias = Mapping[str, Any]
"""One chat message exactly as the client wrote it (OpenAI's wire shape); unknown fields survive."""
Endpoint: TypeAlias = Literal["chat", "completions", "embeddings", "responses", "messages"]
"""What a server may be asked: "chat" is /v1/chat/completions, every other one the path /v1/ and its name."""
BATCH_PRIORITY = -100
"""The priority of work nobody waits for; at or below it a call is background work (see `experts.admission`)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written. Adding two gives the usage of both calls together."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Relay:
    """A request that goes to the server as the client wrote it, but for the model's name between its two halves.

    Args:
        endpoint: where it goes.
        before, after: the body around the model's name.
        headers: those of the client's that belong to the endpoint's protocol.
        stream: whether the answer is to come as events.
    """

    endpoint: Endpoint
    before: bytes
    after: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: bool = False

    def body(self, model: str) -> bytes:
        """Return the body with a model's name in its place."""
        return self.before + orjson.dumps(model) + self.after


@dataclass(frozen=True, slots=True)
class ExpertCall:
    """One question to one expert.

    Args:
        expert: whom to ask.
        messages: the conversation, oldest first.
        parameters: everything else of the request body, passed to the server untouched.
        deadline_seconds: total time allowed from the first attempt to the last chunk; None means the
            expert's own limit. All attempts and fallbacks share it.
        first_token_seconds: the same until the first token; None means no more than the expert's own limit.
        idle_seconds: the longest pause between tokens that the request allows; None means the expert's own limit.
        priority: higher is served first where calls wait for a place.
        client: whose it is; those who wait at the same priority take turns by it.
        share: how many turns that client has for each one of a client with share 1.
        session: the client's name for the conversation; empty where it gave none.
        relay: what is sent instead, to another endpoint; `messages` then only say what it is about.
        joined: nobody watches the answer being written: pieces of text that come together may be given as one.
    """

    expert: ExpertName
    messages: tuple[Message, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    deadline_seconds: float | None = None
    first_token_seconds: float | None = None
    idle_seconds: float | None = None
    priority: int = 0
    client: str = ""
    share: int = 1
    session: str = ""
    relay: Relay | None = None
    joined: bool = False

    @property
    def background(self) -> bool:
        """Whether this is work nobody waits for."""
        return self.priority <= BATCH_PRIORITY

    @property
    def in_one_piece(self) -> bool:
        """Whether nothing of the answer comes before all of it, so that waiting for a first token says nothing."""
        return self.relay is not None and not self.relay.stream


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The calls one request becomes, best first, and who stands in when all of an expert's replicas fail.

    `fallbacks` are tried in order, each at most once, before the first chunk only.
    """

    calls: tuple[ExpertCall, ...]
    fallbacks: tuple[ExpertName, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerChunk:
    """One piece of an answer: the server's own chat.completion.chunk, and what we read from it.

    `text` is the visible content added to choice 0, empty for role, tool-call and usage chunks. Events that came
    together and differ in their text alone may be one chunk, which costs a fraction of it: `words` then has the text of
    each, as JSON writes it between the quotes, and `raw` and `text` that of all.
    """

    raw: Mapping[str, Any]
    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    words: tuple[bytes, ...] = ()

    @property
    def events(self) -> int:
        """How many events of the server it was."""
        return len(self.words) or 1

    @property
    def speaks(self) -> bool:
        """Whether a client can see anything in it beyond whose turn it is."""
        if self.finish_reason or self.usage:
            return True
        deltas = (choice.get("delta") or {} for choice in self.raw["choices"])
        return any(value for delta in deltas for key, value in delta.items() if key != "role")


@dataclass(frozen=True, slots=True)
class RelayChunk(AnswerChunk):
    """One piece of a relayed answer: an event, or the whole body, as the server wrote it; `raw` says nothing.

    `hollow` is an event that announces an answer without beginning it.
    """

    data: bytes = b""
    content_type: str = "text/event-stream"
    hollow: bool = False

    @property
    def speaks(self) -> bool:
        """Whether the answer has begun with it."""
        return not self.hollow


@dataclass(slots=True)
class CallFacts:
    """What happened while a call ran; filled in by the dispatcher as it happens.

    `expert` is who really answers: it differs from the call's when a fallback stepped in.
    `hedges` are attempts that were made beside a slow one.
    `continuation` is the call that went on with the answer where this one broke off.
    Times are seconds since the first attempt began; `waited_seconds` is when the last one got a place.
    """

    expert: ExpertName
    attempts: int = 0
    hedges: int = 0
    replica: str | None = None
    failures: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    waited_seconds: float = 0.0
    first_token_seconds: float | None = None
    total_seconds: float | None = None
    usage: Usage | None = None
    continuation: CallFacts | None = None


@dataclass(frozen=True, slots=True)
class ExpertAnswer:
    """A whole answer.

    `body` is an OpenAI chat.completion built from every chunk: all choices, tool calls, log
    probabilities and unknown fields included. `text` is the visible content of choice 0.
    """

    expert: ExpertName
    body: Mapping[str, Any]
    text: str
    finish_reason: str | None
    usage: Usage
    facts: CallFacts


class ExpertStream:
    """An answer while it is written. Whoever holds it closes it (`async with`), or reads it to the end.

    Args:
        call: what is asked.
        open_chunks: begins the answer; called once, when the first chunk is awaited.
        facts: what happens is written there; those of another stream where this is the same answer, seen by others.
    """

    def __init__(
        self,
        call: ExpertCall,
        open_chunks: Callable[[CallFacts], AsyncGenerator[AnswerChunk, None]],
        facts: CallFacts | None = None,
    ) -> None:
        self.call = call
        self.facts = CallFacts(expert=call.expert) if facts is None else facts
        self._open_chunks = open_chunks
        self._chunks: AsyncGenerator[AnswerChunk, None] | None = None
        self._primed: AnswerChunk | None = None

    @property
    def expert(self) -> ExpertName:
        """Who answers, which is a fallback's name once one has stepped in."""
        return self.facts.expert

    @property
    def asked(self) -> bool:
        """Whether its first chunk was ever awaited; it may have failed without a single attempt, in a full queue."""
        return self._chunks is not None

    async def prime(self) -> None:
        """Await the first chunk and keep it, so that an early failure can still become an HTTP status.

        Raises:
            ExpertError: nobody could answer.
        """
        if self._chunks is None:
            self._primed = await anext(self._opened(), None)

    def __aiter__(self) -> AsyncIterator[AnswerChunk]:
        primed, self._primed = self._primed, None
        chunks = self._opened()
        return chunks if primed is None else _with_first(primed, chunks)

    def _opened(self) -> AsyncGenerator[AnswerChunk, None]:
        if self._chunks is None:
            self.facts.started = time.monotonic()
            self._chunks = self._open_chunks(self.facts)
        return self._chunks

    async def read(self) -> ExpertAnswer:
        """Read to the end and return the whole answer."""
        async with self:
            chunks = [chunk async for chunk in self]
        return whole_answer(chunks, self.facts)

    async def aclose(self) -> None:
        """Stop the answer here; the server's request is aborted."""
        if self._chunks is not None:
            await self._chunks.aclose()

    async def __aenter__(self) -> ExpertStream:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


async def _with_first(first: AnswerChunk, rest: AsyncGenerator[AnswerChunk, None]) -> AsyncGenerator[AnswerChunk, None]:
    yield first
    async for chunk in rest:
        yield chunk


def whole_answer(chunks: list[AnswerChunk], facts: CallFacts) -> ExpertAnswer:
    """Join chunks, oldest first, into the answer a client would have got without streaming."""
    return ExpertAnswer(
        expert=facts.expert,
        body=assemble([chunk.raw for chunk in chunks]),
        text="".join(chunk.text for chunk in chunks),
        finish_reason=next((c.finish_reason for c in reversed(chunks) if c.finish_reason), None),
        usage=next((c.usage for c in reversed(chunks) if c.usage), Usage()),
        facts=facts,
    )
