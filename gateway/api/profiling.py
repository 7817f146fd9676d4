"""POST /admin/experts/{name}/profile: measure an expert on validation questions; a job says how far it is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError

from experts.types import ExpertName
from gateway.deps import AdminDep, ServicesDep
from gateway.errors import AlreadyRunning, InvalidRequest
from gateway.job import shown
from gateway.middleware import read_body
from gateway.profiling import KIND
from gateway.profiling_spec import ProfileSpec
from gateway.services import Services

api = APIRouter()


@api.post("/admin/experts/{name}/profile", status_code=202)
async def profile(name: ExpertName, request: Request, services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Begin to measure an expert; the skills are used for routing as soon as the job is done."""
    content = await read_body(request.receive, request.headers, services.settings.max_body_bytes)
    try:
        spec = ProfileSpec.model_validate_json(content or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidRequest(f"{field or 'The body'}: {first['msg']}.", param=field or None) from error
    paper = await services.profiler.check(name, spec)
    await refuse_a_second(name, services)
    job = await services.jobs.start(KIND, name, spec.model_dump(mode="json"), total=len(paper.questions))
    return shown(job)


async def refuse_a_second(name: ExpertName, services: Services) -> None:
    """Let nobody measure an expert that is being measured.

    Raises:
        AlreadyRunning: it is; the message names the job.
    """
    for job in await services.jobs.all():
        if (job.kind, job.subject, job.ended) == (KIND, name, False):
            raise AlreadyRunning(f"'{name}' is being measured by {job.id}: wait for it, or cancel it.")
