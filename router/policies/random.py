"""Every eligible expert alike, drawn anew for each request: the other control arm, of which no caller can keep one.

The draw comes with the query (`seed`), so the policy itself stays pure and a recorded decision can be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from experts.profile import SkillProfile
from router.conversation import message_text
from router.policies.base import PolicyContext, Scored, settle
from router.policies.eligibility import eligible
from router.policies.uniform import draw
from router.types import DomainScores, Query, RoutingDecision


class RandomPolicy:
    """An expert drawn by the request's seed, each equally likely; without a seed by the conversation alone."""

    reads_scores: ClassVar[bool] = False

    def decide(
        self,
        query: Query,
        scores: DomainScores,
        profiles: Sequence[SkillProfile],
        context: PolicyContext,
    ) -> RoutingDecision:
        """Return the experts that the draw ranks first."""
        candidates, excluded = eligible(profiles, query.constraints)
        drawn_from = "\n".join([f"seed {query.seed}", *(message_text(message) for message in query.messages)])
        scored = [
            Scored(profile, score=draw(drawn_from, profile.expert), weight=1.0, reason="drawn at random")
            for profile in candidates
        ]
        return settle(
            sorted(scored, key=lambda each: -each.score),
            query,
            context,
            policy="random",
            scores=scores,
            excluded=excluded,
            reason="all eligible experts are equally likely, whatever the conversation",
        )
