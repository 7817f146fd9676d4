"""/admin/jobs: long work of every gateway process, how far it is, and stopping it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from gateway.deps import AdminDep, ServicesDep
from gateway.job import shown

api = APIRouter()


@api.get("/admin/jobs")
async def list_jobs(services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """List the jobs of the last week, newest first."""
    return {"object": "list", "data": [shown(job) for job in await services.jobs.all()]}


@api.get("/admin/jobs/{job_id}")
async def show_job(job_id: str, services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Show one job."""
    return shown(await services.jobs.get(job_id))


@api.post("/admin/jobs/{job_id}/cancel")
async def cancel_job(job_id: str, services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Stop a job; one that has ended stays as it is."""
    return shown(await services.jobs.cancel(job_id))
