"""Give an answer that was given before, where that is wanted and it is the answer to the very same thing.

It steps in once a request is decided and before anybody was asked: who would answer is looked at anew for every
request, so that what a key may use, and what was learnt meanwhile, hold for kept answers too.

    hit      the stream is replaced by the kept one; no expert is asked
    miss     the stream goes on, and what it says is kept if it comes to its end
    bypass   wanted, and not possible for this request (see `wish`)

Identical requests at the same moment wait for the first one's answer (see `flights`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

import orjson

from aggregator import FusionConfig
from aggregator.types import FusedStream
from experts.registry import Registry, Snapshot
from experts.types import AnswerChunk, CallFacts, ExpertName, whole_answer
from gateway.auth import Client
from gateway.background import Background
from gateway.cache.base import AnswerCache, Kept
from gateway.cache.config import CacheConfig
from gateway.cache.entry import content_of, stream_of, worth_keeping
from gateway.cache.flights import Flights, Land
from gateway.cache.hearing import Heard
from gateway.cache.key import SINGLE, concerned, fingerprint, key_of
from gateway.cache.wish import wish_of
from gateway.pipeline import Answering
from gateway.schemas import ChatRequest
from gateway.translate import output_limit
from router.types import RoutingDecision

HIT, MISS, BYPASS = "hit", "miss", "bypass"
KEEPING_AT_ONCE = 64
Records = Mapping[ExpertName, str]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Under which key an answer may be kept, what was so when it was asked for, and who waits for it."""

    key: str
    world: Snapshot
    era: int
    land: Land


class Replays:
    """Joins requests and a cache. `cache` is closed with it; the rest is borrowed.

    Args:
        registry: who there is.
        fusers: who would write what a decision is about, best first.
        versions: the stored versions of experts' records.
        fusion: what the configuration says about fusing.
        counted: told the outcome of each request that wanted a kept answer.
    """

    def __init__(
        self,
        cache: AnswerCache,
        config: CacheConfig,
        *,
        registry: Registry,
        fusers: Callable[[RoutingDecision], tuple[ExpertName, ...]],
        versions: Callable[[], Mapping[ExpertName, int]],
        fusion: FusionConfig,
        counted: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._cache, self._config = cache, config
        self._registry, self._fusers, self._versions = registry, fusers, versions
        self._settings = fingerprint(fusion.model_dump(mode="json"))
        self._counted = counted
        self._known: tuple[Snapshot, Records] = ({}, {})
        self._flights = Flights()
        self._era = 0
        self._keeping = Background("cache-keep", KEEPING_AT_ONCE)

    def wanted(self, request: ChatRequest, client: Client) -> bool:
        """Say whether `through` has anything to do; costs nothing for all those that did not ask."""
        if request.options.cache is None and (client.record is None or not client.record.cache):
            return False
        return self._config.enabled and wish_of(request, client) is not None

    async def through(self, request: ChatRequest, client: Client, answering: Answering) -> Answering:
        """Return the answer that was kept, or the one given, which is kept when it has been read to its end."""
        wish = wish_of(request, client)
        if wish == "bypass":
            return self._told(answering, BYPASS)
        world = self._registry.snapshot
        key = self._key(client.key_id, request, answering, world)
        kept = None if wish == "refresh" else await self._found(key, request)
        if kept is None:
            asked = _Asked(key, world, self._era, self._flights.begin(key))
            chunks = self._listened(request, answering, asked)
            return self._told(replace(answering, stream=FusedStream(chunks, answering.stream.report)), MISS)
        await answering.stream.aclose()
        hit = replace(answering, stream=stream_of(kept.content), age_seconds=kept.age_seconds)
        return self._told(hit, HIT)

    async def forget(self, owner: str | None) -> int:
        """Forget the answers of one key's id, or of all, and keep none that is under way; returns how many there were.

        Raises:
            StoreError: some may be left.
        """
        self._era += 1
        return await self._cache.forget(owner)

    async def aclose(self) -> None:
        """Close the cache."""
        await self._keeping.aclose()
        await self._cache.aclose()

    async def _found(self, key: str, request: ChatRequest) -> Kept | None:
        """Return what is kept, or will be in a while; a request that bounds its own time waits for nobody."""
        if (kept := await self._cache.get(key)) is not None:
            return kept
        urgent = request.options.deadline_ms is not None or request.options.first_token_ms is not None
        content = await self._flights.landed(key, 0.0 if urgent else self._config.wait_seconds)
        return None if content is None else Kept(content, 0.0)

    def _told(self, answering: Answering, outcome: str) -> Answering:
        self._counted(outcome)
        return replace(answering, cache=outcome)

    def _key(self, tenant: str, request: ChatRequest, answering: Answering, world: Snapshot) -> str:
        decision, strategy = answering.decision, answering.fusion.strategy
        records = self._records(world)
        key = key_of(
            tenant,
            request,
            decision,
            strategy=strategy,
            fusers=() if strategy == SINGLE else self._fusers(decision),
            records={name: records[name] for name in concerned(decision, world, strategy) if name in records},
            settings=self._settings,
        )
        return f"{tenant}:{key}"

    def _records(self, world: Snapshot) -> Records:
        """Return each record's fingerprint, worked out once for each change of the experts."""
        if self._known[0] is not world:
            versions = self._versions()
            told = {
                name: fingerprint([each.config.model_dump(mode="json"), versions.get(name)])
                for name, each in world.items()
            }
            self._known = (world, told)
        return self._known[1]

    async def _listened(
        self, request: ChatRequest, answering: Answering, asked: _Asked
    ) -> AsyncGenerator[AnswerChunk, None]:
        """Pass an answer on and keep it at its end; not where it was cut, was too long, or its experts changed."""
        heard = Heard(self._config.max_entry_bytes)
        content: bytes | None = None
        try:
            async with aclosing(answering.stream):
                async for chunk in answering.stream:
                    heard.note(chunk)
                    if heard.too_much:
                        asked.land(None)  # nobody needs to wait for it any longer
                    yield chunk
            if not heard.too_much and self._may_keep(asked):
                content = self._kept(request, answering, heard.chunks)
            if content is not None:
                self._keeping.start(self._put(asked, content))
        finally:
            asked.land(content)

    def _may_keep(self, asked: _Asked) -> bool:
        """Say whether the experts are still those that were asked, and nobody had answers forgotten since."""
        return self._registry.snapshot is asked.world and self._era == asked.era

    async def _put(self, asked: _Asked, content: bytes) -> None:
        if self._may_keep(asked):
            await self._cache.put(asked.key, content)

    def _kept(self, request: ChatRequest, answering: Answering, heard: list[AnswerChunk]) -> bytes | None:
        """Return an answer as it is kept; None where it is not."""
        report = answering.stream.report
        answer = whole_answer(heard, CallFacts(expert=report.answered_by or report.strategy))
        asked = [each.expert for each in answering.decision.assignments]
        bounded = output_limit(request.parameters) is not None
        if not worth_keeping(answer, report, asked, bounded=bounded):
            return None
        try:
            content = content_of(answer, report)
        except orjson.JSONEncodeError:  # nested deeper than can be written
            return None
        return content if len(content) <= self._config.max_entry_bytes else None
