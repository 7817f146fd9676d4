"""What spans say, in the names of OpenTelemetry's conventions for generative AI. Pure.

Names and numbers only. What was asked and answered stands in a span where the operator switched that on, and nowhere
else; an error is told by its kind, since its sentence may repeat what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import orjson

from aggregator.types import FusionReport
from experts.types import CallFacts, ExpertCall, Message
from router.types import RoutingDecision

Value: TypeAlias = str | bool | int | float | Sequence[str]
Attributes: TypeAlias = dict[str, Value]
OPERATIONS: Mapping[str, str] = {"completions": "text_completion", "embeddings": "embeddings"}
NUMBERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
}


def of_request(told: Mapping[str, Any], status: int) -> Attributes:
    """Return what the whole request came to; `told` is its log line."""
    named = {
        "gen_ai.request.model": told.get("model"),
        "gen_ai.response.model": told.get("answered_by"),
        "gen_ai.usage.input_tokens": told.get("prompt_tokens"),
        "gen_ai.usage.output_tokens": told.get("completion_tokens"),
        "consilium.key": told.get("key"),
        "consilium.stream": told.get("stream"),
        "consilium.cache": told.get("cache"),
    }
    failed = {"error.type": str(status)} if status >= 400 else {}
    return {"http.response.status_code": status, **failed, **_present(named)}


def of_decision(decision: RoutingDecision) -> Attributes:
    """Return what was decided and how long each step took."""
    steps = {f"consilium.route.{stage}_ms": round(ms, 3) for stage, ms in decision.timings_ms.items()}
    return {
        "consilium.policy": decision.policy,
        "consilium.confidence": round(decision.confidence, 4),
        "consilium.experts": [each.expert for each in decision.assignments],
        "consilium.domains": sorted(decision.domains, key=lambda domain: -decision.domains[domain])[:3],
        **steps,
    }


def of_call(call: ExpertCall) -> Attributes:
    """Return what an expert is asked, without the question."""
    numbers = {
        said: value
        for name, said in NUMBERS.items()
        if isinstance(value := call.parameters.get(name), int | float) and not isinstance(value, bool)
    }
    return {
        "gen_ai.operation.name": operation(call),
        "gen_ai.provider.name": "consilium",
        "gen_ai.request.model": call.expert,
        "consilium.priority": call.priority,
        **numbers,
    }


def operation(call: ExpertCall) -> str:
    """Return what is asked for, as the conventions call it."""
    return "chat" if call.relay is None else OPERATIONS.get(call.relay.endpoint, "chat")


def of_answer(facts: CallFacts, model: str | None, finish_reasons: Sequence[str]) -> Attributes:
    """Return who answered, from where, after how many attempts, at what usage."""
    server = urlsplit(facts.replica or "")
    usage = facts.usage
    named = {
        "gen_ai.response.model": model,
        "gen_ai.response.finish_reasons": finish_reasons or None,
        "gen_ai.usage.input_tokens": None if usage is None else usage.prompt_tokens,
        "gen_ai.usage.output_tokens": None if usage is None else usage.completion_tokens,
        "gen_ai.server.time_to_first_token": facts.first_token_seconds,
        "server.address": server.hostname,
        "server.port": server.port,
        "consilium.expert": facts.expert,
        "consilium.attempts": facts.attempts,
        "consilium.failed_attempts": facts.failures or None,
        "consilium.queue_seconds": round(facts.waited_seconds, 6),
    }
    return _present(named)


def of_fusion(report: FusionReport) -> Attributes:
    """Return how the answers became one."""
    named = {
        "consilium.fusion": report.strategy,
        "consilium.fuser": report.fuser,
        "consilium.answered_by": report.answered_by,
        "consilium.candidates": [each.expert for each in report.answers],
        "consilium.failed_candidates": [each.expert for each in report.failures],
        "consilium.unasked": report.unasked,
    }
    return _present(named)


def of_question(messages: Sequence[Message]) -> Attributes:
    """Return the conversation, for those who switched that on."""
    told = [{"role": str(m.get("role")), "parts": _parts(m.get("content"))} for m in messages]
    return {"gen_ai.input.messages": orjson.dumps(told).decode()}


def of_words(text: str, finish_reasons: Sequence[str]) -> Attributes:
    """Return the answer's text, for those who switched that on."""
    told = {"role": "assistant", "parts": _parts(text), "finish_reason": next(iter(finish_reasons), "")}
    return {"gen_ai.output.messages": orjson.dumps([told]).decode()}


def _parts(content: object) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    return content if isinstance(content, list) else []


def _present(named: Mapping[str, Any]) -> Attributes:
    return {name: value for name, value in named.items() if value is not None and value != []}
