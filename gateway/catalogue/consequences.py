"""What follows when experts change, beside the requests: servers are settled, new replicas probed, the router told.

Each is done by a task of its own, once for all changes that came meanwhile. Nothing that runs is cut: a server of ours
whose expert was removed is stopped when its last call has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from functools import partial

from experts.config import ExpertConfig
from experts.dispatcher import Dispatcher
from experts.errors import ExpertError
from experts.health.prober import Probing
from experts.registry import Expert, Replica, Snapshot
from experts.types import ExpertName
from gateway.background import Background
from gateway.catalogue.catalogue import PREFIXES, Catalogue
from gateway.catalogue.recurring import Recurring, forever
from gateway.improvement import run_beside
from gateway.pipeline import Pipeline

BURST_SECONDS = 0.05
ROUTING_BURST_SECONDS = 0.2
"""The router is built anew at most so often: that takes some milliseconds in which nothing is answered."""
LOOK_AGAIN_SECONDS = 0.5
PROBES_AT_ONCE = 256


class Consequences:
    """Listens to a catalogue. `begin` starts its tasks; all it is given is borrowed."""

    def __init__(self, catalogue: Catalogue, dispatcher: Dispatcher, pipeline: Pipeline, probing: Probing) -> None:
        self._catalogue, self._dispatcher, self._pipeline, self._probing = catalogue, dispatcher, pipeline, probing
        self.routing = Recurring("routing anew", self._reroute, ROUTING_BURST_SECONDS)
        self.settling = Recurring("settling servers", self._settle, BURST_SECONDS)
        self._probes = Background("probing", PROBES_AT_ONCE)
        self._leaving: dict[ExpertName, ExpertConfig] = {}

    def begin(self, stack: AsyncExitStack) -> None:
        """Listen, follow the store and act until the stack is closed."""
        self._catalogue.listeners.append(self._swapped)
        stack.push_async_callback(self._probes.aclose)
        run_beside(stack, self.routing.run(), "routing-anew")
        run_beside(stack, self.settling.run(), "settling")
        for prefix in PREFIXES:
            run_beside(stack, forever(f"follow-{prefix}", partial(self._catalogue.follow, prefix)), f"follow-{prefix}")

    def in_flight(self, name: ExpertName) -> int:
        """Return how many calls an expert has, waiting ones included, in this process."""
        return self._dispatcher.under_way[name]

    async def probe(self, expert: Expert) -> dict[str, str]:
        """Ask each replica whether it serves the expert, and note it; returns what is wrong, by URL, else empty."""
        wrong = [await each for each in asyncio.as_completed([self._probe(expert, r) for r in expert.replicas])]
        return {url: error for url, error in wrong if error}

    def wish(self, experts: Iterable[ExpertConfig]) -> list[ExpertConfig]:
        """Return who should run: these, and whoever left and still has calls."""
        wanted = {config.name: config for config in experts}
        self._leaving = {
            name: config for name, config in self._leaving.items() if name not in wanted and self.in_flight(name)
        }
        return [*wanted.values(), *self._leaving.values()]

    def _swapped(self, before: Snapshot, after: Snapshot) -> None:
        self._leaving.update({name: before[name].config for name in {*before} - {*after}})
        if [each.profile for each in before.values()] != [each.profile for each in after.values()]:
            self.routing.ask()
        if _runnable(before) != _runnable(after):
            self.settling.ask()
        for expert, replica in _new_replicas(before, after):
            self._probes.start(self._noted(expert, replica))

    async def _reroute(self) -> None:
        """Give the pipeline a router that knows the domains and examples of the experts there are now."""
        self._pipeline.router = await self._pipeline.router.with_profiles(self._catalogue.registry.profiles)

    async def _settle(self) -> None:
        """Make the servers of ours those of the experts there are now; then they have addresses."""
        wanted = self.wish(expert.config for expert in self._catalogue.registry.snapshot.values())
        await self._catalogue.runtime.settle(wanted)
        self._catalogue.refresh()
        if self._leaving:
            asyncio.get_running_loop().call_later(LOOK_AGAIN_SECONDS, self.settling.ask)

    async def _noted(self, expert: Expert, replica: Replica) -> None:
        if not self._dispatcher.health.of(replica.base_url).proven:
            await self._probe(expert, replica)

    async def _probe(self, expert: Expert, replica: Replica) -> tuple[str, str]:
        try:
            await self._probing.probe(expert, replica)
        except ExpertError as error:
            self._dispatcher.health.missed(replica.base_url, str(error))
            return replica.base_url, str(error)
        self._dispatcher.health.found(replica.base_url)
        return replica.base_url, ""


def _runnable(world: Snapshot) -> Mapping[ExpertName, tuple[object, ...]]:
    """Return what a runtime acts on."""
    return {
        name: (expert.config.launch, expert.config.adapter, expert.config.served_model, expert.config.backend)
        for name, expert in world.items()
        if expert.config.launch or expert.config.adapter
    }


def _new_replicas(before: Snapshot, after: Snapshot) -> Iterator[tuple[Expert, Replica]]:
    for name, expert in after.items():
        known = before[name].replicas if name in before else ()
        yield from ((expert, replica) for replica in expert.replicas if replica not in known)
