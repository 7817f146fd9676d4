"""GET /admin/decisions: who was asked lately, and why. Prompt and comment texts only where they are kept."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from aggregator.strategies.auto import Choice
from gateway.decisions import SHOWN, Outcome, Remembered, opinion_facts
from gateway.deps import AdminDep, ServicesDep
from gateway.translate import explanation

api = APIRouter()
USUAL_LIMIT = 50


@api.get("/admin/decisions")
async def decisions(
    services: ServicesDep, admin: AdminDep, limit: Annotated[int, Query(ge=1, le=SHOWN)] = USUAL_LIMIT
) -> dict[str, Any]:
    """List the last decisions with their reasons, newest first."""
    texts = services.config.routing.learning.keep_prompts
    shown = [shown_decision(entry, texts=texts) for entry in services.feedback.decisions.latest(limit)]
    return {"object": "list", "data": shown}


def shown_decision(entry: Remembered, *, texts: bool) -> dict[str, Any]:
    """Return one remembered decision as JSON."""
    decision = entry.decision
    shown: dict[str, Any] = {
        "request_id": entry.request_id,
        "at": round(entry.at, 3),
        "key": entry.key,
        "arm": entry.arm or None,
        "experts": [] if decision is None else [each.expert for each in decision.assignments],
        "shadow": entry.shadow,
        "outcome": None if entry.outcome is None else shown_outcome(entry.outcome),
        "feedback": opinion_facts(entry.opinion, texts=texts),
        "learned": None if entry.lesson is None else {name: dict(row) for name, row in entry.lesson.moved.items()},
        "routing": None if decision is None else explanation(decision, Choice(decision.fusion or "none"), ()),
    }
    return {**shown, "prompt": entry.prompt} if texts else shown


def shown_outcome(outcome: Outcome) -> dict[str, Any]:
    """Return how an answer turned out as JSON."""
    return {
        "answered_by": outcome.authorship.answered_by,
        "weights": dict(outcome.authorship.weights),
        "seconds": round(outcome.seconds, 3),
        "cost_usd": outcome.cost_usd,
    }
