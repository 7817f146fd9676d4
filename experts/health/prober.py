"""Ask replicas that failed, and those that nobody asks, whether they can serve: readiness is known without traffic.

A probe asks for the expert's model, and a vLLM for the health of its model process too (`Backend.probe`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from experts.errors import ExpertError
from experts.health.board import HealthBoard
from experts.registry import Expert, Registry, Replica


class Probing(Protocol):
    """What the prober needs of a backend."""

    async def probe(self, expert: Expert, replica: Replica) -> None:
        """Raise ExpertError unless the replica lists the expert's model."""


class Prober:
    """Probe in the background while open (`async with`). Costs one GET per doubtful replica and interval."""

    def __init__(
        self, registry: Registry, backend: Probing, health: HealthBoard, *, interval_seconds: float = 2.0
    ) -> None:
        self._registry, self._backend, self._health = registry, backend, health
        self.interval_seconds = interval_seconds
        self._task: asyncio.Task[None] | None = None

    async def probe_doubtful(self) -> None:
        """Probe every replica of which nobody knows whether it would answer."""
        doubtful = [
            (expert, replica)
            for expert in self._registry.snapshot.values()
            for replica in expert.replicas
            if self._health.doubtful(replica.base_url)
        ]
        await asyncio.gather(*(self._probe(expert, replica) for expert, replica in doubtful))

    async def _probe(self, expert: Expert, replica: Replica) -> None:
        try:
            await self._backend.probe(expert, replica)
        except ExpertError as error:
            self._health.missed(replica.base_url, str(error))
        else:
            self._health.found(replica.base_url)

    async def _run(self) -> None:
        while True:
            await self.probe_doubtful()
            await asyncio.sleep(self.interval_seconds)

    async def __aenter__(self) -> Prober:
        self._task = asyncio.create_task(self._run(), name="prober")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
