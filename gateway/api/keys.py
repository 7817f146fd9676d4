"""/admin/keys: give out keys, list and change them, revoke them. A key's secret is in one answer only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from gateway.deps import AdminDep, ServicesDep
from gateway.errors import InvalidRequest, UnknownKey
from gateway.keys import KeyBody
from gateway.keys.record import shown
from gateway.middleware import read_body
from gateway.responses import JsonResponse
from gateway.services import Services

api = APIRouter()
T = TypeVar("T")
PATCH = TypeAdapter(dict[str, Any])
BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": KeyBody.model_json_schema()}}}
}


CHANGE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {**KeyBody.model_json_schema(), "required": []}}},
    }
}


@api.post("/admin/keys", openapi_extra=BODY)
async def create_key(request: Request, services: ServicesDep, admin: AdminDep) -> Response:
    """Give out a key: 201 with its record and, this once, the `key` itself."""
    content = await read_body(request.receive, request.headers, services.settings.max_body_bytes)
    body = parsed(content)
    check_experts(body, services)
    record, secret = await services.keys.create(body)
    told = {**shown(record, services.keys.clock()), "key": secret}
    return JsonResponse(told, status_code=201, headers={"cache-control": "no-store"})


@api.get("/admin/keys")
async def list_keys(services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """List the keys that were given out, oldest first; those revoked or expired say so in `state`."""
    return {"object": "list", "data": [shown(record, services.keys.clock()) for record in services.keys]}


@api.get("/admin/keys/{key_id}")
async def show_key(key_id: str, services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Show one key."""
    record = services.keys.by_id(key_id)
    if record is None:
        raise UnknownKey(f"There is no key '{key_id[:64]}'; GET /admin/keys lists them.", param="key_id")
    return dict(shown(record, services.keys.clock()))


@api.patch("/admin/keys/{key_id}", openapi_extra=CHANGE)
async def change_key(key_id: str, request: Request, services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Change fields of a key (JSON merge patch: null takes a limit away); its secret stays."""
    content = await read_body(request.receive, request.headers, services.settings.max_body_bytes)
    patch = parsed_patch(content)

    def read(whole: Mapping[str, Any]) -> KeyBody:
        body = checked(lambda: KeyBody.model_validate(whole))
        if patch.get("experts"):
            check_experts(body, services)
        return body

    record = await services.keys.change(key_id, patch, read)
    return dict(shown(record, services.keys.clock()))


@api.delete("/admin/keys/{key_id}")
async def revoke_key(key_id: str, services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Let nobody in with a key any more; what it is being answered goes on."""
    record = await services.keys.revoke(key_id)
    return {**shown(record, services.keys.clock()), "deleted": True}


def parsed(content: bytes) -> KeyBody:
    """Read the body.

    Raises:
        InvalidRequest: it is not JSON, or a field is missing, unknown or out of range.
    """
    return checked(lambda: KeyBody.model_validate_json(content))


def parsed_patch(content: bytes) -> dict[str, Any]:
    """Read the fields that are to change.

    Raises:
        InvalidRequest: it is not a JSON object of a key's fields.
    """
    patch = checked(lambda: PATCH.validate_json(content))
    if unknown := sorted(patch.keys() - KeyBody.model_fields.keys()):
        raise InvalidRequest(
            f"A key has no '{unknown[0][:64]}'; it has {', '.join(KeyBody.model_fields)}.", param=unknown[0][:64]
        )
    return patch


def checked(read: Callable[[], T]) -> T:
    """Return what was read.

    Raises:
        InvalidRequest: pydantic found a fault; the first is told.
    """
    try:
        return read()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(f"{where or 'The body'}: {first['msg']}.", param=where or None) from error


def check_experts(body: KeyBody, services: Services) -> None:
    """Refuse a key for experts that do not exist: a misspelt name would be a key for nobody.

    Raises:
        InvalidRequest: there is none of that name.
    """
    known = services.catalogue.entries
    for name in body.experts:
        if name not in known:
            raise InvalidRequest(f"There is no expert '{name}'; there are {', '.join(known)}.", param="experts")
