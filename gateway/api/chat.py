"""POST /v1/chat/completions: whole and streamed from the same fused stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from experts.errors import ServiceError
from experts.types import Usage
from gateway.api.documentation import CHAT_BODY
from gateway.auth import Client
from gateway.cache import BYPASS, HIT
from gateway.decisions import Remembered
from gateway.deps import client_of, services_of
from gateway.limits import Visit
from gateway.limits.gate import confined
from gateway.middleware import read_body
from gateway.pipeline import Answering
from gateway.planning import VIRTUAL_MODELS
from gateway.responses import JsonResponse
from gateway.schemas import ChatRequest, parse_chat
from gateway.services import Services
from gateway.streaming import DONE, EventStream, Primed, frames, while_connected
from gateway.translate import Envelope, Piece, decision_headers, explanation, header_value, whole_body, wire_chunks

PATH = "/v1/chat/completions"
api = APIRouter()


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request under way; `told` becomes its log line, `judged` says that its text is wanted for a judge."""

    chat: ChatRequest
    answering: Answering
    entry: Remembered
    services: Services
    told: dict[str, Any]
    judged: bool
    visit: Visit


@api.post(PATH, openapi_extra=CHAT_BODY)
async def chat_completions(request: Request) -> Response:
    """Answer a conversation: the router picks the expert unless `model` names one."""
    services = await services_of(request)
    client = await client_of(request)
    content = await read_body(request.receive, request.headers, services.settings.max_body_bytes)
    chat = confined(parse_chat(content, request.headers, client.key_id), client)
    request.state.told = {"model": known_model(chat, services), "stream": chat.stream, "key": client.key_id}
    with await services.gate.admit(client, chat) as visit:
        request.state.headers = visit.headers
        return await answered(request, chat, services, client, visit)


async def answered(request: Request, chat: ChatRequest, services: Services, client: Client, visit: Visit) -> Response:
    """Answer a conversation that was let in."""
    told = request.state.told
    answering = await services.pipeline.answer(chat, client.key_id)
    if services.replays.wanted(chat, client):
        kept = services.replays.through(chat, client, answering)  # may wait for another's answer
        answering = await while_connected(request.scope, request.receive, kept)
        request.state.headers = {**visit.headers, **cache_headers(answering)}
        told["cache"] = answering.cache
    services.metrics.decided(answering.decision)
    entry = services.feedback.decided(request.state.request_id, client.key_id, chat, answering.decision)
    judged = answering.cache != HIT and wants_text(chat, services)  # one answer is judged once
    exchange = Exchange(chat, answering, entry, services, told, judged, visit)
    told["policy"] = answering.decision.policy
    told["experts"] = [assignment.expert for assignment in answering.decision.assignments]
    explained = explanation(answering.decision, answering.fusion, answering.ignored) if chat.options.explain else None
    envelope = Envelope.begin(request.state.request_id, explained)
    try:
        return await (streamed if chat.stream else whole)(request, exchange, envelope)
    except ServiceError:
        request.state.headers = {**request.state.headers, **attempts_header(answering)}
        raise


def wants_text(chat: ChatRequest, services: Services) -> bool:
    """Say whether this answer's text will be judged, by an expert that the client's key may use."""
    judge = services.config.routing.learning.judge.expert
    return services.feedback.wants_text() and services.pipeline.permits(chat, judge)


def known_model(chat: ChatRequest, services: Services) -> str:
    """Return the model asked for, as a label that a stranger cannot multiply."""
    return chat.model if chat.model in services.registry.snapshot or chat.model in VIRTUAL_MODELS else "unknown"


async def whole(request: Request, exchange: Exchange, envelope: Envelope) -> Response:
    """Read the stream to its end and answer in one piece."""
    answering, text = exchange.answering, ""
    try:
        answer = await while_connected(request.scope, request.receive, answering.stream.read())
        text = answer.answer.text
    finally:
        await answering.stream.aclose()
        account(exchange, text)
    headers = answer_headers(answering, exchange.services)
    return JsonResponse(whole_body(answer, envelope), headers=headers)


