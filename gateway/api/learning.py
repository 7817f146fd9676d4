"""/admin/router: what decides, what it has learnt, how a trial goes; return to an earlier version, load anew."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.deps import AdminDep, ServicesDep
from gateway.errors import InvalidRequest
from gateway.learning import AlarmSeen
from gateway.middleware import read_body
from gateway.services import Services
from gateway.trial_report import trial_report
from router.policies import POLICIES

api = APIRouter()


class RollbackBody(BaseModel):
    """Where to return to."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: int | None = Field(default=None, ge=0, description="None: the newest one kept before the present state.")


@api.get("/admin/router")
async def show(services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Show what is loaded and what has been learnt."""
    router, routing = services.pipeline.router, services.config.routing
    return {
        "policy": routing.policy,
        "policies": sorted({*POLICIES, *router.policies}),
        "classifier": router.classifier.name,
        "domains": list(router.classifier.domains),
        "encoder": getattr(router.encoder, "name", None),
        "artifact": routing.artifact,
        "default": services.pipeline.default,
        "learning": await shown_learning(services),
        "split": routing.split.model_dump(),
        "shadow": routing.shadow.model_dump(),
        "judge": routing.learning.judge.model_dump(),
    }


@api.get("/admin/router/report")
async def report(services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Compare the arms of the split, and the shadow with what was done."""
    return trial_report(await services.feedback.trials.sums(), services.config.routing)


@api.post("/admin/router/rollback")
async def rollback(request: Request, services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Return to an earlier version of what was learnt; decisions are then what they were at that version."""
    content = await read_body(request.receive, request.headers, services.settings.max_body_bytes)
    try:
        asked = RollbackBody.model_validate_json(content or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidRequest(f"{'.'.join(map(str, first['loc'])) or 'The body'}: {first['msg']}.") from error
    await services.feedback.learner.rollback(asked.version)
    services.metrics.rollbacks.labels("admin").inc()
    return await shown_learning(services)


@api.post("/admin/router/reload")
async def reload(services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Read the artifacts again and swap them in; requests under way go on with the former ones."""
    pipeline, profiles = services.pipeline, None
    while profiles is not services.registry.profiles:
        profiles = services.registry.profiles
        pipeline.router = await pipeline.router.with_profiles(profiles)
    return await show(services, admin)


async def shown_learning(services: Services) -> dict[str, Any]:
    """Return what was learnt as JSON."""
    learner = services.feedback.learner
    learned = learner.state.learned(learner.rule)
    return {
        "enabled": learner.config.enabled,
        "version": learner.state.version,
        "rollbacks": learner.state.epoch,
        "versions": await learner.versions(),
        "shifts": {expert: {d: round(shift, 4) for d, shift in row.items()} for expert, row in learned.items()},
        "alarms": [shown_alarm(seen) for seen in learner.alarms],
    }


def shown_alarm(seen: AlarmSeen) -> dict[str, Any]:
    """Return an alarm as JSON."""
    alarm = seen.alarm
    told = {"expert": alarm.expert, "domain": alarm.domain, "direction": alarm.direction, "since": alarm.since}
    return {**told, "at": round(seen.at, 3), "rolled_back_to": seen.rolled_back_to}
