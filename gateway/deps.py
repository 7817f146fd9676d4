"""What handlers are given, named once. Coroutines, since the framework hands plain functions to a thread each time."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from gateway.auth import Client
from gateway.services import Services


async def services_of(request: Request) -> Services:
    """Return the services of the application that serves this request."""
    services: Services = request.app.state.services
    return services


async def client_of(request: Request) -> Client:
    """Return the caller, or refuse it."""
    return (await services_of(request)).keyring.authenticate(request.headers)


async def admin_of(request: Request) -> None:
    """Let only the administrator in."""
    services = await services_of(request)
    services.admin.check(request.headers, services.keyring)


ServicesDep = Annotated[Services, Depends(services_of)]
ClientDep = Annotated[Client, Depends(client_of)]
AdminDep = Annotated[None, Depends(admin_of)]
