"""Answer one line of a batch as a chat request would be, in steps that can be apart in time.

route       who is asked; the decision is kept as JSON so that a restarted gateway need not decide again
alone       the whole answer of a line that one expert answers
candidate   one expert's answer to a line that several answer, kept until the others have answered too
fused       the one answer made of those kept; experts not asked yet are asked here, when the strategy wants them
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from aggregator.replay import replay
from aggregator.types import FusedAnswer
from experts.depth import deeper
from experts.errors import ExpertUnavailable
from experts.registry import Snapshot
from experts.types import BATCH_PRIORITY, AnswerChunk, CallFacts, ExpertAnswer, ExpertCall, ExpertStream, Usage
from gateway.errors import InvalidRequest
from gateway.limits import Gate, Visit
from gateway.metrics import Metrics
from gateway.pipeline import Answering, Pipeline
from gateway.planning import CASCADE, VOTE
from gateway.schemas import ANY_EXPERT, TOO_DEEP, ChatRequest, parse_chat
from gateway.translate import Envelope, explanation, whole_body
from router.types import Assignment, RoutingDecision

PATIENCE_MS = 3_600_000.0
"""What one line may take, waiting for a place included; the expert's first-token and idle limits hold as ever."""
STAGED = frozenset({VOTE, CASCADE})
LAST_RESORT = frozenset({"decompose"})
"""Strategies that ask those who were assigned only when all else has failed."""


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers a line and how: as much of the decision as is needed to go on after a restart."""

    decision: RoutingDecision
    fusion: str
    explained: Mapping[str, Any] | None = None

    @property
    def several(self) -> bool:
        """Whether its answer is made of several experts' answers."""
        return self.fusion != "single"

    @property
    def places(self) -> tuple[int, ...]:
        """Which of the assigned experts are asked at once; the others only if the strategy then wants them."""
        assigned = len(self.decision.assignments)
        if not self.several:
            return (0,)
        if self.fusion in LAST_RESORT:
            return ()
        if self.fusion not in STAGED:
            return tuple(range(assigned))
        return tuple(range((self.decision.stages or ((1,) if self.fusion == CASCADE else (assigned,)))[0]))

    def as_json(self) -> dict[str, Any]:
        """Return it as the journal keeps it."""
        decision = self.decision
        return {
            "assignments": [[each.expert, each.weight, each.thinking] for each in decision.assignments],
            "policy": decision.policy,
            "confidence": decision.confidence,
            "domains": dict(decision.domains),
            "fallbacks": list(decision.fallbacks),
            "stages": list(decision.stages),
            "fusion": self.fusion,
            "explained": self.explained,
        }


def route_of(kept: Mapping[str, Any]) -> Route:
    """Return the route that was kept as JSON."""
    decision = RoutingDecision(
        assignments=tuple(Assignment(*each) for each in kept["assignments"]),
        policy=kept["policy"],
        confidence=kept["confidence"],
        domains=kept.get("domains", {}),
        fallbacks=tuple(kept["fallbacks"]),
        stages=tuple(kept["stages"]),
        fusion=kept["fusion"],
    )
    return Route(decision, kept["fusion"], kept["explained"])


