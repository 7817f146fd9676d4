"""One request to one replica: up to its first token, where somebody else may still take over, and on to its end.

Chunks that say nothing yet (a role, say) are held back until the first token. Every wait is bounded: for the first
token, between tokens, and for the whole answer. What the replica did goes to the health board; that the request's own
time ran out is no fault of the replica's.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import AsyncGenerator

from experts.errors import DeadlinePassed, EndpointMissing, ExpertError, ExpertOverloaded, ExpertTimeout
from experts.health import HealthBoard
from experts.health.board import FAULTS_THAT_OPEN
from experts.patience import Patience
from experts.registry import Expert, Replica
from experts.types import AnswerChunk, ExpertCall


class Attempt:
    """Iterate it for the chunks, once `begin` has returned. Whoever holds it closes it (`async with`).

    Args:
        call: what was asked.
        chunks: the backend's; closed with the attempt.
        deadline: when the request's own time is up, on `time.monotonic()`'s clock.
    """

    def __init__(
        self,
        expert: Expert,
        replica: Replica,
        call: ExpertCall,
        chunks: AsyncGenerator[AnswerChunk, None],
        health: HealthBoard,
        deadline: float,
    ) -> None:
        self.expert, self.replica = expert, replica
        self.sent, self.first_token = time.monotonic(), 0.0
        self._chunks, self._health, self._deadline = chunks, health, deadline
        self._patience = Patience()
        self._held: deque[AnswerChunk] = deque()
        self._ended = self._closed = False
        limits = expert.config.limits
        self._own_first = limits.timeout_seconds if call.in_one_piece else limits.first_token_timeout_seconds
        self._own_idle = limits.idle_timeout_seconds
        self._idle = math.inf if call.idle_seconds is None else call.idle_seconds
        self._record = health.of(replica.base_url)
        self._record.in_flight += 1
        self._trying = self._record.faults_in_a_row >= FAULTS_THAT_OPEN
        self._record.trying += self._trying

    async def begin(self, first_by: float) -> None:
        """Wait for the first token, or for the end of an answer that has none.

        Args:
            first_by: when the request's time until its first token is up (monotonic); the expert's own limit holds too.

        Raises:
            ExpertError: there will be none; nothing is left open.
        """
        begun = False
        own = self.sent + self._own_first
        try:
            while not begun:
                chunk = await self._within(own, first_by, "its first token")
                if chunk is not None:
                    self._held.append(chunk)
                begun = self._ended or (chunk is not None and chunk.speaks)
            if self._held:
                self._tried()
                self._health.served(self.replica.base_url)
            self.first_token = time.monotonic()
        finally:
            if not begun:
                await self.aclose()

    async def finish(self) -> None:
        """Wait for the end, where nobody watches the answer being written: it can still be asked of somebody else.

        Raises:
            ExpertError: it breaks off; nothing is left open.
        """
        told = list(self._held)
        self._held.clear()
        whole = False
        try:
            told += [chunk async for chunk in self]
            whole = True
        finally:
            self._held.extend(told)
            if not whole:
                await self.aclose()

    def __aiter__(self) -> Attempt:
        return self

    async def __anext__(self) -> AnswerChunk:
        if self._held:
            return self._held.popleft()
        chunk = None
        if not self._ended:
            now = time.monotonic()
            chunk = await self._within(now + self._own_idle, now + self._idle, "the rest of its answer")
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def _within(self, own: float, asked: float, what: str) -> AnswerChunk | None:
        """Return the next chunk, None at the end; noted on the board where none comes.

        Args:
            own, asked: until when the expert, and the request, let it take (monotonic).
            what: what does not come in time.
        """
        asked = min(asked, self._deadline)
        try:
            with self._patience.until(min(own, asked)):
                chunk = await anext(self._chunks, None)
        except TimeoutError:
            name = self.expert.name
            kind = ExpertTimeout if own <= asked else DeadlinePassed
            error = kind(name, f"Expert '{name}' did not send {what} in time.")
            self._failed(error)
            raise error from None
        except ExpertError as error:
            self._failed(error)
            raise
        self._ended = chunk is None
        return chunk

    def _failed(self, error: ExpertError) -> None:
        if isinstance(error, ExpertOverloaded):
            self._health.overloaded(self.replica.base_url, error.retry_after)
        elif isinstance(error, EndpointMissing):
            self._health.lacking(self.replica.base_url, error.endpoint)
        elif error.fault:
            self._health.failed(self.replica.base_url, str(error))

    def _tried(self) -> None:
        self._record.trying -= self._trying
        self._trying = False

    async def aclose(self) -> None:
        """Stop here; the server's request is aborted."""
        if not self._closed:
            self._closed = True
            self._patience.stop()
            self._tried()
            self._record.in_flight -= 1
            await self._chunks.aclose()

    async def __aenter__(self) -> Attempt:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
