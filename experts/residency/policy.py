"""Which servers are awake when memory holds fewer than all. Pure: an event in, instructions out, no clock of its own.

    asked, ended                    a request came; it is done, or its client has gone
    woke, wake_failed               a server is resident; it could not be woken
    slept, sleep_failed             it holds no memory any more; it still does
    wanted, dismissed               the operator says wake, or sleep
    tick                            time has passed (`alarm` says when that can matter)

The order in which servers are woken: those whose oldest request has waited too long, the longest wait first; then by
how many wait, weighed by age, for each second that loading takes. Room is made by servers that nobody uses, the one
least worth keeping first. A server in use keeps answering, newcomers included, until somebody else has waited too long:
then it drains (what runs ends, newcomers wait) and makes room.

The bound. Let W be `max_wait_seconds`, D the longest that begun requests of one server take to end, S and L the
longest times to sleep and to wake, and let n servers have waiting requests that are older than r, a request for server
B. Then r begins within W + (n + 2) * (D + S + L) of being asked, failures apart:
  1. At W it is overdue. From then on nothing is woken that is not overdue and older, except what is waking already: one
     D + S + L at most for each place.
  2. A server ahead of B is ahead once. On waking, all of its waiting requests begin; who waits for it later was asked
     while it drained, after r was, and is behind r.
  3. Each turn is one drain, one sleep, one wake: nobody begins on a draining server, so it is empty after D.
With `max_resident` = 1 this is exact but for overlaps; with more places turns run side by side and it only shrinks.
Background requests count W ten times over.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from experts.residency.standing import Phase, Request, Server, Standing

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
NEW_MEASUREMENT = 0.5
TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be awake at once (None: no bound), and how patient everybody is; see `ResidencyConfig`."""

    max_resident: int | None = None
    memory_gib: float | None = None
    max_wait_seconds: float = 60.0
    min_dwell_seconds: float = 2.0
    prefetch: bool = True

    def holds(self, standings: Iterable[Standing]) -> bool:
        """Say whether these servers may hold memory together: so many, so much, and no GPU more than whole."""
        servers = [standing.server for standing in standings]
        taken: Counter[int] = Counter()
        for server in servers:
            taken.update(server.seats)
        few = self.max_resident is None or len(servers) <= self.max_resident
        small = self.memory_gib is None or sum(server.need_gib for server in servers) <= self.memory_gib + TINY
        return few and small and all(share <= 1 + TINY for share in taken.values())


@dataclass(frozen=True, slots=True)
class Orders:
    """What to do now: servers to wake and to put to sleep, requests that may begin, requests to turn away."""

    wake: tuple[str, ...] = ()
    sleep: tuple[str, ...] = ()
    begin: tuple[Request, ...] = ()
    refuse: tuple[Request, ...] = ()

    def __add__(self, other: Orders) -> Orders:
        return Orders(
            self.wake + other.wake, self.sleep + other.sleep, self.begin + other.begin, self.refuse + other.refuse
        )


NOTHING = Orders()


