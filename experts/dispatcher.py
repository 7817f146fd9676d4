"""Run calls: choose a replica, keep deadlines, try another before the first chunk, never after.

An expert that is asleep is waited for: the time for its first token counts from when it is resident, the call's
deadline from its beginning.

One attempt is one request to one replica. Attempts over all replicas and stand-in experts are bounded and
share the call's deadline. Nothing is sent until a stream is first awaited, so a cascade costs nothing extra.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager

from experts.admission import Admission
from experts.backends.base import Backend
from experts.balancer import choose
from experts.errors import ExpertDraining, ExpertError, ExpertOverloaded, ExpertTimeout, ExpertUnavailable
from experts.health import HealthBoard
from experts.pace import Pace
from experts.registry import Expert, Registry, Replica, Snapshot
from experts.residency import ALWAYS_RESIDENT, Residency
from experts.types import AnswerChunk, CallFacts, Dispatch, ExpertCall, ExpertName, ExpertStream

MAX_ATTEMPTS = 3


class Dispatcher:
    """Open expert streams. Everything it is given is borrowed; it owns no connection."""

    def __init__(
        self,
        registry: Registry,
        backends: Mapping[str, Backend],
        health: HealthBoard,
        *,
        max_attempts: int = MAX_ATTEMPTS,
        residency: Residency = ALWAYS_RESIDENT,
    ) -> None:
        self.residency = residency
        self._registry, self._backends, self.health = registry, backends, health
        self.admission = Admission()
        self.under_way: Counter[ExpertName] = Counter()
        self.pace = Pace()
        self.max_attempts = max_attempts

    def open(
        self, call: ExpertCall, fallbacks: Sequence[ExpertName] = (), decided: Snapshot | None = None
    ) -> ExpertStream:
        """Return a lazy stream of `call`; `fallbacks` stand in, in order, before the first chunk.

        Who was in service in `decided`, the experts when the call was decided on (None: those of now), is asked
        even where it has been drained or removed since.
        """
        world = self._registry.snapshot if decided is None else decided
        return ExpertStream(call, lambda facts: self._run(call, tuple(fallbacks), facts, world))

    def run(self, dispatch: Dispatch, decided: Snapshot | None = None) -> tuple[ExpertStream, ...]:
        """Open every call. Stand-ins serve the first call only: the other arms survive by each other."""
        first, *rest = dispatch.calls
        opened = self.open(first, dispatch.fallbacks, decided)
        return (opened, *(self.open(call, decided=decided) for call in rest))

    async def _run(
        self, call: ExpertCall, fallbacks: tuple[ExpertName, ...], facts: CallFacts, decided: Snapshot
    ) -> AsyncGenerator[AnswerChunk, None]:
        experts = self._experts(call, fallbacks, decided)
        deadline = facts.started + (call.deadline_seconds or experts[0].config.limits.timeout_seconds)
        error: ExpertError = ExpertUnavailable(call.expert, f"Expert '{call.expert}' has no replica.")
        for expert, replica in self._attempts(experts):
            if time.monotonic() >= deadline:
                break
            facts.attempts += 1
            facts.expert, facts.replica = expert.name, replica.base_url
            try:
                async with (
                    self._counted(expert.name),
                    self.residency.holding(expert.name, deadline, background=call.background),
                    aclosing(self._attempt(expert, replica, call, facts, deadline)) as chunks,
                ):
                    async for chunk in chunks:
                        yield chunk
                return
            except ExpertError as failure:
                self._note(replica, failure, facts)
                if facts.first_token_seconds is not None or not failure.retryable:
                    raise
                error = failure
        raise error

    @asynccontextmanager
    async def _counted(self, expert: ExpertName) -> AsyncIterator[None]:
        """Count an attempt in `under_way`, from before it waits for anything until it has ended."""
        self.under_way[expert] += 1
        try:
            yield
        finally:
            self.under_way[expert] -= 1
            if not self.under_way[expert]:
                del self.under_way[expert]

    def _experts(self, call: ExpertCall, fallbacks: Sequence[ExpertName], decided: Snapshot) -> list[Expert]:
        """Return whom to ask, in order: as they are now, or as they were when it was decided to ask them."""
        now, name = self._registry.snapshot, call.expert
        standing = (in_service(each, now, decided) for each in (name, *fallbacks))
        if experts := [expert for expert in standing if expert is not None]:
            return experts
        if name in now:
            raise ExpertDraining(name, f"Expert '{name}' is being taken out of service, and nobody stands in for it.")
        raise ExpertUnavailable(name, f"Expert '{name}' is not registered any more.")

    def _attempts(self, experts: Sequence[Expert]) -> Iterator[tuple[Expert, Replica]]:
        """Yield what to try: replicas of the first expert, then of each stand-in, none twice.

        As long as there is a next expert, one attempt is kept for it.
        """
        left = self.max_attempts
        for position, expert in enumerate(experts):
            tried: set[str] = set()
            kept = min(1, len(experts) - position - 1)
            while left > kept and (replica := choose(expert.replicas, self.health, tried=tried)):
                tried.add(replica.base_url)
                left -= 1
                yield expert, replica

    async def _attempt(
        self, expert: Expert, replica: Replica, call: ExpertCall, facts: CallFacts, deadline: float
    ) -> AsyncGenerator[AnswerChunk, None]:
        limits = expert.config.limits
        first_by = min(time.monotonic() + limits.first_token_timeout_seconds, deadline)
        record = self.health.of(replica.base_url)
        patience = (deadline if call.background else first_by) - time.monotonic()
        async with self.admission.place(expert.name, limits, patience, call.priority):
            if call.background:  # nobody waits for it: its time in the queue is not the server's
                first_by = min(time.monotonic() + limits.first_token_timeout_seconds, deadline)
            record.in_flight += 1
            sent, first = time.monotonic(), None
            facts.waited_seconds = sent - facts.started
            try:
                backend = self._backends[expert.config.backend]
                async with aclosing(backend.stream(expert, replica, call)) as chunks:
                    async for chunk in _timed(expert, chunks, first_by, deadline):
                        first = first or time.monotonic()
                        self._served(replica, chunk, facts)
                        yield chunk
                done = time.monotonic()
                self.pace.answered(expert.name, 1000 * ((first or done) - sent), 1000 * (done - sent))
            finally:
                record.in_flight -= 1
                facts.total_seconds = time.monotonic() - facts.started

    def _served(self, replica: Replica, chunk: AnswerChunk, facts: CallFacts) -> None:
        if facts.first_token_seconds is None:
            facts.first_token_seconds = time.monotonic() - facts.started
            self.health.served(replica.base_url)
        facts.usage = chunk.usage or facts.usage

    def _note(self, replica: Replica, failure: ExpertError, facts: CallFacts) -> None:
        facts.failures.append(f"{facts.expert}: {type(failure).__name__}")
        if isinstance(failure, ExpertOverloaded):
            self.health.overloaded(replica.base_url, failure.retry_after)
        elif failure.retryable:
            self.health.failed(replica.base_url, str(failure))


async def _timed(
    expert: Expert, chunks: AsyncGenerator[AnswerChunk, None], first_by: float, deadline: float
) -> AsyncGenerator[AnswerChunk, None]:
    """Pass chunks on while each comes in time: the first token by `first_by`, all by `deadline` (monotonic).

    Chunks that say nothing yet (a role, say) are held back until the first token: before it, another
    replica may still take over.
    """
    held: list[AnswerChunk] = []
    until, what, begun = first_by, "its first token", False
    while True:
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise ExpertTimeout(expert.name, f"Expert '{expert.name}' did not send {what} in time.") from None
        held += [chunk] if chunk else []
        begun = begun or chunk is None or says_something(chunk)
        if begun:
            for ready in held:
                yield ready
            held.clear()
            idle_until = time.monotonic() + expert.config.limits.idle_timeout_seconds
            until, what = min(idle_until, deadline), "the rest of its answer"
        if chunk is None:
            return


def in_service(name: ExpertName, now: Snapshot, decided: Snapshot) -> Expert | None:
    """Return an expert that may be asked: as it is now, else as it was; None when it was drained already then."""
    standing = (world[name] for world in (now, decided) if name in world)
    return next((expert for expert in standing if not expert.drained), None)


def says_something(chunk: AnswerChunk) -> bool:
    """Say whether a client can see anything in this chunk beyond whose turn it is."""
    if chunk.finish_reason or chunk.usage:
        return True
    deltas = (choice.get("delta") or {} for choice in chunk.raw["choices"])
    return any(value for delta in deltas for key, value in delta.items() if key != "role")
