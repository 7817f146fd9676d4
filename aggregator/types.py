"""What the aggregator reads and gives back.

Candidate    an expert's answer on its way, with the router's weight
Failure      an expert that did not answer, and why
Chosen       an expert the router would ask for a question that comes up while fusing
FusionTask   all a strategy may know: candidates, the conversation, whom to ask for writing
Step         a sub-question that a strategy asked on the way, and what became of it
FusionReport what happened, filled in while it happens
FusedStream  the one answer being written      FusedAnswer  the same, whole
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aggregator.config import FusionConfig
from experts.types import (
    AnswerChunk,
    CallFacts,
    Domain,
    ExpertAnswer,
    ExpertCall,
    ExpertName,
    ExpertStream,
    Message,
    Usage,
    whole_answer,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One expert's answer on its way.

    Args:
        stream: the answer; nothing is sent before it is read.
        weight: the router's; they need not sum to 1 here.
        quality: probability (0..1) that this expert answers this query rightly, where the router knows one.
        domains: what the expert is for, best first; shown to a fuser.
    """

    stream: ExpertStream
    weight: float
    quality: float | None = None
    domains: tuple[Domain, ...] = ()

    @property
    def expert(self) -> ExpertName:
        return self.stream.expert


@dataclass(frozen=True, slots=True)
class Failure:
    """An expert that gave no usable answer."""

    expert: ExpertName
    weight: float
    message: str
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A candidate that was read to its end; `weight`, `quality` and `domains` are the candidate's."""

    answer: ExpertAnswer
    weight: float
    quality: float | None = None
    domains: tuple[Domain, ...] = ()

    @property
    def expert(self) -> ExpertName:
        return self.answer.expert

    @property
    def text(self) -> str:
        return self.answer.text


@dataclass(frozen=True, slots=True)
class FusionLimits:
    """When a strategy stops waiting: after `deadline_seconds`, and never with fewer than `quorum` answers.

    No candidate is waited for longer than `arm_deadline_seconds`, and none longer than `grace_seconds` after the
    quorum was reached; None means that it does not matter.
    """

    quorum: int = 1
    deadline_seconds: float = 60.0
    arm_deadline_seconds: float | None = None
    grace_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """An expert that the router would ask; fields as a `Candidate`'s."""

    expert: ExpertName
    weight: float = 1.0
    quality: float | None = None
    domains: tuple[Domain, ...] = ()


Route: TypeAlias = Callable[[tuple[Message, ...]], Awaitable[tuple[Chosen, ...]]]
"""Whom to ask a question that came up while fusing, best first, under the request's own constraints; never empty."""


@dataclass(frozen=True, slots=True)
class FusionTask:
    """One fusion.

    Args:
        candidates: best first; the first is the primary.
        messages: the conversation as the experts saw it.
        parameters: the client's own parameters, for the fuser's call.
        fuser: who writes in strategies that need a writer; None means the primary.
        ask: opens a call to an expert (lazy): for the fuser, and for every question that is not the client's own.
            When the request's cap on calls or cost is reached, reading its stream raises an ExpertError.
        limits: quorum and deadline.
        stages: how many candidates are asked together before it is looked whether more are needed, for
            strategies that can do without some; empty means all at once, else they sum to the candidates.
        config: the settings of the strategies.
        route: routes a question that came up while fusing; None where nobody can.
    """

    candidates: tuple[Candidate, ...]
    messages: tuple[Message, ...]
    ask: Callable[[ExpertCall], ExpertStream]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    fuser: ExpertName | None = None
    limits: FusionLimits = FusionLimits()
    stages: tuple[int, ...] = ()
    config: FusionConfig = field(default_factory=FusionConfig)
    route: Route | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A sub-question of the client's. `final` is what later ones were told of its answer; `error` why it has none."""

    question: str
    expert: ExpertName | None = None
    text: str = ""
    final: str | None = None
    usage: Usage = field(default_factory=Usage)
    error: str = ""


@dataclass(slots=True)
class FusionReport:
    """What happened in one fusion. `answered_by` is known when the first chunk is; the rest at the end.

    `unasked`: candidates that were not needed and never called. `steps`: sub-questions in the order of their answers.
    """

    strategy: str
    answered_by: ExpertName | None = None
    fuser: ExpertName | None = None
    answers: list[Answer] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unasked: list[ExpertName] = field(default_factory=list)
    note: str = ""
    usage_by_expert: dict[ExpertName, Usage] = field(default_factory=dict)
    attempts: int = 0
    first_token_seconds: float | None = None
    finals: dict[ExpertName, str | None] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    @property
    def usage(self) -> Usage:
        """Tokens of every call together."""
        return sum(self.usage_by_expert.values(), Usage())

    def used(self, expert: ExpertName, usage: Usage) -> None:
        """Add the tokens of one call."""
        self.usage_by_expert[expert] = self.usage_by_expert.get(expert, Usage()) + usage


class FusedStream:
    """The fused answer while it is written. Whoever holds it closes it, or reads it to the end."""

    def __init__(self, chunks: AsyncGenerator[AnswerChunk, None], report: FusionReport) -> None:
        self._chunks = chunks
        self.report = report

    def __aiter__(self) -> AsyncIterator[AnswerChunk]:
        return self._chunks

    async def read(self) -> FusedAnswer:
        """Read to the end and return the whole answer; the body's usage is the sum over every call."""
        chunks = [chunk async for chunk in self]
        from_expert = self.report.answered_by or self.report.strategy
        answer = whole_answer(chunks, CallFacts(expert=from_expert))
        return FusedAnswer(answer=answer, report=self.report)

    async def aclose(self) -> None:
        """Stop here; every expert still writing is aborted."""
        await self._chunks.aclose()


@dataclass(frozen=True, slots=True)
class FusedAnswer:
    """The one answer, whole, and how it came about."""

    answer: ExpertAnswer
    report: FusionReport
