"""Build what gives answers again, and what has them forgotten, from what a gateway has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from experts.types import ExpertName
from gateway.cache.base import AnswerCache
from gateway.cache.config import CacheConfig
from gateway.cache.forgetting import Forgetting
from gateway.cache.memory import MemoryCache
from gateway.cache.replays import Replays
from gateway.catalogue import Catalogue
from gateway.catalogue.recurring import forever
from gateway.configuration import GatewayConfig
from gateway.improvement import run_beside
from gateway.metrics import Metrics
from gateway.settings import Settings
from router.types import RoutingDecision


def opened_replays(
    settings: Settings,
    config: GatewayConfig,
    *,
    catalogue: Catalogue,
    fusers: Callable[[RoutingDecision], tuple[ExpertName, ...]],
    metrics: Metrics,
    stack: AsyncExitStack,
) -> tuple[Replays, Forgetting]:
    """Return both: answers are in Redis where there is one, else in this process. Closed with the stack."""

    def counted(outcome: str) -> None:
        metrics.cache.labels(outcome).inc()

    replays = Replays(
        cache_of(settings, config.cache, lambda: counted("unavailable")),
        config.cache,
        registry=catalogue.registry,
        fusers=fusers,
        versions=lambda: {name: entry.version for name, entry in catalogue.entries.items()},
        fusion=config.fusion,
        counted=counted,
    )
    stack.push_async_callback(replays.aclose)
    forgetting = Forgetting(catalogue.store, replays)
    run_beside(stack, forever("forgetting answers", forgetting.follow), "cache-forgetting")
    return replays, forgetting


def cache_of(settings: Settings, config: CacheConfig, failed: Callable[[], object]) -> AnswerCache:
    """Return where answers are kept; `failed` is told of each call that Redis did not answer."""
    if redis_url := settings.redis_url.get_secret_value():
        from gateway.cache.redis import RedisCache  # a tenth of a second, for those who use it

        return RedisCache(redis_url, config.ttl_seconds, config.max_bytes, failed=failed)
    return MemoryCache(config.ttl_seconds, config.max_bytes)
