"""What each expert is doing at this moment, in one word and in figures: for routing, metrics, models and the page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from experts.dispatcher import Dispatcher
from experts.health.board import Breaker
from experts.launch import Runtime
from experts.registry import Expert, Registry
from experts.types import ExpertName
from gateway.metrics import ExpertLoad
from router.types import Load

DRAINED = "draining"
ANSWERING = frozenset({"ready", "asleep", "waking"})
"""States in which a request is answered, if need be after its expert was woken."""


class Standing:
    """Looks at what others keep; it keeps nothing itself. All of it is borrowed.

    Args:
        registry: who there is.
        runtime: knows the servers that are ours to run.
        dispatcher: knows what runs and waits, and which replicas are well.
    """

    def __init__(self, registry: Registry, runtime: Runtime, dispatcher: Dispatcher) -> None:
        self._registry, self._runtime, self._dispatcher = registry, runtime, dispatcher

    def state(self, expert: ExpertName) -> str:
        """Return what an expert is doing in one word: ready, starting, restarting, failed, unreachable, asleep,
        waking, draining, drained; failed as well where it is registered and cannot be used here.
        """
        if (known := self._registry.snapshot.get(expert)) is None:
            return "failed"
        if known.drained:
            return "draining" if self._dispatcher.under_way[expert] else "drained"
        running = self._runtime.state(expert)
        if running not in (None, "ready"):
            return running
        if running == "ready" and self._dispatcher.residency.keeps(expert):
            return running  # it wrote a token when it woke; nobody may have asked since
        health, replicas = self._dispatcher.health, known.replicas
        return "ready" if any(health.of(replica.base_url).proven for replica in replicas) else "unreachable"

    def unfit(self) -> dict[ExpertName, str]:
        """Return experts that are not to be chosen now, with the reason: drained ones, and those that cannot serve.

        When none of the others can serve they are left in, so that one is tried.
        """
        world = self._registry.snapshot
        drained = {name: DRAINED for name, expert in world.items() if expert.drained}
        states = {name: self.state(name) for name in world if name not in drained}
        unfit = {name: state for name, state in states.items() if state not in ANSWERING}
        return drained if len(unfit) == len(states) else {**drained, **unfit}

    def load(self) -> dict[ExpertName, Load]:
        """Return what each expert is doing and how fast it lately answered, for the router."""
        return {name: self.load_of(expert) for name, expert in self._registry.snapshot.items()}

    def load_of(self, expert: Expert) -> Load:
        """Return what one expert is doing and how fast it lately answered."""
        name, admission = expert.name, self._dispatcher.admission
        times = self._dispatcher.pace.of(name)
        return Load(
            in_flight=admission.running.get(name, 0),
            waiting=admission.waiting.get(name, 0),
            places=expert.config.limits.max_in_flight,
            first_token_ms=None if times is None else times.first_token_ms,
            total_ms=None if times is None else times.total_ms,
        )

    def loads(self) -> Iterable[ExpertLoad]:
        """Yield what each expert is doing, for the metrics."""
        running, waiting = self._dispatcher.admission.running, self._dispatcher.admission.waiting
        for name in self._registry.snapshot:
            ready = self.state(name) == "ready"
            yield ExpertLoad(name, running.get(name, 0), waiting.get(name, 0), ready, self.breakers(name))

    def breakers(self, expert: ExpertName) -> dict[str, int]:
        """Return how many of an expert's replicas have their breaker in each state."""
        states = dict.fromkeys(get_args(Breaker), 0)
        for replica in self._registry.snapshot[expert].replicas:
            states[self._dispatcher.health.breaker(replica.base_url)] += 1
        return states
