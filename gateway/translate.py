"""Between the wire and the inside; the only file that knows both.

A request becomes a `Query` and parameters that ride along; chunks and answers get the names, usage and
explanations a client sees. Pure: everything needed is an argument.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from aggregator.strategies.auto import Choice
from aggregator.types import Answer, FusedAnswer, FusedStream, FusionReport, Step
from experts.profile import SkillProfile
from experts.types import AnswerChunk, Usage
from gateway.schemas import ChatRequest
from router.conversation import message_text, modalities
from router.types import Assignment, CandidateScore, Constraints, Objective, Query, RoutingDecision, Thinking

CHARACTERS_PER_TOKEN = 3.0
"""Low on purpose: an expert whose window might be too small is not worth a refused request."""
USUAL_CHARACTERS_PER_TOKEN = 4.0
"""What English text really takes, for what a request is expected to cost."""
TOKENS_PER_PART = 800
TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls")


def to_query(
    request: ChatRequest, profiles: Iterable[SkillProfile], unfit: Mapping[str, str], max_experts: int
) -> Query:
    """Return the routing question a request asks."""
    chosen = request.options.experts
    constraints = Constraints(
        allow=frozenset(chosen.allow),
        deny=frozenset(chosen.deny),
        require_tags=frozenset(chosen.require_tags),
        modalities=modalities(request.messages),
        capabilities=needed_capabilities(request, profiles),
        min_context_tokens=estimated_tokens(request),
        endpoint=request.endpoint,
        unfit=unfit,
    )
    options = request.options
    return Query(
        messages=request.messages,
        constraints=constraints,
        policy=options.policy,
        max_experts=max_experts,
        top_p=options.top_p,
        objective=Objective(options.cost_quality, options.max_cost_usd, options.max_latency_ms),
        thinking=options.thinking,
        prompt_tokens=prompt_tokens(request, USUAL_CHARACTERS_PER_TOKEN),
        max_output_tokens=output_limit(request.parameters),
    )


def needed_capabilities(request: ChatRequest, profiles: Iterable[SkillProfile]) -> frozenset[str]:
    """Return what an expert must be able to do; what no expert at all declares is not asked for.

    A pool that never declares tools would otherwise answer no request that offers some.
    """
    wanted = {"tools"} if request.parameters.get("tools") else set()
    shape = request.parameters.get("response_format")
    if isinstance(shape, dict) and shape.get("type") == "json_schema":
        wanted.add("json_schema")
    offered = {capability for profile in profiles for capability in profile.capabilities}
    return frozenset(wanted & offered)


def estimated_tokens(request: ChatRequest) -> int:
    """Return a cautious estimate of what the conversation and the answer asked for take."""
    return prompt_tokens(request, CHARACTERS_PER_TOKEN) + (output_limit(request.parameters) or 0)


def prompt_tokens(request: ChatRequest, characters_per_token: float) -> int:
    """Return an estimate of what the conversation takes."""
    written = sum(len(message_text(message)) for message in request.messages)
    parts = sum(len(c) for m in request.messages if isinstance(c := m.get("content"), list))
    return round(written / characters_per_token) + TOKENS_PER_PART * max(0, parts - 1)


def output_limit(parameters: Mapping[str, Any]) -> int | None:
    """Return the most tokens that are wanted of an answer, or None where these parameters do not say."""
    asked = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
    return asked if isinstance(asked, int) and asked > 0 else None


def for_expert(parameters: Mapping[str, Any], profile: SkillProfile, thinking: Thinking = "auto") -> dict[str, Any]:
    """Return the parameters this expert can take: tools are left out where it declares none, and the fields of
    its thinking switch come in, under whatever the client set itself.
    """
    fit = {k: v for k, v in parameters.items() if "tools" in profile.capabilities or k not in TOOL_FIELDS}
    if profile.thinking is None or thinking == "auto":
        return fit
    return _merged(profile.thinking.on if thinking == "on" else profile.thinking.off, fit)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, objects joined key by key; where both say something, `above` holds."""
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], Mapping) and isinstance(above[key], Mapping):
            merged[key] = _merged(below[key], above[key])
    return merged


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every piece of one response shares."""

    request_id: str
    created: int
    explanation: Mapping[str, Any] | None = None

    @classmethod
    def begin(cls, request_id: str, explanation: Mapping[str, Any] | None) -> Envelope:
        """Return the envelope of a response that starts now."""
        return cls(request_id, int(time.time()), explanation)

    def around(self, raw: Mapping[str, Any], report: FusionReport) -> dict[str, Any]:
        """Return a chunk or body with our id, and as `model` the expert that answers."""
        ours = {"id": f"chatcmpl-{self.request_id}", "created": self.created, "model": report.answered_by}
        return {**raw, **ours}

    def facts(self, report: FusionReport) -> dict[str, Any]:
        """Return what stands beside the answer: the explanation if asked for, the fusion if there was one."""
        found: dict[str, Any] = {}
        if self.explanation is not None:
            found["routing"] = self.explanation
        if report.strategy != "single":
            found["fusion"] = fusion_facts(report)
        return found


def whole_body(answer: FusedAnswer, envelope: Envelope) -> dict[str, Any]:
    """Return the chat.completion of a fused answer."""
    body = envelope.around(answer.answer.body, answer.report)
    return {**body, "usage": usage_body(answer.report.usage), **envelope.facts(answer.report)}


Piece: TypeAlias = tuple[dict[str, Any], tuple[bytes, ...]]
"""A chunk as a client sees it, and the words of each event where it stands for several."""
NO_WORDS: tuple[bytes, ...] = ()


async def wire_chunks(stream: FusedStream, envelope: Envelope, *, include_usage: bool) -> AsyncGenerator[Piece, None]:
    """Yield the chat.completion.chunks of a fused answer; usage, summed, only where it was asked for.

    The chunk that finishes the answer is held until everything is known that has to stand in it.
    """
    held: AnswerChunk | None = None
    async for chunk in stream:
        if held is not None and chunk.raw["choices"]:
            yield _plain(envelope.around(held.raw, stream.report), include_usage), NO_WORDS
            held = None
        if chunk.finish_reason:
            held = chunk
        elif chunk.raw["choices"]:
            yield _plain(envelope.around(chunk.raw, stream.report), include_usage), chunk.words
    if held is not None:
        last = envelope.around(held.raw, stream.report)
        yield _plain({**last, **envelope.facts(stream.report)}, include_usage), NO_WORDS
        if include_usage:
            yield {**last, "choices": [], "usage": usage_body(stream.report.usage)}, NO_WORDS


def _plain(chunk: dict[str, Any], include_usage: bool) -> dict[str, Any]:
    chunk.pop("usage", None)
    return {**chunk, "usage": None} if include_usage else chunk


def usage_body(usage: Usage) -> dict[str, int]:
    """Return OpenAI's usage object, summed over every expert called."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def explanation(decision: RoutingDecision, fusion: Choice, ignored: Iterable[str]) -> dict[str, Any]:
    """Return the decision as `/v1/route` and `explain` show it."""
    return {
        "policy": decision.policy,
        "confidence": round(decision.confidence, 4),
        "reason": decision.reason,
        "domains": {domain: round(p, 4) for domain, p in sorted(decision.domains.items(), key=lambda d: -d[1])},
        "skills": list(decision.skills),
        "difficulty": decision.difficulty,
        "thinking": decision.thinking,
        "fusion": fusion.shown,
        "fusion_reason": fusion.reason,
        "stages": list(decision.stages),
        "cost_usd": decision.cost_usd,
        "experts": [_assignment(assignment) for assignment in decision.assignments],
        "candidates": [_candidate(candidate) for candidate in decision.candidates],
        "excluded": [{"expert": name, "reason": why} for name, why in decision.excluded.items()],
        "fallbacks": list(decision.fallbacks),
        "ignored": list(ignored),
        "timings_ms": {stage: round(ms, 3) for stage, ms in decision.timings_ms.items()},
    }


