"""GET /v1/models: the virtual models, then every expert."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from gateway.auth import Client
from gateway.deps import ClientDep, ServicesDep
from gateway.errors import UnknownModel
from gateway.keys import as_choice
from gateway.latitude import permits
from gateway.planning import VIRTUAL_MODELS
from gateway.schemas import ANY_EXPERT
from gateway.services import Services

api = APIRouter()
STARTED = int(time.time())


@api.get("/v1/models")
async def list_models(services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """List what `model` may name, of what the client's key may use."""
    return {"object": "list", "data": list(listed(services, client).values())}


@api.get("/v1/models/{name}")
async def show_model(name: str, services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Show one model."""
    models = listed(services, client)
    if name not in models:
        raise UnknownModel(f"There is no model '{name}'; there are {', '.join(models)}.", param="model")
    return models[name]


def listed(services: Services, client: Client) -> dict[str, dict[str, Any]]:
    """Return every model by name, the virtual ones first, of what the client's key may use."""
    within = ANY_EXPERT if client.record is None else as_choice(client.record)
    models = {name: _entry(name, description=text, state="ready") for name, text in VIRTUAL_MODELS.items()}
    for name, expert in services.registry.snapshot.items():
        profile = expert.profile
        if not permits(within, profile):
            continue
        models[name] = _entry(
            name, description=profile.description, domains=profile.domains, state=services.standing.state(name)
        )
    return models


def _entry(name: str, *, description: str, state: str, domains: tuple[str, ...] = ()) -> dict[str, Any]:
    entry = {"id": name, "object": "model", "created": STARTED, "owned_by": "consilium"}
    return {**entry, "domains": list(domains), "description": description, "state": state}
