"""Try a policy before trusting it: in the shadow, where it decides and nobody acts, or on a share of conversations.

A conversation's arm follows from its hash, so that it stays in its arm in every process. Sums are kept in the store
every few seconds; processes add theirs up. A trial is known by its policies: other policies begin another one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from experts.store import ABSENT, Store, StoreError, VersionConflict
from experts.types import ExpertName
from gateway.background import Background
from gateway.decisions import Opinion, Outcome, Remembered
from gateway.logs import facts
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.planning import VIRTUAL_MODELS
from gateway.schemas import ChatRequest
from router import RoutingConfig
from router.conversation import message_text
from router.learning import ArmSums, Moments, ShadowSums, TrialSums, in_share

log = logging.getLogger(__name__)
AUTO = "auto"
FLUSH_SECONDS = 5.0
SHADOWS_AT_ONCE = 32
A, B, NO_ARM = "a", "b", ""


class Split:
    """Which arm a request belongs to, and by which policy it is therefore routed."""

    def __init__(self, config: RoutingConfig) -> None:
        self._split = config.split

    def arm(self, request: ChatRequest) -> str:
        """Return "a" or "b"; "" when the request names its expert or its policy."""
        if request.model not in VIRTUAL_MODELS or request.options.policy not in (None, AUTO):
            return NO_ARM
        if self._split.policy is None:
            return A
        return B if in_share(conversation_of(request), self._split.share, "split") else A

    def policy(self, request: ChatRequest) -> str | None:
        """Return the policy of the request's arm; None is the configured one."""
        return self._split.policy if self.arm(request) == B else None


class Trials:
    """Counts what happens in each arm, and lets the shadow policy decide beside the requests.

    Args:
        config: the policies.
        pipeline: asked what the shadow would have decided.
        store: where sums are kept; borrowed.
        metrics: told of each shadow decision.
    """

    def __init__(self, config: RoutingConfig, pipeline: Pipeline, store: Store, metrics: Metrics) -> None:
        self.config = config
        self.name = f"{config.policy}/{config.split.policy}/{config.shadow.policy}"
        self._pipeline, self._store, self._metrics = pipeline, store, metrics
        self._pending = TrialSums()
        self._shadows = Background("shadow", SHADOWS_AT_ONCE)

    def shadow(self, request: ChatRequest, entry: Remembered) -> None:
        """Let the shadow policy decide on a sampled request, some time soon; the request is not held up by it."""
        policy = self.config.shadow.policy
        if policy is not None and entry.arm != NO_ARM and random.random() < self.config.shadow.share:
            self._shadows.start(self._decide(request, entry, policy))

    async def _decide(self, request: ChatRequest, entry: Remembered, policy: str) -> None:
        if entry.decision is None:
            return
        acted = entry.decision.assignments[0].expert
        query, profiles = self._pipeline.question(request)
        decided = await self._pipeline.router.route(replace(query, policy=policy), profiles)
        entry.shadow = decided.assignments[0].expert
        agreed = entry.shadow == acted
        self._metrics.shadows.labels(str(agreed).lower()).inc()
        self._add(TrialSums(shadow=ShadowSums(1, int(agreed), experts={entry.shadow: 1})))
        if entry.opinion is not None:
            self._scored(entry, entry.opinion, 1, arm=False)

    def answered(self, entry: Remembered, outcome: Outcome) -> None:
        """Count an answer in its arm."""
        if entry.arm == NO_ARM:
            return
        self._metrics.arms.labels(entry.arm).inc()
        cost, seconds = Moments().with_value(outcome.cost_usd), Moments().with_value(outcome.seconds)
        experts = {outcome.authorship.answered_by: 1}
        self._add(TrialSums({entry.arm: ArmSums(1, cost_usd=cost, seconds=seconds, experts=experts)}))

    def judged(self, entry: Remembered, opinion: Opinion, former: Opinion | None) -> None:
        """Count an opinion on a request in its arm; a former one is taken out."""
        if former is not None:
            self._scored(entry, former, -1)
        self._scored(entry, opinion, 1)

    def _scored(self, entry: Remembered, opinion: Opinion, sign: int, *, arm: bool = True) -> None:
        if entry.arm == NO_ARM:
            return
        score = Moments().with_value(opinion.score, sign)
        if arm:
            self._add(TrialSums({entry.arm: ArmSums(scores=score)}))
        if entry.shadow is not None and entry.decision is not None:
            agreed = entry.shadow == entry.decision.assignments[0].expert
            self._add(
                TrialSums(shadow=ShadowSums(scores_agreed=score) if agreed else ShadowSums(scores_differed=score))
            )

    def _add(self, sums: TrialSums) -> None:
        self._pending += sums

    async def sums(self) -> TrialSums:
        """Return everything counted about this trial so far, by every process."""
        document = await self._store.get(self._key)
        return self._pending + (TrialSums() if document is None else _sums_of(document.body))

    async def keep(self) -> None:
        """Write the sums every few seconds, forever."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Add what was counted since to what is kept; what cannot be written now waits for the next time.

        Without a split and a shadow nothing is on trial, and the sums stay in memory.
        """
        if self._pending == TrialSums() or not (self.config.split.policy or self.config.shadow.policy):
            return
        pending, self._pending = self._pending, TrialSums()
        try:
            document = await self._store.get(self._key)
            kept, version = (TrialSums(), ABSENT) if document is None else (_sums_of(document.body), document.version)
            await self._store.put(self._key, asdict(kept + pending), expected=version)
        except VersionConflict:
            self._pending = pending + self._pending
        except StoreError as error:
            self._pending = pending + self._pending
            log.warning("the sums of a trial cannot be kept", extra=facts(error=str(error)))

    async def aclose(self) -> None:
        """Stop shadows and write what is left."""
        await self._shadows.aclose()
        await self.flush()

    @property
    def _key(self) -> str:
        return f"learning/trial/{self.name}"


def conversation_of(request: ChatRequest) -> str:
    """Return what is the same in every request of a conversation: its session, else its first words."""
    if request.session is not None:
        return f"session {request.session}"
    first = next((m for m in request.messages if m.get("role") == "user"), request.messages[0])
    told = [message for message in request.messages if message.get("role") == "system"]
    return "\n".join(message_text(message) for message in (*told, first))


def _moments(body: Mapping[str, Any]) -> Moments:
    return Moments(**body)


def _sums_of(body: Mapping[str, Any]) -> TrialSums:
    """Return the sums that `asdict` wrote."""
    arms = {name: _arm(arm) for name, arm in body["arms"].items()}
    shadow: dict[str, Any] = dict(body["shadow"])
    for name in ("scores_agreed", "scores_differed"):
        shadow[name] = _moments(shadow[name])
    return TrialSums(arms, ShadowSums(**shadow))


def _arm(body: Mapping[str, Any]) -> ArmSums:
    experts: Mapping[ExpertName, int] = body["experts"]
    scores, cost, seconds = (_moments(body[name]) for name in ("scores", "cost_usd", "seconds"))
    return ArmSums(body["requests"], scores, cost, seconds, experts)
