"""Adapters on vLLM servers that somebody else runs: the base expert has `replicas` and `backend: vllm`.

Every replica is asked to load the adapter from the path as written, which it has to be able to read, and is
looked at again from time to time: a server that was restarted has forgotten. Servers behind `backend: openai`
are believed to serve the adapter already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from experts.config import AdapterConfig, ExpertConfig, resolve_folder
from experts.errors import ExpertError
from experts.launch.boarding import AdapterServer, Boarding
from experts.launch.plan import base_of
from experts.launch.vllm import Adapter
from experts.registry import Replica, static_replicas

log = logging.getLogger(__name__)
VISIT_SECONDS = 15.0
UNBOUNDED = 1_000_000
"""Places on somebody else's server: how many it holds is its own business."""


@dataclass(frozen=True, slots=True)
class Rider:
    """An adapter expert whose base runs elsewhere."""

    config: ExpertConfig
    adapter: AdapterConfig
    base: ExpertConfig


class RemoteAdapters:
    """Keep adapters loaded on other people's servers, from the first `settle` until `aclose`."""

    def __init__(self, root: Path, backend: AdapterServer, *, visit_seconds: float = VISIT_SECONDS) -> None:
        self._root, self._backend, self._visit_seconds = root, backend, visit_seconds
        self._riders: dict[str, Rider] = {}
        self._boardings: dict[str, Boarding] = {}
        self._visiting: asyncio.Task[None] | None = None

    def replicas(self, expert: str) -> tuple[Replica, ...]:
        """Return the replicas of an adapter's base; empty when the expert is none of ours."""
        rider = self._riders.get(expert)
        return () if rider is None else static_replicas(rider.base)

    def state(self, expert: str) -> str | None:
        """Return failed or starting for an adapter that no replica serves yet; None when there is nothing to say."""
        found = self._boardings_of(expert)
        if not found or any(boarding.is_aboard(expert) for boarding in found):
            return None
        return "failed" if self.failure(expert) else "starting"

    def failure(self, expert: str) -> str:
        """Return why a server refuses an adapter; empty when none does."""
        return next((why for each in self._boardings_of(expert) if (why := each.refused.get(expert))), "")

    async def settle(self, configs: Sequence[ExpertConfig]) -> None:
        """Load adapters that are new, and unload those gone that were loaded by us."""
        self._riders = riders_among(configs)
        for rider in self._riders.values():
            for replica in static_replicas(rider.base) if rider.base.backend == "vllm" else ():
                if replica.base_url not in self._boardings:
                    base = (rider.base.name, rider.base.served_model)
                    self._boardings[replica.base_url] = Boarding(base, replica, self._backend, shared=True)
        for url, boarding in self._boardings.items():
            boarding.wish([self._adapter(rider) for rider in self._riders.values() if _runs_at(rider, url)], UNBOUNDED)
        if self._boardings and self._visiting is None:
            self._visiting = asyncio.create_task(self._run(), name="adapters elsewhere")
        await self._visit()

    def _adapter(self, rider: Rider) -> Adapter:
        folder = Path(resolve_folder(rider.adapter.path, self._root))
        return Adapter(rider.config.name, rider.config.served_model, folder, 1)

    def _boardings_of(self, expert: str) -> list[Boarding]:
        return [self._boardings[url] for each in self.replicas(expert) if (url := each.base_url) in self._boardings]

    async def _visit(self) -> None:
        await asyncio.gather(*(self._settled(url, boarding) for url, boarding in self._boardings.items()))

    async def _settled(self, url: str, boarding: Boarding) -> None:
        try:
            await boarding.settle(afresh=True)
        except ExpertError as error:
            log.info("adapters at %s are left for later: %s", url, error)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._visit_seconds)
            await self._visit()

    async def aclose(self) -> None:
        """Look no more; what is loaded stays loaded."""
        if self._visiting is not None:
            self._visiting.cancel()
            with suppress(asyncio.CancelledError):
                await self._visiting


def riders_among(configs: Sequence[ExpertConfig]) -> dict[str, Rider]:
    """Return the adapters whose base has replicas, by name.

    Raises:
        ConfigError: the base of an adapter, whichever, is no expert here or an adapter itself.
    """
    by_name = {config.name: config for config in configs}
    riders = {}
    for config in configs:
        if config.adapter is not None and (base := base_of(config, config.adapter, by_name)).replicas:
            riders[config.name] = Rider(config, config.adapter, base)
    return riders


def _runs_at(rider: Rider, url: str) -> bool:
    return any(replica.base_url == url for replica in static_replicas(rider.base))
