"""/admin/experts: register, read, change, drain and remove experts while the gateway runs."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from experts.types import ExpertName
from gateway.catalogue import Entry
from gateway.catalogue.showing import LIVE, shown
from gateway.catalogue.trying import generated, rehearsed
from gateway.deps import AdminDep, ServicesDep
from gateway.errors import ExpertInTheWay, ExpertNotOurs, InvalidRequest, UnknownExpert
from gateway.middleware import read_body
from gateway.responses import JsonResponse
from gateway.schemas import json_object
from gateway.services import Services

api = APIRouter()
USUAL_DRAIN_SECONDS, LONGEST_DRAIN_SECONDS = 30.0, 3600.0
VERSION = re.compile(r'(?:W/)?"?(\d{1,18})"?')
NO_SUCH_VERSION = -1
YES, NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no", ""})
RECORD: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}
DRY_RUN: dict[str, Any] = {
    **RECORD,
    "parameters": [{"name": "dry_run", "in": "query", "schema": {"type": "boolean", "default": False}}],
}
DRAIN: dict[str, Any] = {
    "parameters": [
        {"name": "drain_seconds", "in": "query", "schema": {"type": "number", "default": USUAL_DRAIN_SECONDS}}
    ]
}


@api.post("/admin/experts", openapi_extra=DRY_RUN)
async def register(request: Request, services: ServicesDep, admin: AdminDep) -> Response:
    """Register an expert; with `?dry_run=true` only check it, ask its servers, and route its examples."""
    written = await read_record(request, services)
    if flag(request, "dry_run"):
        return JsonResponse(await rehearsed(await services.registrar.checked(written), services))
    entry = await services.registrar.register(written)
    return answered(entry, services, status=201, location=f"/admin/experts/{entry.name}")


@api.get("/admin/experts")
async def list_experts(services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """List every expert, the file's first."""
    return {"object": "list", "data": [shown(entry, services) for entry in services.catalogue.entries.values()]}


@api.get("/admin/experts/{name}")
async def show_expert(name: str, services: ServicesDep, admin: AdminDep) -> Response:
    """Show one expert; its ETag is the record's version."""
    return answered(known(name, services), services)


@api.put("/admin/experts/{name}", openapi_extra=RECORD)
async def replace_expert(name: str, request: Request, services: ServicesDep, admin: AdminDep) -> Response:
    """Say all of an expert anew; `If-Match` guards against changes by others."""
    written = {"name": name, **await read_record(request, services)}
    return answered(await services.registrar.replace(name, written, wanted_version(request)), services)


@api.patch("/admin/experts/{name}", openapi_extra=RECORD)
async def change_expert(name: str, request: Request, services: ServicesDep, admin: AdminDep) -> Response:
    """Change fields of an expert: a JSON merge patch (RFC 7386), in which null takes a field out."""
    patch = await read_record(request, services)
    return answered(await services.registrar.patch(name, patch, wanted_version(request)), services)


