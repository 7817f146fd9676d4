"""/v1/route: the decision only, nothing is generated; and what a request may choose from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request

from aggregator import STRATEGIES
from gateway.api.documentation import CHAT_BODY
from gateway.deps import ClientDep, ServicesDep
from gateway.limits.gate import confined
from gateway.middleware import read_body
from gateway.planning import ignored_fields
from gateway.schemas import ChatRequest, parse_chat
from gateway.translate import explanation
from router.policies import POLICIES

api = APIRouter()


@api.get("/v1/route")
async def choices(services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Say what `routing` in a request may choose from, and what holds when it does not."""
    router, config = services.pipeline.router, services.config
    return {
        "policies": sorted({*POLICIES, *router.policies}),
        "fusion": ["auto", "none", *sorted({*STRATEGIES} - {"auto", "single"})],
        "thinking": ["auto", "on", "off"],
        "domains": list(router.classifier.domains),
        "usual": {
            "policy": config.routing.policy or "auto",
            "fusion": config.fusion.strategy,
            "max_experts": config.fusion.max_experts,
            "cost_quality": config.routing.objective.cost_quality,
        },
    }


@api.post("/v1/route", openapi_extra=CHAT_BODY)
async def route(request: Request, services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Explain who would answer this conversation, and why."""
    content = await read_body(request.receive, request.headers, services.settings.max_body_bytes)
    chat = confined(explained(parse_chat(content, request.headers)), client)
    world = services.registry.snapshot
    visit = await services.gate.admit(client)
    request.state.headers = visit.headers
    visit.end({})
    decision = await services.pipeline.decide(chat, client.key_id)
    services.metrics.decided(decision)
    fusion = services.pipeline.fusion_of(chat, decision)
    return explanation(decision, fusion, ignored_fields(chat, decision, world))


def explained(chat: ChatRequest) -> ChatRequest:
    """Return the request with `explain` on: that is what this path is for."""
    return replace(chat, options=chat.options.model_copy(update={"explain": True}))
