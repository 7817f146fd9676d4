"""Who there is to ask: experts with their servers, who asks them, how they are doing, and who chooses among them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from experts.backends import BACKENDS, VllmBackend, make_client
from experts.backends.base import Backend
from experts.dispatcher import Dispatcher
from experts.health import HealthBoard
from experts.registry import Expert, Registry, Replica
from experts.store import Store
from experts.types import ExpertCall, ExpertName, Message
from gateway.catalogue import Catalogue
from gateway.catalogue.records import file_entries
from gateway.configuration import GatewayConfig
from gateway.improvement import check_trials
from gateway.meaning import routing_config
from gateway.running import Progress, open_runtime
from gateway.settings import Settings
from gateway.standing import Standing
from gateway.translate import for_expert
from router import Router
from router.encoder import TextEncoder
from router.reading import Ask

READING_PARAMETERS = {"max_tokens": 200, "temperature": 0}


@dataclass(frozen=True, slots=True)
class Ground:
    """What everything is built from; `stack` closes it."""

    settings: Settings
    config: GatewayConfig
    root: Path
    default: ExpertName
    store: Store
    stack: AsyncExitStack


@dataclass(frozen=True, slots=True)
class Team:
    """Who there is to ask, who asks them, and how each of them is doing."""

    catalogue: Catalogue
    dispatcher: Dispatcher
    probes: Probes
    standing: Standing


async def open_team(ground: Ground, progress: Progress | None) -> Team:
    """Return who there is to ask; servers of ours begin to start."""
    settings, config, stack = ground.settings, ground.config, ground.stack
    client = await stack.enter_async_context(make_client())
    backends: dict[str, Backend] = {name: backend(client) for name, backend in BACKENDS.items()}
    runtime, residency = await open_runtime(
        *(settings, config, ground.default, ground.root, VllmBackend(client), stack, progress),
        moved=lambda: catalogue.refresh(),
    )
    catalogue = Catalogue(ground.store, file_entries(config), runtime, os.environ)
    await catalogue.load()
    registry = catalogue.registry
    settings.check_workers(name for name, expert in registry.snapshot.items() if expert.config.launch is not None)
    dispatcher = Dispatcher(registry, backends, HealthBoard(), residency=residency)
    return Team(catalogue, dispatcher, Probes(backends), Standing(registry, runtime, dispatcher))


async def open_router(ground: Ground, team: Team, encoder: TextEncoder | None) -> Router:
    """Return the router as configured."""
    registry = team.catalogue.registry
    routing = routing_config(ground.config.routing, ground.default, ground.root)
    ask = asking(routing.llm.expert, registry, team.dispatcher)
    router = await Router.create(routing, registry.profiles, encoder=encoder, ask=ask)
    ground.stack.push_async_callback(router.aclose)
    check_trials(ground.config, router)
    return router


def asking(expert: ExpertName | None, registry: Registry, dispatcher: Dispatcher) -> Ask | None:
    """Return what asks the reading expert, by its own name and without thinking; None when there is none."""
    if expert is None:
        return None

    async def ask(messages: tuple[Message, ...]) -> str:
        parameters = for_expert(READING_PARAMETERS, registry.snapshot[expert].profile, "off")
        return (await dispatcher.open(ExpertCall(expert, messages, parameters)).read()).text

    return ask


class Probes:
    """Let the prober ask each expert through its own backend."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends

    async def probe(self, expert: Expert, replica: Replica) -> None:
        """Probe one replica; see `Backend.probe`."""
        await self._backends[expert.config.backend].probe(expert, replica)
