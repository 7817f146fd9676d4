"""POST /v1/route: the decision only, nothing is generated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request

from gateway.api.documentation import CHAT_BODY
from gateway.deps import ClientDep, ServicesDep
from gateway.limits.gate import confined
from gateway.middleware import read_body
from gateway.pipeline import ignored_fields
from gateway.schemas import ChatRequest, parse_chat
from gateway.translate import explanation

api = APIRouter()


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