class Answerer:
    """Answers lines through the pipeline, behind everything that somebody waits for.

    Args:
        pipeline: as for every request; borrowed.
        metrics: where decisions and answers are counted; None where nobody looks.
        key: the id of the key whose batch it is.
        model: of bodies that name none.
        gate: says what the key may use; None where it may use all.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        metrics: Metrics | None,
        key: str = "",
        model: str = "auto",
        gate: Gate | None = None,
    ) -> None:
        self._pipeline, self._metrics, self._key, self._model = pipeline, metrics, key, model
        self._gate = gate

    async def route(self, body: Mapping[str, Any]) -> Route:
        """Decide who answers.

        Raises:
            RequestError: the body is not a chat request, or names nobody; the key does not hold any more.
            RoutingError: nobody may answer it.
        """
        await self._admitted()
        request = self._request(body)
        decision = await self._pipeline.decide(request, self._key)
        fusion = self._pipeline.fusion_of(request, decision)
        if self._metrics is not None:
            self._metrics.decided(decision)
        explained = explanation(decision, fusion, ()) if request.options.explain else None
        return Route(decision, fusion.strategy, explained)

    async def alone(self, body: Mapping[str, Any], route: Route) -> dict[str, Any]:
        """Return the chat completion of a line that one expert answers.

        Raises:
            ExpertError: it could not, nor could those that stand in.
        """
        return await self.fused(body, route, {})

    async def candidate(self, body: Mapping[str, Any], route: Route, place: int) -> dict[str, Any]:
        """Return one assigned expert's answer, as JSON to be kept.

        Raises:
            ExpertError: it could not answer.
        """
        await self._admitted()  # what it takes is noted when its line is fused
        streams = self._pipeline.calls(self._request(body), route.decision, self._world(route))
        return _kept(await streams[place].read())

    async def fused(
        self, body: Mapping[str, Any], route: Route, kept: Mapping[int, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return the chat completion made of the answers kept, by place, and of those still to be asked for.

        Raises:
            FusionError: too few could answer.
            ExpertError: the only expert could not.
        """
        request, calls = self._request(body), route.decision.assignments
        known = {place: _told_again(calls[place].expert, request, answer) for place, answer in kept.items()}
        visit = await self._admitted()
        answering = self._pipeline.open(request, route.decision, self._world(route), known)
        try:
            answer = await answering.stream.read()
        finally:
            await answering.stream.aclose()
            visit.end(answering.meter.used)
            if self._metrics is not None:
                self._metrics.answered(answering.stream.report)
                self._metrics.called(answering.meter.calls)
        return self._body(answer, answering, route)

    def _body(self, answer: FusedAnswer, answering: Answering, route: Route) -> dict[str, Any]:
        explained = None
        if route.explained is not None:
            explained = {**route.explained, "ignored": list(answering.ignored)}
        return whole_body(answer, Envelope.begin(uuid.uuid4().hex, explained))

    def _request(self, body: Mapping[str, Any]) -> ChatRequest:
        """Return the body as a request of the batch's own priority and patience.

        Raises:
            InvalidRequest: it is none.
        """
        if deeper(body):
            raise InvalidRequest(TOO_DEEP)
        request = parse_chat(orjson.dumps({"model": self._model, **body}), {})
        ours = {"priority": BATCH_PRIORITY, "deadline_ms": PATIENCE_MS}
        options = request.options.model_copy(update=ours)
        within = ANY_EXPERT if self._gate is None else self._gate.within(self._key)
        return replace(request, stream=False, options=options, session=None, within=within)

    async def _admitted(self) -> Visit:
        """Return the line's visit; see `Gate.admit_line`."""
        return Visit({}, lambda _: None) if self._gate is None else await self._gate.admit_line(self._key)

    def _world(self, route: Route) -> Snapshot:
        """Return the experts there are.

        Raises:
            ExpertUnavailable: one that was to answer is not there any more.
        """
        world = self._pipeline.registry.snapshot
        for assignment in route.decision.assignments:
            if assignment.expert not in world:
                told = f"Expert '{assignment.expert}' is not registered any more."
                raise ExpertUnavailable(assignment.expert, told)
        return world


def _kept(answer: ExpertAnswer) -> dict[str, Any]:
    return {
        "expert": answer.expert,
        "body": answer.body,
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "usage": [answer.usage.prompt_tokens, answer.usage.completion_tokens],
        "attempts": answer.facts.attempts,
    }


def _told_again(expert: str, request: ChatRequest, kept: Mapping[str, Any]) -> ExpertStream:
    """Return a kept answer as a stream that says it again."""
    facts = CallFacts(expert=kept["expert"], attempts=kept["attempts"])
    usage = Usage(*kept["usage"])
    answer = ExpertAnswer(kept["expert"], kept["body"], kept["text"], kept["finish_reason"], usage, facts)

    async def chunks(told: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
        told.expert, told.attempts, told.usage = answer.expert, facts.attempts, usage
        async for chunk in replay(answer):
            yield chunk

    return ExpertStream(ExpertCall(expert, request.messages, request.parameters), chunks)
