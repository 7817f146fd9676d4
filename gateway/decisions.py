"""The last decisions, so that feedback on a request finds whom it is about, and an operator sees why.

Of every decision remembered, a few facts are kept that feedback needs; of the latest `SHOWN`, the whole explanation.
In memory only: a restart forgets them, and feedback on an older request is then a clear 404.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.types import Domain, ExpertName
from gateway.errors import UnknownRequest
from router.learning import Authorship, Lesson
from router.types import RoutingDecision

SHOWN = 500
TOLD_DOMAINS = 8
LEAST_PROBABILITY = 0.02


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a client thought of an answer: `score` 0..1, of one `expert` or of the whole answer."""

    score: float
    expert: ExpertName | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer turned out; `cost_usd` is None where a price is unknown, `seconds` is until its last byte."""

    authorship: Authorship
    seconds: float
    cost_usd: float | None = None


@dataclass(slots=True)
class Remembered:
    """One request's decision and what has become known since; filled in as it becomes known.

    Args:
        request_id: as in the response's `x-request-id`.
        key: the caller's key id; nobody else may give feedback.
        arm: "a" or "b" of the split, or "" when the request named its expert or policy.
        decision: whole while among the latest, then None.
        domains: the most probable domains.
        bases: log odds of being right by expert, without anything learnt.
        prompt: the last message, where texts are kept.
        shadow: whom the shadow policy would have asked first.
        lesson: what the feedback changed in the routing.
        vector: what the conversation asks, as the encoder has it; while among the latest.
    """

    request_id: str
    key: str
    arm: str
    decision: RoutingDecision | None
    domains: Mapping[Domain, float] = field(default_factory=dict)
    bases: Mapping[ExpertName, float] = field(default_factory=dict)
    prompt: str | None = None
    at: float = field(default_factory=time.time)
    outcome: Outcome | None = None
    shadow: ExpertName | None = None
    opinion: Opinion | None = None
    lesson: Lesson | None = None
    vector: NDArray[np.float32] | None = None


class Decisions:
    """A ring of the last `remember` decisions, by request id; the same id again replaces the older one."""

    def __init__(self, remember: int, shown: int = SHOWN) -> None:
        self.remember, self.shown = remember, shown
        self._kept: OrderedDict[str, Remembered] = OrderedDict()
        self._whole: OrderedDict[str, Remembered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, entry: Remembered) -> None:
        """Remember a decision; the oldest is forgotten when there is no room."""
        for ring, room in ((self._kept, self.remember), (self._whole, self.shown)):
            ring.pop(entry.request_id, None)
            ring[entry.request_id] = entry
            if len(ring) > room:
                _, oldest = ring.popitem(last=False)
                oldest.decision = oldest.prompt = oldest.vector = None

    def of(self, request_id: str, key: str) -> Remembered:
        """Return the decision on a client's own request.

        Raises:
            UnknownRequest: it is not remembered, or another key sent it.
        """
        entry = self._kept.get(request_id)
        if entry is None or entry.key != key:
            raise UnknownRequest(
                f"There is no request '{request_id[:128]}' of yours among the last {self.remember} of this gateway; "
                "send the x-request-id of a chat completion.",
                param="request_id",
            )
        return entry

    def latest(self, limit: int) -> list[Remembered]:
        """Return the latest decisions, newest first, those with their explanation only."""
        return list(reversed(self._whole.values()))[:limit]


def likely(domains: Mapping[Domain, float]) -> dict[Domain, float]:
    """Return the few domains that a decision is worth being remembered for."""
    top = sorted(domains.items(), key=lambda item: -item[1])[:TOLD_DOMAINS]
    return {domain: probability for domain, probability in top if probability >= LEAST_PROBABILITY}


def opinion_facts(opinion: Opinion | None, *, texts: bool) -> dict[str, Any] | None:
    """Return an opinion as JSON; its comment only where texts are shown."""
    if opinion is None:
        return None
    shown: dict[str, Any] = {"score": opinion.score, "expert": opinion.expert}
    return {**shown, "comment": opinion.comment} if texts else shown