@api.delete("/admin/experts/{name}", openapi_extra=DRAIN)
async def remove_expert(name: str, request: Request, services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Take an expert out of routing, let its calls end, and remove it; what the file says of it holds again."""
    removed = await services.registrar.remove(name, drain_seconds(request), wanted_version(request))
    back = None if removed.back is None else shown(removed.back, services)
    return {"name": name, "deleted": True, "in_flight": removed.in_flight, "file": back}


@api.post("/admin/experts/{name}/drain")
async def drain(name: str, request: Request, services: ServicesDep, admin: AdminDep) -> Response:
    """Ask an expert nothing new; what it is answering goes on."""
    return answered(await services.registrar.drain(name, wanted_version(request)), services)


@api.post("/admin/experts/{name}/resume")
async def resume(name: str, request: Request, services: ServicesDep, admin: AdminDep) -> Response:
    """Put a drained expert back into service."""
    return answered(await services.registrar.resume(name, wanted_version(request)), services)


@api.post("/admin/experts/{name}/wake")
async def wake(name: str, services: ServicesDep, admin: AdminDep) -> Response:
    """Load an expert that sleeps, as the one longest waited for; its state says when it is awake."""
    entry = sleeper(name, services)
    await services.dispatcher.residency.wake(name)
    return answered(entry, services)


@api.post("/admin/experts/{name}/sleep")
async def sleep(name: str, services: ServicesDep, admin: AdminDep) -> Response:
    """Unload an expert once what it answers is done; its next request wakes it."""
    entry = sleeper(name, services)
    await services.dispatcher.residency.sleep(name)
    return answered(entry, services)


@api.post("/admin/experts/{name}/probe")
async def probe(name: str, services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Have an expert write a few tokens."""
    if known(name, services).name not in services.registry.snapshot:
        raise ExpertInTheWay(f"Expert '{name}' cannot be used here; the gateway's log says why.")
    return await generated(name, services)


def answered(entry: Entry, services: Services, status: int = 200, location: str | None = None) -> Response:
    """Return an expert with its record's version as ETag."""
    headers = {"etag": f'"{entry.version}"', **({} if location is None else {"location": location})}
    return JsonResponse(shown(entry, services), status_code=status, headers=headers)


def known(name: ExpertName, services: Services) -> Entry:
    """Return an expert.

    Raises:
        UnknownExpert: there is none of that name.
    """
    if name not in services.catalogue.entries:
        listed = ", ".join(services.catalogue.entries)
        raise UnknownExpert(f"There is no expert '{name}'; there are {listed}.", param="name")
    return services.catalogue.entries[name]


def ours(name: ExpertName, services: Services) -> Entry:
    """Return an expert whose server this gateway runs.

    Raises:
        UnknownExpert, ExpertNotOurs.
    """
    entry = known(name, services)
    if services.catalogue.runtime.state(name) is None:
        raise ExpertNotOurs(f"The server of expert '{name}' is not this gateway's to load and unload.", param="name")
    return entry


def sleeper(name: ExpertName, services: Services) -> Entry:
    """Return an expert whose server this gateway wakes and puts to sleep.

    Raises:
        UnknownExpert, ExpertNotOurs.
        ExpertInTheWay: its server is always awake.
    """
    entry = ours(name, services)
    if not services.dispatcher.residency.keeps(name):
        raise ExpertInTheWay(
            f"Expert '{name}' does not sleep: set residency.max_resident or launch.sleep_after_seconds."
        )
    return entry


async def read_record(request: Request, services: Services) -> dict[str, Any]:
    """Return the body, without what an answer shows beside a record.

    Raises:
        InvalidRequest: it is no JSON object.
    """
    content = await read_body(request.receive, request.headers, services.settings.max_body_bytes)
    body = json_object(content, "a JSON object: an expert's record, or fields of it")
    return {key: value for key, value in body.items() if key not in LIVE}


def wanted_version(request: Request) -> int | None:
    """Return the version that `If-Match` names; None without one, or where any will do."""
    asked = request.headers.get("if-match", "*").strip()
    if asked == "*":
        return None
    found = VERSION.fullmatch(asked)
    return NO_SUCH_VERSION if found is None else int(found[1])


def flag(request: Request, name: str) -> bool:
    """Return a query parameter that is true or false.

    Raises:
        InvalidRequest: it is neither.
    """
    asked = request.query_params.get(name, "").lower()
    if asked not in YES | NO:
        raise InvalidRequest(f"'{name}' must be true or false.", param=name)
    return asked in YES


def drain_seconds(request: Request) -> float:
    """Return how long a removal may wait for calls to end.

    Raises:
        InvalidRequest: it is no number of seconds.
    """
    asked = request.query_params.get("drain_seconds", str(USUAL_DRAIN_SECONDS))
    try:
        seconds = float(asked)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_DRAIN_SECONDS:
        raise InvalidRequest(f"'drain_seconds' must be 0 to {LONGEST_DRAIN_SECONDS:g}.", param="drain_seconds")
    return seconds
