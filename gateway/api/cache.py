"""DELETE /admin/cache: have kept answers forgotten."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.deps import AdminDep, ServicesDep

api = APIRouter()
KeyId = Annotated[str | None, Query(max_length=64, pattern=r"^[\w-]+$")]


@api.delete("/admin/cache")
async def forget_answers(services: ServicesDep, admin: AdminDep, key: KeyId = None) -> dict[str, int]:
    """Forget the kept answers of one key, by its id, or all; `forgotten` says how many were kept here, or in Redis."""
    return {"forgotten": await services.forgetting.everywhere(key)}
