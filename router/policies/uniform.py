"""Every eligible expert alike: the control arm of an experiment, and a fair spread among equals.

The same conversation always goes to the same expert (rendezvous hashing, Thaler and Ravishankar 1998), so
runs can be repeated, and removing an expert moves only its own conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import ClassVar

from experts.profile import SkillProfile
from experts.types import ExpertName
from router.conversation import message_text
from router.policies.base import PolicyContext, Scored, settle
from router.policies.eligibility import eligible
from router.types import DomainScores, Query, RoutingDecision


class UniformPolicy:
    """An expert drawn by the conversation's hash, each equally likely."""

    reads_scores: ClassVar[bool] = False

    def decide(
        self,
        query: Query,
        scores: DomainScores,
        profiles: Sequence[SkillProfile],
        context: PolicyContext,
    ) -> RoutingDecision:
        """Return the experts that the conversation's hash ranks first."""
        candidates, excluded = eligible(profiles, query.constraints)
        conversation = "\n".join(message_text(message) for message in query.messages)
        scored = [
            Scored(profile, score=draw(conversation, profile.expert), weight=1.0, reason="drawn by hash")
            for profile in candidates
        ]
        return settle(
            sorted(scored, key=lambda each: -each.score),
            query,
            context,
            policy="uniform",
            scores=scores,
            excluded=excluded,
            reason="all eligible experts are equally likely",
        )


def draw(conversation: str, expert: ExpertName) -> float:
    """Return a number in 0..1 that only this conversation and this expert decide."""
    digest = blake2b(f"{expert}\n{conversation}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return float(int.from_bytes(digest) / 2**64)
