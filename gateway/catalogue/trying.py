"""Try an expert before, or without, trusting it: is it there, what would be routed to it, does it really generate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from experts.config import ExpertConfig
from experts.errors import ExpertError
from experts.registry import Expert, static_replicas
from experts.types import ExpertCall, ExpertName
from gateway.errors import error_body
from gateway.schemas import parse_chat
from gateway.translate import for_expert, to_query
from router.errors import RoutingError

if TYPE_CHECKING:
    from gateway.services import Services

SHOWN_EXAMPLES = 10
QUESTION = "Say hello."
FEW_TOKENS = {"max_tokens": 8, "temperature": 0}
DEADLINE_SECONDS = 60.0


async def rehearsed(config: ExpertConfig, services: Services) -> dict[str, Any]:
    """Return what registering an expert would bring: whether its servers answer, and where its examples would go."""
    expert = Expert(config, config.profile(), static_replicas(config))
    wrong = await services.consequences.probe(expert)
    routed = await _routed_examples(expert, services)
    return {
        "dry_run": True,
        "name": config.name,
        "reachable": None if not expert.replicas else not wrong,
        "replicas": [
            {
                "base_url": replica.base_url,
                "reachable": replica.base_url not in wrong,
                "error": wrong.get(replica.base_url),
            }
            for replica in expert.replicas
        ],
        "routing": routed,
        "routed_here": sum(each["expert"] == config.name for each in routed),
    }


async def _routed_examples(expert: Expert, services: Services) -> list[dict[str, Any]]:
    """Route its first examples among the experts there are and itself."""
    profiles = (*services.registry.profiles, *([expert.profile] if expert.config.routed else []))
    router = await services.pipeline.router.with_profiles(profiles)
    shown = []
    for text in expert.config.examples[:SHOWN_EXAMPLES]:
        chat = parse_chat(orjson.dumps({"messages": [{"role": "user", "content": text}]}), {})
        try:
            decision = await router.route(to_query(chat, profiles, services.standing.unfit(), 1), profiles)
        except RoutingError as error:
            shown.append({"example": text, "expert": None, "confidence": 0.0, "reason": str(error)})
            continue
        chosen, confidence = decision.assignments[0].expert, round(decision.confidence, 4)
        shown.append({"example": text, "expert": chosen, "confidence": confidence, "reason": decision.reason})
    return shown


async def generated(name: ExpertName, services: Services) -> dict[str, Any]:
    """Have an expert write a few tokens, drained or not: its words and how long they took, or what went wrong."""
    expert = services.registry.snapshot[name]
    parameters = for_expert(FEW_TOKENS, expert.profile, "off")
    call = ExpertCall(name, ({"role": "user", "content": QUESTION},), parameters, DEADLINE_SECONDS)
    stream = services.dispatcher.open(call, decided={name: replace(expert, drained=False)})
    try:
        answer = await stream.read()
    except ExpertError as error:
        return {"ok": False, "expert": name, "replica": stream.facts.replica, **error_body(error)}
    facts = answer.facts
    return {
        "ok": True,
        "expert": name,
        "replica": facts.replica,
        "text": answer.text,
        "first_token_ms": round(1000 * (facts.first_token_seconds or 0.0), 1),
        "total_ms": round(1000 * (facts.total_seconds or 0.0), 1),
        "usage": {"prompt_tokens": answer.usage.prompt_tokens, "completion_tokens": answer.usage.completion_tokens},
    }
