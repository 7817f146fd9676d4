"""Remember how conversations were classified and decided lately, so that asking the same again costs next to nothing.

Policies are pure: the same query, scores and profiles give the same decision, so a remembered one is the one
that would be made. What is compared is everything that a policy may read, except `Query.seed`, which is new
for every request and which only policies without scores draw from; those are never remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from operator import attrgetter

import orjson

from experts.profile import SkillProfile
from router.types import DomainScores, Query, RoutingDecision

UNREAD = ("messages", "seed")
TEXT_ONLY = frozenset({"text"})
options = attrgetter(*(field.name for field in fields(Query) if field.name not in UNREAD))
"""All of a query that may change a decision, but for the conversation."""


@dataclass(slots=True)
class Memory:
    """What is known of one conversation: its scores, and the last decision with what it rests on."""

    scores: DomainScores
    options: tuple[object, ...] = ()
    profiles: Sequence[SkillProfile] = ()
    decision: RoutingDecision | None = None


class Recall:
    """The conversations of late, least recent out first; kept by their hash, never by their text.

    Args:
        size: most conversations kept; 0 remembers nothing.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[bytes, Memory] = OrderedDict()

    def key(self, query: Query) -> bytes | None:
        """Return what the conversation is kept by, or None where it is not: it holds more than text."""
        if not self._size or query.constraints.modalities != TEXT_ONLY:
            return None
        try:
            return blake2b(orjson.dumps(query.messages), digest_size=16).digest()
        except TypeError:  # what JSON cannot say, such as half a surrogate pair
            return None

    def scores(self, key: bytes | None) -> DomainScores | None:
        """Return how the conversation was classified; that took no time now."""
        kept = None if key is None else self._kept.get(key)
        return None if kept is None else kept.scores

    def decision(self, key: bytes | None, query: Query, profiles: Sequence[SkillProfile]) -> RoutingDecision | None:
        """Return the decision made last, where it was about these very profiles and nothing else has changed."""
        if key is None or (kept := self._kept.get(key)) is None:
            return None
        if kept.profiles is not profiles or kept.options != options(query):
            return None
        self._kept.move_to_end(key)
        return kept.decision

    def keep_scores(self, key: bytes | None, scores: DomainScores) -> None:
        """Remember a classification."""
        if key is not None:
            self._kept[key] = Memory(replace(scores, encode_ms=0.0, classify_ms=0.0))
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)

    def keep_decision(
        self, key: bytes | None, query: Query, profiles: Sequence[SkillProfile], decision: RoutingDecision
    ) -> None:
        """Remember a decision beside its conversation's scores; of profiles in a tuple, which cannot change."""
        if key is not None and (kept := self._kept.get(key)) is not None and isinstance(profiles, tuple):
            self._kept.move_to_end(key)
            kept.options, kept.profiles, kept.decision = options(query), profiles, decision
