"""For whoever runs it: is it alive, can it answer, what is it doing."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from gateway.deps import ServicesDep
from gateway.responses import JsonResponse

api = APIRouter()


@api.get("/health/liveness")
async def liveness() -> dict[str, str]:
    """Say that the process runs; costs nothing."""
    return {"status": "alive"}


@api.get("/health")
@api.get("/health/readiness")
async def readiness(services: ServicesDep) -> Response:
    """Say whether an expert can really answer: 200 when one can, 503 until then, each expert's state in both.

    One that sleeps can: the request wakes it.
    """
    states = {name: services.standing.state(name) for name in services.registry.snapshot}
    ready = not {"ready", "asleep"}.isdisjoint(states.values())
    body: dict[str, Any] = {"status": "ready" if ready else "not ready", "experts": states}
    return JsonResponse(body, status_code=200 if ready else 503)


@api.get("/metrics")
async def metrics(services: ServicesDep) -> Response:
    """Show the counters in Prometheus's text format."""
    return Response(services.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
