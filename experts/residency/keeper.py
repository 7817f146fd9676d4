"""Wake servers and put them to sleep as the policy says, and let requests through when theirs is resident.

What happens is told to the policy in the moment it happens, on the event loop; what the policy orders is begun at once
and reports back when it is done. No lock: nothing here is awaited between an event and its orders.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Protocol, Self

from experts.errors import ExpertError, ExpertOverloaded, ExpertTimeout, ExpertUnavailable, LaunchError
from experts.residency.policy import Orders, ResidencyPolicy
from experts.residency.standing import Phase, Request, Server
from experts.types import ExpertName

log = logging.getLogger(__name__)
RETRY_AFTER_SECONDS = 5.0
SHOWN = {Phase.ASLEEP: "asleep", Phase.SLEEPING: "asleep", Phase.WAKING: "waking", Phase.RESIDENT: None}


class Bed(Protocol):
    """How a server is woken and put to sleep."""

    async def wake(self, server: str) -> None:
        """Return when the server can answer.

        Raises:
            ExpertError, LaunchError: it cannot; it holds no memory then.
        """
        ...

    async def put_to_sleep(self, server: str) -> None:
        """Return when the server holds no memory any more.

        Raises:
            ExpertError: it still does.
        """
        ...

    def fell(self, server: str) -> str | None:
        """Say what became of a server that was awake: "stopped" or "failed"; None while it is there."""
        ...


Aboard = Callable[[ExpertName, float], AbstractAsyncContextManager[None]]


class Keeper:
    """The residency of servers of ours. `async with` ends what it began, and leaves servers as they are.

    Args:
        policy: decides; told of everything here and nowhere else.
        bed: carries out.
        max_waiting: most requests that may wait for one server, without background ones: who sends those bounds them.
        aboard: entered, with the expert and the deadline, once its server is resident: has its adapter loaded.
    """

    def __init__(
        self,
        policy: ResidencyPolicy,
        bed: Bed,
        *,
        max_waiting: int = 256,
        aboard: Aboard = lambda expert, deadline: nullcontext(),
    ) -> None:
        self.policy = policy
        self._bed, self._max_waiting, self._aboard = bed, max_waiting, aboard
        self._server_of: Mapping[ExpertName, str] = {}
        self._why: dict[str, str] = {}
        self._numbers = itertools.count()
        self._turns: dict[Request, asyncio.Future[bool]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False

    def settle(self, servers: Iterable[Server], server_of: Mapping[ExpertName, str]) -> None:
        """Take these servers, all of them, for the ones to keep; `server_of` says where experts live."""
        self._server_of = dict(server_of)
        self._carry_out(self.policy.settle(time.monotonic(), servers))

    @asynccontextmanager
    async def holding(self, expert: ExpertName, deadline: float, *, background: bool = False) -> AsyncIterator[None]:
        """Wait until the expert is resident and keep it so; see `Residency.holding`."""
        server = self._server_of.get(expert)
        if server is None:
            async with self._aboard(expert, deadline):
                yield
            return
        request = next(self._numbers)
        turn = self._turns[request] = asyncio.get_running_loop().create_future()
        try:
            self._ask(expert, server, request, background=background)
            await self._turn(expert, turn, deadline)
            async with self._aboard(expert, deadline):
                yield
        finally:
            del self._turns[request]
            self._carry_out(self.policy.ended(time.monotonic(), request))

    def keeps(self, expert: ExpertName) -> bool:
        """Say whether it is ours to wake and to put to sleep."""
        return expert in self._server_of

    def state(self, expert: ExpertName) -> str | None:
        """Return how its server sleeps; see `Residency.state`."""
        standing = self.policy.standings.get(self._server_of.get(expert, ""))
        if standing is None:
            return None
        resting = standing.phase is Phase.ASLEEP and standing.retry_at > time.monotonic()
        return "failed" if resting else SHOWN[standing.phase]

    async def wake(self, expert: ExpertName) -> None:
        """Begin to wake its server, as the one longest waited for."""
        self._carry_out(self.policy.wanted(time.monotonic(), self._server_of[expert]))

    async def sleep(self, expert: ExpertName) -> None:
        """Begin to put its server to sleep, once what runs there is done."""
        self._carry_out(self.policy.dismiss(time.monotonic(), self._server_of[expert]))

    def _ask(self, expert: ExpertName, server: str, request: Request, *, background: bool) -> None:
        self._notice_fall(server)
        standing = self.policy.standings[server]
        waiting = len(standing.online.asked)
        if not background and not standing.open and waiting >= self._max_waiting:
            message = f"Expert '{expert}' is asleep, and {waiting} requests wait for it; try again soon."
            raise ExpertOverloaded(expert, message, retry_after=RETRY_AFTER_SECONDS)
        self._carry_out(self.policy.asked(time.monotonic(), server, request, background=background))

    def _notice_fall(self, server: str) -> None:
        """Tell the policy when a server that should be awake is not: somebody stopped it, or it died for good."""
        if self.policy.standings[server].phase is not Phase.RESIDENT or (how := self._bed.fell(server)) is None:
            return
        log.warning("the server of '%s' should be awake and has %s", server, how)
        event = self.policy.slept if how == "stopped" else self.policy.wake_failed
        self._carry_out(event(time.monotonic(), server))

    async def _turn(self, expert: ExpertName, turn: asyncio.Future[bool], deadline: float) -> None:
        if not turn.done():
            await asyncio.wait({turn}, timeout=max(0.0, deadline - time.monotonic()))
        if not turn.done():
            raise ExpertTimeout(expert, f"Expert '{expert}' was not in memory in time; others are in use.")
        if not turn.result():
            why = self._why.get(self._server_of.get(expert, ""), "it does not fit, or was taken away")
            raise ExpertUnavailable(expert, f"Expert '{expert}' could not be woken: {why}")

    def _carry_out(self, orders: Orders) -> None:
        for request in orders.begin:
            self._answer(request, True)
        for request in orders.refuse:
            self._answer(request, False)
        if self._closed:
            return
        for server in orders.sleep:
            self._start(self._put_to_sleep(server), f"sleep {server}")
        for server in orders.wake:
            self._start(self._wake(server), f"wake {server}")
        self._set_alarm()

    def _answer(self, request: Request, begins: bool) -> None:
        turn = self._turns.get(request)
        if turn is not None and not turn.done():
            turn.set_result(begins)

    def _start(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wake(self, server: str) -> None:
        begun, event = time.monotonic(), self.policy.woke
        try:
            await self._bed.wake(server)
        except (ExpertError, LaunchError) as error:
            self._why[server], event = str(error), self.policy.wake_failed
            log.warning("'%s' could not be woken: %s", server, error)
        else:
            facts = {"server": server, "load_seconds": round(time.monotonic() - begun, 2)}
            log.info("a server is awake", extra={"facts": facts})
        if server in self.policy.standings:
            self._carry_out(event(time.monotonic(), server))

    async def _put_to_sleep(self, server: str) -> None:
        begun, event = time.monotonic(), self.policy.slept
        try:
            await self._bed.put_to_sleep(server)
        except ExpertError as error:
            event = self.policy.sleep_failed
            log.warning("'%s' could not be put to sleep: %s", server, error)
        else:
            facts = {"server": server, "sleep_seconds": round(time.monotonic() - begun, 2)}
            log.info("a server is asleep", extra={"facts": facts})
        if server in self.policy.standings:
            self._carry_out(event(time.monotonic(), server))

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        now = time.monotonic()
        at = self.policy.alarm(now)
        self._alarm = None if at == math.inf else asyncio.get_running_loop().call_later(at - now, self._tick)

    def _tick(self) -> None:
        self._carry_out(self.policy.tick(time.monotonic()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        for task in (tasks := tuple(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
