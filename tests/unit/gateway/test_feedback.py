"""What goes on beside requests whose decision read nothing of the question."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.feedback import CALM, Feedback
from gateway.metrics import Metrics
from gateway.schemas import ChatRequest, parse_chat
from router.errors import RoutingError
from router.learning import LearningConfig
from router.types import Assignment, RoutingDecision

NAMED = RoutingDecision(assignments=(Assignment("math", 1.0),), policy="named", confidence=1.0)
ASKED = parse_chat(b'{"model": "math", "messages": [{"role": "user", "content": "3 + 4?"}]}', {})


@pytest.mark.parametrize(("under_way", "read"), [(1, 1), (CALM, 1), (CALM + 1, 0)])
async def test_questions_of_named_experts_are_read_only_while_there_is_time(under_way: int, read: int) -> None:
    reading: list[ChatRequest] = []

    async def reader(request: ChatRequest) -> RoutingDecision:
        reading.append(request)
        raise RoutingError("nobody knows")

    metrics = Metrics(lambda: ())
    metrics.running = under_way
    nothing: Any = SimpleNamespace(arm=lambda request: None, shadow=lambda request, entry: None)
    feedback = Feedback(
        LearningConfig(),
        learner=nothing,
        split=nothing,
        trials=nothing,
        judge=None,
        reader=cast(Any, reader),
        metrics=metrics,
    )
    feedback.decided("request", "key", ASKED, NAMED)
    await asyncio.sleep(0)

    assert read == len(reading)