def _assignment(assignment: Assignment) -> dict[str, Any]:
    shown = {"expert": assignment.expert, "weight": round(assignment.weight, 4)}
    return shown if assignment.thinking == "auto" else {**shown, "thinking": assignment.thinking}


def _candidate(candidate: CandidateScore) -> dict[str, Any]:
    shown = {
        "expert": candidate.expert,
        "score": round(candidate.score, 4),
        "quality": None if candidate.quality is None else round(candidate.quality, 4),
        "cost_usd": None if candidate.cost_usd is None else round(candidate.cost_usd, 10),
        "latency_ms": None if candidate.latency_ms is None else round(candidate.latency_ms, 1),
    }
    return {**shown, "chosen": candidate.chosen, "reason": candidate.reason}


def fusion_facts(report: FusionReport) -> dict[str, Any]:
    """Return how a fused answer came about, candidate by candidate."""
    failed = [
        {"expert": failure.expert, "weight": round(failure.weight, 4), "error": failure.message}
        for failure in report.failures
    ]
    steps = {"steps": [_step(step) for step in report.steps]} if report.steps else {}
    return {
        "strategy": report.strategy,
        "fuser": report.fuser,
        "answered_by": report.answered_by,
        "note": report.note or None,
        "unasked": report.unasked,
        "candidates": [_fused_candidate(answer, report) for answer in report.answers] + failed,
        **steps,
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "question": step.question,
        "expert": step.expert,
        "answer": step.final,
        "text": step.text,
        "usage": usage_body(step.usage),
        "error": step.error or None,
    }


def _fused_candidate(answer: Answer, report: FusionReport) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "expert": answer.expert,
        "weight": round(answer.weight, 4),
        "quality": None if answer.quality is None else round(answer.quality, 4),
        "text": answer.text,
        "finish_reason": answer.answer.finish_reason,
        "usage": usage_body(answer.answer.usage),
        "error": None,
    }
    if answer.expert in report.finals:
        shown["final"] = report.finals[answer.expert]
    return shown


def decision_headers(decision: RoutingDecision, ignored: Iterable[str]) -> dict[str, str]:
    """Return the facts known before the first byte, as headers."""
    top = sorted(decision.domains.items(), key=lambda item: -item[1])[:3]
    headers = {
        "x-consilium-experts": ",".join(assignment.expert for assignment in decision.assignments),
        "x-consilium-domains": ",".join(f"{domain}={p:.2f}" for domain, p in top),
        "x-consilium-policy": decision.policy,
        "x-consilium-confidence": f"{decision.confidence:.3f}",
        "x-consilium-failed-open": decision.failed_open or "",
        "x-consilium-route-ms": f"{sum(decision.timings_ms.values()):.1f}",
        "x-consilium-ignored": ",".join(ignored),
    }
    return {name: header_value(value) for name, value in headers.items() if value}


def header_value(value: str) -> str:
    """Return the value with everything that could break out of a header replaced."""
    if value.isascii() and value.isprintable():
        return value[:1024]
    return "".join(c if c.isprintable() and c.isascii() else "_" for c in value)[:1024]
