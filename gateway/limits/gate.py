"""Let a request in, or not, by what its key may still use; and note what it took when it ends.

admit    a `Visit`, or the 429; its headers go on every answer
end      of a visit: tokens are put right, cost is added to the budget, the ledger gets its line

A key without limits passes without asking anybody; its usage is noted all the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from experts.types import ExpertName, Usage
from gateway.auth import Client, check_holds
from gateway.errors import LimitsUnavailable
from gateway.keys.book import KeyBook
from gateway.keys.record import KeyRecord, as_choice
from gateway.limits.base import Caps, Limiter, Standing, caps_of, seconds_left
from gateway.limits.config import KeyLimitsConfig
from gateway.limits.headers import headers_of, refusal, too_large
from gateway.logs import facts
from gateway.schemas import ANY_EXPERT, ChatRequest, ExpertChoice
from gateway.translate import USUAL_CHARACTERS_PER_TOKEN, output_limit, prompt_tokens
from gateway.usage.ledger import Ledger

log = logging.getLogger(__name__)
REST_SECONDS = 1.0
"""How long nobody is asked after a failure, so that a dead Redis does not slow every request down."""
Ended = Callable[[Mapping[ExpertName, Usage]], object]
"""Told what a request took of each expert."""
UNCOUNTED = Standing(refused=None, second=0)


class Prices(Protocol):
    """What answers cost."""

    def paid(self, expert: ExpertName, usage: Usage) -> float:
        """Return what an answer has cost, in USD; 0 where the expert has no price."""
        ...


class Visit:
    """One request that was let in. Left by an error before it ended, it took nothing.

    Args:
        headers: how its key stands.
    """

    def __init__(self, headers: Mapping[str, str], ended: Ended) -> None:
        self.headers = headers
        self._ended: Ended | None = ended

    def end(self, used: Mapping[ExpertName, Usage]) -> None:
        """Note what it took, once."""
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(used)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is not None:
            self.end({})


class Gate:
    """Joins keys, limiter and ledger. `limiter` is closed with it; the rest is borrowed.

    Args:
        limited: told the cause of each refusal.
        paid: told what each expert's part of a request cost.
        unavailable: told "admitted" or "refused" for each request that nobody could count.
    """

    def __init__(
        self,
        limiter: Limiter,
        config: KeyLimitsConfig,
        *,
        book: KeyBook,
        ledger: Ledger,
        prices: Prices,
        limited: Callable[[str], None] = lambda _: None,
        unavailable: Callable[[str], None] = lambda _: None,
        paid: Callable[[ExpertName, float], None] = lambda _expert, _cost: None,
    ) -> None:
        self._limiter, self._config = limiter, config
        self._book, self._ledger, self._prices = book, ledger, prices
        self._limited, self._unavailable, self._paid = limited, unavailable, paid
        self._rests_until = 0.0

    async def admit(self, client: Client, request: ChatRequest | None = None) -> Visit:
        """Let one request in; without `request` it takes no tokens.

        Raises:
            RateLimited, BudgetSpent: the key has used what it may.
            LimitsUnavailable: nobody can say, and the configuration refuses then.
        """
        record = client.record
        if record is None or not record.limited:
            return Visit({}, lambda used: self._note(client.key_id, used))
        caps = caps_of(record, datetime.now(UTC))
        reserved = 0 if request is None else self._reserved(request, caps)
        standing = await self._asked(record, caps, reserved)
        headers = {} if standing is UNCOUNTED else headers_of(caps, standing)
        return Visit(headers, lambda used: self._end(record, caps, standing, reserved, used))

    def within(self, key_id: str) -> ExpertChoice:
        """Return the experts that the key of a batch may use."""
        record = self._book.by_id(key_id)
        return ANY_EXPERT if record is None else as_choice(record)

    async def admit_line(self, key_id: str) -> Visit:
        """Let a line of a batch in: its key has to hold and its budget to last; minutes do not count for batches.

        Raises:
            AuthenticationFailed: the key has been revoked, or has expired.
            BudgetSpent, LimitsUnavailable: as for requests.
        """
        record = self._book.by_id(key_id)
        if record is None or record.budget_usd is None:
            if record is not None:
                check_holds(record, time.time())
            return Visit({}, lambda used: self._note(key_id, used))
        check_holds(record, time.time())
        caps = replace(caps_of(record, datetime.now(UTC)), requests=None, tokens=None)
        standing = await self._asked(record, caps, 0, requests=0)
        return Visit({}, lambda used: self._end(record, caps, standing, None, used))

    async def aclose(self) -> None:
        """Close the limiter, once what ended has been noted."""
        await self._limiter.aclose()

    def _reserved(self, request: ChatRequest, caps: Caps) -> int:
        """Return the tokens that are reserved for a request.

        Raises:
            RateLimited: no minute has room for it.
        """
        read = prompt_tokens(request, USUAL_CHARACTERS_PER_TOKEN)
        said = output_limit(request.parameters)
        choices = request.parameters.get("n")
        answers = choices if isinstance(choices, int) and choices > 0 else 1
        least = read + (said or 0) * answers
        if caps.tokens is None:
            return least
        if least > caps.tokens:
            self._limited("tokens")
            raise too_large(caps, least)
        return least if said else min(caps.tokens, read + self._config.default_output_tokens * answers)

    async def _asked(self, record: KeyRecord, caps: Caps, reserved: int, requests: int = 1) -> Standing:
        try:
            standing = await self._standing(record.id, caps, reserved, requests)
        except LimitsUnavailable:
            closed = self._config.on_store_failure == "closed"
            self._unavailable("refused" if closed else "admitted")
            if closed:
                raise
            return UNCOUNTED
        if standing.refused is not None:
            self._limited(standing.refused)
            raise refusal(caps, standing, seconds_left(record.budget_period, datetime.now(UTC)))
        return standing

    async def _standing(self, key: str, caps: Caps, tokens: int, requests: int) -> Standing:
        if time.monotonic() < self._rests_until:
            raise LimitsUnavailable("What this key has used cannot be counted now: its store is away.")
        try:
            return await self._limiter.admit(key, caps, tokens, requests)
        except LimitsUnavailable as error:
            self._failed(error)
            raise

    def _end(
        self,
        record: KeyRecord,
        caps: Caps,
        standing: Standing,
        reserved: int | None,
        used: Mapping[ExpertName, Usage],
    ) -> None:
        cost = self._note(record.id, used)
        taken = sum(usage.total_tokens for usage in used.values())
        correction = 0 if reserved is None or standing is UNCOUNTED else taken - reserved
        if correction or cost:
            self._limiter.settle(record.id, caps, standing.second, correction, cost)

    def _note(self, key: str, used: Mapping[ExpertName, Usage]) -> float:
        """Write a request's line into the ledger and return what it cost."""
        costs = {expert: self._prices.paid(expert, usage) for expert, usage in used.items()}
        self._ledger.add(key, used, costs)
        for expert, cost in costs.items():
            self._paid(expert, cost)
        return sum(costs.values())

    def _failed(self, error: LimitsUnavailable) -> None:
        self._rests_until = time.monotonic() + REST_SECONDS
        log.warning("limits cannot be counted", extra=facts(error=str(error), then=self._config.on_store_failure))


def confined(request: ChatRequest, client: Client) -> ChatRequest:
    """Return the client's request as its key lets it be: its experts, and its priority or a lower one."""
    record = client.record
    if record is None:
        return request if request.client == client.key_id else replace(request, client=client.key_id)
    options, most = request.options, record.priority
    if most is not None:
        asked = options.priority if "priority" in options.model_fields_set else most
        options = options.model_copy(update={"priority": min(asked, most)})
    return replace(request, options=options, within=as_choice(record), client=client.key_id, share=record.share)
