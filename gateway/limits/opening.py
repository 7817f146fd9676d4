"""Build keys, ledger and gate from what a gateway has; all of it follows the store until the stack is closed."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack

from experts.registry import Registry
from experts.store import Store, StoreError
from gateway.catalogue.recurring import forever
from gateway.improvement import run_beside
from gateway.keys.book import KeyBook
from gateway.latitude import ListPrices
from gateway.limits.base import Limiter
from gateway.limits.config import KeyLimitsConfig
from gateway.limits.gate import Gate
from gateway.limits.memory import MemoryLimiter
from gateway.logs import facts
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.usage.ledger import Ledger

log = logging.getLogger(__name__)


async def opened_book(settings: Settings, store: Store, stack: AsyncExitStack) -> KeyBook:
    """Return the keys there are, following what other processes give out and revoke.

    Raises:
        StoreError: they cannot be read.
        ConfigError: there are none, and strangers could reach the gateway.
    """
    book = KeyBook(store)
    await book.load()
    settings.check_exposure(given_out=len(book))
    run_beside(stack, forever("following keys", book.follow), "keys-follow")
    return book


async def opened_ledger(store: Store, stack: AsyncExitStack) -> Ledger:
    """Return the ledger; what it has not written is, when the stack is closed."""
    ledger = Ledger(store)

    async def written() -> None:
        try:
            await ledger.flush()
        except StoreError as error:
            log.warning("the last second of usage is lost", extra=facts(error=str(error)))

    stack.push_async_callback(written)
    run_beside(stack, forever("writing usage", ledger.keep), "usage-ledger")
    return ledger


def opened_gate(
    settings: Settings,
    config: KeyLimitsConfig,
    *,
    book: KeyBook,
    ledger: Ledger,
    registry: Registry,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> Gate:
    """Return the gate: limits are in Redis where there is one, else in this process."""
    gate = Gate(
        limiter_of(settings, ledger),
        config,
        book=book,
        ledger=ledger,
        prices=ListPrices(registry),
        limited=lambda cause: metrics.limited.labels(cause).inc(),
        unavailable=lambda outcome: metrics.uncounted.labels(outcome).inc(),
        paid=metrics.paid,
    )
    stack.push_async_callback(gate.aclose)
    return gate


def limiter_of(settings: Settings, ledger: Ledger) -> Limiter:
    """Return what counts."""
    if redis_url := settings.redis_url.get_secret_value():
        from gateway.limits.redis import RedisLimiter  # a tenth of a second, for those who use it

        return RedisLimiter(redis_url)
    return MemoryLimiter(ledger.spent)