async def streamed(request: Request, exchange: Exchange, envelope: Envelope) -> Response:
    """Begin the response once the first chunk is there, or has let us wait for a while."""
    chat, answering, services = exchange.chat, exchange.answering, exchange.services
    asked_usage = bool((chat.parameters.get("stream_options") or {}).get("include_usage"))
    chunks = wire_chunks(answering.stream, envelope, include_usage=asked_usage)
    primed = Primed(_accounted(chunks, exchange))
    patience = services.settings.keep_alive_seconds
    await while_connected(request.scope, request.receive, primed.prime(patience))
    return EventStream(primed, patience, answer_headers(answering, services))


async def _accounted(chunks: AsyncGenerator[Piece, None], exchange: Exchange) -> AsyncGenerator[bytes, None]:
    said: list[str] = []
    text = ""
    try:
        async for chunk, words in chunks:
            if exchange.judged:
                said.append(visible_text(chunk))
            yield frames(chunk, words)
        yield DONE
        text = "".join(said)
    finally:
        await chunks.aclose()
        await exchange.answering.stream.aclose()
        account(exchange, text)


def visible_text(chunk: Mapping[str, Any]) -> str:
    """Return the words that a wire chunk adds to choice 0."""
    choices = chunk.get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content") or ""


def account(exchange: Exchange, text: str) -> None:
    """Count an answer, and add to the request's log line who gave it; `text` is all of it, or empty when it was cut."""
    report, services, told = exchange.answering.stream.report, exchange.services, exchange.told
    kept = exchange.answering.cache == HIT
    if not kept:
        services.metrics.answered(report)
        services.metrics.called(exchange.answering.meter.calls)
    exchange.visit.end(exchange.answering.meter.used)
    told["answered_by"] = report.answered_by
    used = Usage() if kept else report.usage  # a kept answer takes no tokens, whatever it took when it was made
    told["prompt_tokens"], told["completion_tokens"] = used.prompt_tokens, used.completion_tokens
    cost = cost_usd(exchange.answering, services)
    services.feedback.answered(exchange.entry, exchange.chat, report, cost, text if exchange.judged else None)


def attempts_header(answering: Answering) -> dict[str, str]:
    """Return how many calls to servers it took so far, where there was any."""
    attempts = answering.stream.report.attempts
    return {"x-consilium-attempts": str(attempts)} if attempts else {}


def answer_headers(answering: Answering, services: Services) -> dict[str, str]:
    """Return the headers of an answer; `x-consilium-experts` names who really answers, stand-ins included."""
    report = answering.stream.report
    headers = decision_headers(answering.decision, answering.ignored)
    if report.strategy == "single" and report.answered_by:
        headers["x-consilium-experts"] = header_value(report.answered_by)
    headers |= attempts_header(answering)
    if (cost := cost_usd(answering, services)) is not None:
        headers["x-consilium-cost-usd"] = f"{cost:.8f}"
    return headers


def cache_headers(answering: Answering) -> dict[str, str]:
    """Return what became of the wish for a kept answer, as headers."""
    age = {"age": str(int(answering.age_seconds))} if answering.cache == HIT else {}
    return {"x-consilium-cache": answering.cache or BYPASS, **age}


def cost_usd(answering: Answering, services: Services) -> float | None:
    """Return what the answer's tokens cost, or None while unknown or when somebody's price is; a kept one is free."""
    if answering.cache == HIT:
        return 0.0
    report, total = answering.stream.report, 0.0
    for expert, usage in report.usage_by_expert.items():
        known = services.registry.snapshot.get(expert)
        price = None if known is None else known.profile.price
        if price is None:
            return None
        total += price.of(usage.prompt_tokens, usage.completion_tokens)
    return total if report.usage_by_expert else None
