"""/admin/fusers: who fuses best in which domain; POST /admin/experts/benchmark-fuser finds it out, as a job."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError

from gateway.deps import AdminDep, ServicesDep
from gateway.errors import AlreadyRunning, InvalidRequest
from gateway.fusing import KIND, SUBJECT
from gateway.fusing_spec import BenchmarkSpec
from gateway.job import shown
from gateway.middleware import read_body
from gateway.services import Services

api = APIRouter()


@api.post("/admin/experts/benchmark-fuser", status_code=202)
async def benchmark_fuser(request: Request, services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Begin to examine experts as fusers; the best of each domain is used as soon as the job is done."""
    content = await read_body(request.receive, request.headers, services.settings.max_body_bytes)
    try:
        spec = BenchmarkSpec.model_validate_json(content or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidRequest(f"{field or 'The body'}: {first['msg']}.", param=field or None) from error
    plan = await services.fuser_benchmark.check(spec)
    await refuse_a_second(services)
    return shown(await services.jobs.start(KIND, SUBJECT, spec.model_dump(mode="json"), total=plan.calls))


@api.get("/admin/fusers")
async def show_fusers(services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Show who was measured to fuse best, by domain and over all, everybody's figures, and what was found to pay."""
    catalogue, ranked = services.catalogue, services.fusers.in_domain(None)
    found = {name: dict(document.body) for name in ranked if (document := catalogue.fusing(name))}
    domains = sorted({domain for figures in found.values() for domain in figures.get("expected", {})})
    return {
        "configured": services.config.fusion.fuser,
        "best": {domain: services.fusers.in_domain(domain)[0] for domain in domains},
        "elsewhere": ranked[0] if ranked else services.pipeline.default,
        "fusers": found,
        "advice": None if catalogue.advice is None else dict(catalogue.advice.body),
    }


async def refuse_a_second(services: Services) -> None:
    """Let nobody examine fusers while fusers are being examined.

    Raises:
        AlreadyRunning: they are; the message names the job.
    """
    for job in await services.jobs.all():
        if job.kind == KIND and not job.ended:
            raise AlreadyRunning(f"Fusers are being examined by {job.id}: wait for it, or cancel it.")