class ResidencyPolicy:
    """Decide for some servers. Methods are events: they take the time, in seconds and never backwards, and return
    what to do. Requests are numbers the caller chooses, each used once.

    Attributes:
        standings: what is known of each server; to be read only.
        impossible: servers that cannot be awake beside the pinned ones; their requests are turned away.
    """

    def __init__(self, servers: Iterable[Server], bounds: Bounds) -> None:
        self.bounds = bounds
        self.standings: dict[str, Standing] = {}
        self.impossible: frozenset[str] = frozenset()
        self._server_of: dict[Request, str] = {}
        self.settle(0.0, servers)

    def asked(self, now: float, server: str, request: Request, *, background: bool = False) -> Orders:
        """A request came for a server: it begins, waits, or is turned away while a failed server rests."""
        standing = self.standings[server]
        standing.warm(now)
        if standing.open:
            self._server_of[request] = server
            standing.in_flight.add(request)
            return Orders(begin=(request,))
        resting = standing.retry_at > now and standing.phase is Phase.ASLEEP
        if resting or server in self.impossible:
            return Orders(refuse=(request,))
        self._server_of[request] = server
        (standing.background if background else standing.online).add(request, now)
        return self._decide(now)

    def ended(self, now: float, request: Request) -> Orders:
        """A request is over, begun or not; one that was turned away or is unknown changes nothing."""
        server = self._server_of.pop(request, None)
        if server is None:
            return NOTHING
        standing = self.standings[server]
        if request in standing.in_flight:
            standing.in_flight.discard(request)
            standing.used_at = now
            return NOTHING if standing.in_flight else self._decide(now)
        if not standing.online.drop(request):
            standing.background.drop(request)
        return self._decide(now)

    def woke(self, now: float, server: str) -> Orders:
        """A server is resident: everybody who waits for it begins before anything else is decided."""
        standing = self.standings[server]
        took = now - standing.changed_at
        standing.load_seconds += (took - standing.load_seconds) * (NEW_MEASUREMENT if standing.measured else 1.0)
        standing.measured, standing.failures, standing.retry_at, standing.wanted_at = True, 0, 0.0, None
        _enter(standing, Phase.RESIDENT, now)
        return self._begun(standing) + self._decide(now)

    def wake_failed(self, now: float, server: str) -> Orders:
        """A server could not be woken, or died: who waits is turned away, and it rests, longer each time."""
        standing = self.standings[server]
        rest = min(FIRST_RETRY_SECONDS * 2.0 ** min(standing.failures, 32), LONGEST_RETRY_SECONDS)
        standing.failures += 1
        standing.retry_at, standing.wanted_at = now + rest, None
        _enter(standing, Phase.ASLEEP, now)
        refused = standing.take()
        for request in refused:
            del self._server_of[request]
        return Orders(refuse=refused) + self._decide(now)

    def slept(self, now: float, server: str) -> Orders:
        """A server holds no memory any more."""
        self.standings[server].dismissed = False
        _enter(self.standings[server], Phase.ASLEEP, now)
        return self._decide(now)

    def sleep_failed(self, now: float, server: str) -> Orders:
        """A server holds its memory still: it goes on answering, and is left awake for a while."""
        standing = self.standings[server]
        standing.retry_at, standing.dismissed = now + LONGEST_RETRY_SECONDS, False
        _enter(standing, Phase.RESIDENT, now)
        return self._decide(now)

    def wanted(self, now: float, server: str) -> Orders:
        """The operator wants it awake: it is next, as if somebody had waited too long; a rest after failures ends."""
        standing = self.standings[server]
        standing.dismissed, standing.retry_at = False, 0.0
        awake = standing.phase in (Phase.RESIDENT, Phase.WAKING)
        standing.wanted_at = None if awake or server in self.impossible else now
        return self._decide(now)

    def dismiss(self, now: float, server: str) -> Orders:
        """The operator wants it asleep: what runs there ends, newcomers wait and wake it again afterwards."""
        standing = self.standings[server]
        standing.dismissed, standing.wanted_at = standing.phase is not Phase.ASLEEP, None
        standing.heat = 0.0
        return self._decide(now)

    def tick(self, now: float) -> Orders:
        """Look again: somebody may have waited too long, or been idle for long enough."""
        return self._decide(now)

    def settle(self, now: float, servers: Iterable[Server]) -> Orders:
        """Take these servers, all of them, for the ones there are. A new one is asleep.

        One that has gone is forgotten: who waits for it is turned away, what runs there is no longer watched.
        """
        fresh = {server.name: server for server in servers}
        refused: list[Request] = []
        for name in [name for name in self.standings if name not in fresh]:
            gone = self.standings.pop(name)
            refused += gone.take()
        self._server_of = {request: name for request, name in self._server_of.items() if name in self.standings}
        for name, server in fresh.items():
            if name in self.standings:
                self.standings[name].server = server
            else:
                self.standings[name] = Standing(server, load_seconds=server.load_seconds)
        self.impossible = self._never_fit()
        return Orders(refuse=tuple(refused)) + self._decide(now)

    def alarm(self, now: float) -> float:
        """Return when to `tick` although nothing happens; infinity for never."""
        return min(
            (at for standing in self.standings.values() for at in self._alarms(standing) if at > now), default=math.inf
        )

    def _alarms(self, standing: Standing) -> Iterator[float]:
        if standing.phase is Phase.RESIDENT:
            yield standing.changed_at + self.bounds.min_dwell_seconds
            yield standing.retry_at
            if standing.server.sleep_after_seconds is not None and standing.idle:
                yield standing.used_at + standing.server.sleep_after_seconds
        yield standing.due_at(self.bounds.max_wait_seconds)

    # Deciding: every event ends here. Who stays is worked out anew, the draining ones of before first to go.

    def _decide(self, now: float) -> Orders:
        resident = [standing for standing in self.standings.values() if standing.phase is Phase.RESIDENT]
        draining = {standing.server.name for standing in resident if standing.draining}
        for standing in resident:
            standing.draining = standing.dismissed or self._idled_out(standing, now)
        orders = self._wakes(now, draining)
        for standing in resident:
            if not standing.draining:
                orders += self._begun(standing)
            elif not standing.in_flight:
                orders += _put_to_sleep(standing, now)
        return orders

    def _wakes(self, now: float, draining: set[str]) -> Orders:
        """Return who is woken now; marks as draining who has to make room."""
        awake = [standing for standing in self.standings.values() if standing.phase is not Phase.ASLEEP]
        staying = [each for each in awake if each.phase is not Phase.SLEEPING and not each.draining]
        going = [each for each in awake if each not in staying]
        woken, reserved = [], set[int]()
        for candidate in self._candidates(now):
            if not reserved.isdisjoint(candidate.server.seats):
                continue
            overdue = candidate.due_at(self.bounds.max_wait_seconds) <= now
            leaving = self._leaving(candidate, staying, draining, now, overdue=overdue)
            if leaving is None:
                if overdue and not candidate.server.seats:
                    break  # nobody behind it takes the room it waits for
                reserved |= candidate.server.seats.keys() if overdue else set()
                continue
            for standing in leaving:
                standing.draining = True
            going += leaving
            staying = [each for each in staying if each not in leaving] + [candidate]
            if self.bounds.holds(staying + going):
                _enter(candidate, Phase.WAKING, now)
                woken.append(candidate.server.name)
        return Orders(wake=tuple(woken))

    def _candidates(self, now: float) -> list[Standing]:
        """Return who should be woken, the most urgent first; without any, what is likely to be asked for next."""
        patience = self.bounds.max_wait_seconds
        asleep = [each for each in self.standings.values() if each.phase is Phase.ASLEEP and each.retry_at <= now]
        wanted = [each for each in asleep if each.waiting or each.wanted_at is not None]
        if not wanted:
            return self._likely(asleep, now)
        due = {each.server.name: each.due_at(patience) for each in wanted}
        overdue = sorted((each for each in wanted if due[each.server.name] <= now), key=lambda e: due[e.server.name])
        others = [each for each in wanted if due[each.server.name] > now]
        return overdue + sorted(others, key=lambda each: -each.urgency(now, patience))

    def _likely(self, asleep: list[Standing], now: float) -> list[Standing]:
        """Return the one server worth waking before anybody asks, if there is room for it as things are."""
        awake = [each for each in self.standings.values() if each.phase is not Phase.ASLEEP]
        quiet = all(each.phase is Phase.RESIDENT for each in awake)
        if not (self.bounds.prefetch and quiet):
            return []
        fit = [
            each
            for each in asleep
            if each.heat > 0 and each.server.sleep_after_seconds is None and self.bounds.holds([*awake, each])
        ]
        return [max(fit, key=lambda each: each.worth(now))] if fit else []

    def _leaving(
        self, candidate: Standing, staying: list[Standing], draining: set[str], now: float, *, overdue: bool
    ) -> list[Standing] | None:
        """Return who makes room for a candidate, nobody when there is room; None when that cannot be now."""
        if self.bounds.holds([*staying, candidate]):
            return []
        may = [each for each in staying if self._may_leave(each, now, overdue=overdue)]
        may.sort(key=lambda each: (each.server.name not in draining, bool(each.in_flight), each.worth(now)))
        leaving: list[Standing] = []
        for standing in may:
            leaving.append(standing)
            if self._fits(candidate, staying, leaving):
                break
        else:
            return None
        for standing in leaving[:-1]:
            fewer = [each for each in leaving if each is not standing]
            if self._fits(candidate, staying, fewer):
                leaving = fewer
        return leaving

    def _fits(self, candidate: Standing, staying: list[Standing], leaving: list[Standing]) -> bool:
        return self.bounds.holds([each for each in staying if each not in leaving] + [candidate])

    def _may_leave(self, standing: Standing, now: float, *, overdue: bool) -> bool:
        """Say whether a server may make room: in use or fresh only for one that has waited too long."""
        if standing.phase is not Phase.RESIDENT or standing.server.pinned or standing.retry_at > now:
            return False
        rested = now >= standing.changed_at + self.bounds.min_dwell_seconds
        return overdue or (rested and standing.idle)

    def _idled_out(self, standing: Standing, now: float) -> bool:
        after = standing.server.sleep_after_seconds
        return after is not None and standing.idle and now >= standing.used_at + after

    def _never_fit(self) -> frozenset[str]:
        """Return the servers for which there is no room even when only the pinned ones are awake."""
        pinned = [standing for standing in self.standings.values() if standing.server.pinned]
        alone = {name: [*(p for p in pinned if p is not each), each] for name, each in self.standings.items()}
        return frozenset(name for name, beside in alone.items() if not self.bounds.holds(beside))

    def _begun(self, standing: Standing) -> Orders:
        taken = standing.take()
        standing.in_flight.update(taken)
        return Orders(begin=taken)


def _enter(standing: Standing, phase: Phase, now: float) -> None:
    standing.phase, standing.draining, standing.changed_at, standing.used_at = phase, False, now, now


def _put_to_sleep(standing: Standing, now: float) -> Orders:
    _enter(standing, Phase.SLEEPING, now)
    return Orders(sleep=(standing.server.name,))
