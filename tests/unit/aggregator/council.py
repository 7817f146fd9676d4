"""A council for fusion tests: experts that behave as told, whoever asks them, and a record of every stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from aggregator import Aggregator, FusionConfig
from aggregator.budget import Budget
from aggregator.types import Candidate, Chosen, FusedStream, FusionLimits, FusionTask
from experts.errors import ExpertUnavailable
from experts.fusion_prompt import RANKING_INSTRUCTIONS
from experts.planning_prompt import INSTRUCTIONS as PLANNING_INSTRUCTIONS
from experts.types import AnswerChunk, CallFacts, ExpertCall, ExpertName, ExpertStream, Message, Usage

QUESTION = "What is 3 + 4? Reply with only the number."
CLIENTS = ({"role": "user", "content": QUESTION},)
"""The conversation as the client sends it; whatever else an expert sees is a strategy's own."""
WEIGHTS = {"a": 0.5, "b": 0.3, "c": 0.2}
FUSER = "fuser"


def told(messages: tuple[Message, ...]) -> str:
    """Return what an expert is told in its system message."""
    return str(messages[0].get("content")) if messages and messages[0].get("role") == "system" else ""


def always(_: ExpertCall) -> bool:
    """Whatever it is asked."""
    return True


def never(_: ExpertCall) -> bool:
    """Whatever it is asked, not."""
    return False


def asked_by_us(call: ExpertCall) -> bool:
    """When it is asked anything but the client's own question."""
    return call.messages != CLIENTS


@dataclass(frozen=True)
class Arm:
    """How an expert behaves: what it says, after how long, and when it is slow, down or breaks off in the middle."""

    text: str = "Answer: 7"
    after: float = 0.0
    slow: Callable[[ExpertCall], bool] = always
    down: Callable[[ExpertCall], bool] = never
    breaks: Callable[[ExpertCall], bool] = never

    def reply(self, call: ExpertCall) -> str:
        """Return its answer: a plan or a letter where it is asked for one in the usual words."""
        if told(call.messages).startswith(PLANNING_INSTRUCTIONS.partition("%d")[0]):
            return f"1. {QUESTION}"
        return "A" if told(call.messages).startswith(RANKING_INSTRUCTIONS) else self.text


DOWN = Arm(down=always)


@dataclass
class Council:
    """Experts by name, the fuser among them; `opened`, `closed` and `completed` name who was asked and how it ended.

    Args:
        arms: how each behaves; candidates are those that have a weight.
        limits: of the waiting.
        max_calls: the request's cap.
    """

    arms: dict[ExpertName, Arm]
    limits: FusionLimits = field(default_factory=FusionLimits)
    max_calls: int = 99
    parameters: dict[str, Any] = field(default_factory=dict)
    opened: list[ExpertName] = field(default_factory=list)
    closed: list[ExpertName] = field(default_factory=list)
    completed: list[ExpertName] = field(default_factory=list)
    calls: list[ExpertCall] = field(default_factory=list)

    def fuse(self, strategy: str) -> FusedStream:
        """Return the (lazy) fused answer."""
        budget = Budget(self.max_calls)

        def ask(call: ExpertCall) -> ExpertStream:
            return budget.counted(self.stream(call))

        async def route(messages: tuple[Message, ...]) -> tuple[Chosen, ...]:
            return tuple(Chosen(name, WEIGHTS[name]) for name in self.arms if name in WEIGHTS)

        task = FusionTask(
            candidates=tuple(
                Candidate(ask(ExpertCall(name, CLIENTS, self.parameters)), WEIGHTS[name])
                for name in self.arms
                if name in WEIGHTS
            ),
            messages=CLIENTS,
            parameters=self.parameters,
            ask=ask,
            fuser=FUSER,
            limits=self.limits,
            config=FusionConfig(max_calls=self.max_calls),
            route=route,
        )
        return Aggregator().fuse(task, strategy)

    def stream(self, call: ExpertCall) -> ExpertStream:
        """Return an expert's answer, recorded."""
        name, arm = call.expert, self.arms[call.expert]

        async def chunks(facts: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
            self.opened.append(name)
            self.calls.append(call)
            try:
                facts.attempts = 1
                await asyncio.sleep(arm.after if arm.slow(call) else 0.0)
                if arm.down(call):
                    raise ExpertUnavailable(name, f"{name} is down")
                async for chunk in _said(arm.reply(call), name, breaks=arm.breaks(call)):
                    facts.usage = chunk.usage or facts.usage
                    yield chunk
                self.completed.append(name)
            finally:
                self.closed.append(name)

        return ExpertStream(call, chunks)


async def _said(text: str, name: ExpertName, *, breaks: bool) -> AsyncGenerator[AnswerChunk, None]:
    half = len(text) // 2
    yield AnswerChunk(raw={"choices": [{"index": 0, "delta": {"content": text[:half]}}]}, text=text[:half])
    if breaks:
        raise ExpertUnavailable(name, f"{name} broke off")
    yield AnswerChunk(raw={"choices": [{"index": 0, "delta": {"content": text[half:]}}]}, text=text[half:])
    yield AnswerChunk(raw={"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, finish_reason="stop")
    usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    yield AnswerChunk(raw={"choices": [], "usage": usage}, usage=Usage(2, 3))


def council(**arms: Arm) -> Council:
    """Return a council of a, b and c, which disagree, and a fuser that agrees with a; `arms` behave otherwise."""
    usual = {"a": Arm(), "b": Arm("Answer: 8"), "c": Arm("Answer: 9"), FUSER: Arm()}
    return Council({**usual, **arms})
