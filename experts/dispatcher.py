"""Run calls: choose a replica, keep deadlines, try another before the first chunk, never after.

An expert that is asleep is waited for: the time for its first token counts from when it is resident, the call's
deadline from its beginning. A call that has a place at an expert keeps it while it tries one replica after the other.

One attempt is one request to one replica. Attempts over all replicas and stand-in experts are bounded and
share the call's deadline. Nothing is sent until a stream is first awaited, so a cascade costs nothing extra.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

from experts.admission import Admission
from experts.attempt import Attempt
from experts.backends.base import Backend
from experts.balancer import affinity_key, choose
from experts.config import MAX_ATTEMPTS
from experts.errors import DeadlinePassed, ExpertDraining, ExpertError, ExpertUnavailable
from experts.health import HealthBoard
from experts.hedging import Hedges, first_begun
from experts.pace import Pace
from experts.registry import Expert, Registry, Snapshot
from experts.residency import ALWAYS_RESIDENT, Residency
from experts.types import AnswerChunk, CallFacts, Dispatch, ExpertCall, ExpertName, ExpertStream


@dataclass(slots=True)
class _Run:
    """One call under way: when its time is up (monotonic), and the replicas it has tried."""

    call: ExpertCall
    facts: CallFacts
    deadline: float
    tried: set[str] = field(default_factory=set)
    noted: ExpertError | None = None

    @property
    def late(self) -> bool:
        return time.monotonic() >= self.deadline

    @property
    def first_by(self) -> float:
        """When its time until the first token is up."""
        seconds = self.call.first_token_seconds
        return self.deadline if seconds is None else min(self.deadline, self.facts.started + seconds)

    def failed(self, expert: Expert, failure: ExpertError) -> None:
        """Note a failure, once."""
        if failure is not self.noted:
            self.facts.failures.append(f"{expert.name}: {type(failure).__name__}")
        self.noted = failure


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
        self.hedges = Hedges()
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
        run = _Run(call, facts, facts.started + (call.deadline_seconds or experts[0].config.limits.timeout_seconds))
        error: ExpertError = ExpertUnavailable(call.expert, f"Expert '{call.expert}' has no replica.")
        for position, expert in enumerate(experts):
            most = self._share(facts, last=position + 1 == len(experts))
            if most <= 0 or run.late:
                break
            facts.expert = expert.name
            try:
                async with self._let_in(expert, run), await self._begun(expert, run, most) as attempt:
                    self._first(attempt, facts)
                    async for chunk in attempt:
                        facts.usage = chunk.usage or facts.usage
                        yield chunk
                    if not call.in_one_piece:
                        self._answered(attempt)
                return
            except ExpertError as failure:
                run.failed(expert, failure)
                if facts.first_token_seconds is not None or not failure.retryable:
                    raise
                error = failure
            finally:
                facts.total_seconds = time.monotonic() - facts.started
        raise error

    def _share(self, facts: CallFacts, *, last: bool) -> int:
        """Return how many attempts an expert may take: one is kept for the next expert, if there is one."""
        left = self.max_attempts - facts.attempts
        return left if last else min(left, max(1, left - 1))

    @asynccontextmanager
    async def _let_in(self, expert: Expert, run: _Run) -> AsyncIterator[None]:
        """Hold a place at a resident expert; counted in `under_way` from before it waits for anything."""
        call, limits, name = run.call, expert.config.limits, expert.name
        self.under_way[name] += 1
        try:
            async with self.residency.holding(name, run.deadline, background=call.background):
                left = run.deadline - time.monotonic()
                patience = left if call.background else min(limits.first_token_timeout_seconds, left)
                async with self.admission.place(name, limits, patience, call.priority, call.client, call.share):
                    yield
        finally:
            self.under_way[name] -= 1
            if not self.under_way[name]:
                del self.under_way[name]

    async def _begun(self, expert: Expert, run: _Run, most: int) -> Attempt:
        """Return the attempt that said something: one replica after the other is asked, `most` of them.

        Where nobody watches it being written, that is the attempt that has said everything.

        Raises:
            ExpertError: none did.
        """
        error: ExpertError | None = None
        run.tried.clear()  # another expert may run on the same server
        last = run.facts.attempts + most
        while run.facts.attempts < last and not run.late and (attempt := self._attempt(expert, run)) is not None:
            run.facts.waited_seconds = attempt.sent - run.facts.started
            try:
                begun = await self._first_token(attempt, run)
                if run.call.joined:
                    await begun.finish()
                return begun
            except ExpertError as failure:
                run.failed(expert, failure)
                if not failure.retryable:
                    raise
                error = failure
        if error is None and run.late:
            error = DeadlinePassed(expert.name, f"The time of the request was over before '{expert.name}' was asked.")
        raise error or ExpertUnavailable(expert.name, f"Expert '{expert.name}' has no replica.")

    def _attempt(self, expert: Expert, run: _Run) -> Attempt | None:
        """Return the next attempt, counted; None when every replica has been tried."""
        key = None if expert.config.affinity == "none" else affinity_key(expert.config.affinity, run.call)
        replica = choose(expert.replicas, self.health, tried=run.tried, key=key)
        if replica is None:
            return None
        run.tried.add(replica.base_url)
        run.facts.attempts += 1
        run.facts.replica = replica.base_url
        backend = self._backends[expert.config.backend]
        ask = backend.stream if run.call.relay is None else backend.relay
        return Attempt(expert, replica, run.call, ask(expert, replica, run.call), self.health, run.deadline)

    async def _first_token(self, attempt: Attempt, run: _Run) -> Attempt:
        """Return the attempt once it has begun, or another one that was quicker."""
        expert = attempt.expert
        hedge = None if run.call.in_one_piece else expert.config.hedge
        patience = None if hedge is None or run.call.background else self.hedges.patience(expert.name, hedge)
        if patience is None:
            await attempt.begin(run.first_by)
            begun = attempt
        else:
            with ExitStack() as race:
                begun = await first_begun(attempt, lambda: self._hedge(expert, run, race), patience, run.first_by)
        if hedge is not None:
            self.hedges.began(expert.name, hedge, begun.first_token - attempt.sent)
        return begun

    def _hedge(self, expert: Expert, run: _Run, race: ExitStack) -> Attempt | None:
        """Return a second attempt where there is a rested replica, a free place, and something saved up for it.

        It holds that place until the race is over.
        """
        call, limits = run.call, expert.config.limits
        rested = any(r.base_url not in run.tried and not self.health.rests(r.base_url) for r in expert.replicas)
        if run.facts.attempts >= self.max_attempts or not rested:
            return None
        give_back = self.admission.spare(expert.name, limits, call.priority, call.client, call.share)
        if give_back is None:
            return None
        if not self.hedges.spend(expert.name):
            give_back()
            return None
        race.callback(give_back)
        run.facts.hedges += 1
        return self._attempt(expert, run)

    def _first(self, attempt: Attempt, facts: CallFacts) -> None:
        facts.replica = attempt.replica.base_url
        facts.first_token_seconds = attempt.first_token - facts.started

    def _answered(self, attempt: Attempt) -> None:
        """Count a whole answer's times, from when it was sent."""
        first, whole = attempt.first_token - attempt.sent, time.monotonic() - attempt.sent
        self.pace.answered(attempt.expert.name, 1000 * first, 1000 * whole)

    def _experts(self, call: ExpertCall, fallbacks: Sequence[ExpertName], decided: Snapshot) -> list[Expert]:
        """Return whom to ask, in order: as they are now, or as they were when it was decided to ask them."""
        now, name = self._registry.snapshot, call.expert
        standing = (in_service(each, now, decided) for each in (name, *fallbacks))
        if experts := [expert for expert in standing if expert is not None]:
            return sorted(experts, key=self._shut_off)
        if name in now:
            raise ExpertDraining(name, f"Expert '{name}' is being taken out of service, and nobody stands in for it.")
        raise ExpertUnavailable(name, f"Expert '{name}' is not registered any more.")

    def _shut_off(self, expert: Expert) -> bool:
        """Say whether every replica's breaker is open, or it has asked for a pause: who stands in is asked before."""
        return all(self.health.shut_off(replica.base_url) for replica in expert.replicas)


def in_service(name: ExpertName, now: Snapshot, decided: Snapshot) -> Expert | None:
    """Return an expert that may be asked: as it is now, else as it was; None when it was drained already then."""
    standing = (world[name] for world in (now, decided) if name in world)
    return next((expert for expert in standing if not expert.drained), None)
