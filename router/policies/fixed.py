"""No routing: the default expert answers everything. The baseline, and what routing falls back on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from experts.profile import SkillProfile
from router.policies.base import PolicyContext, Scored, settle
from router.policies.eligibility import eligible
from router.types import DomainScores, Query, RoutingDecision


class FixedPolicy:
    """The default expert where it is eligible, else the first that is registered."""

    reads_scores: ClassVar[bool] = False

    def decide(
        self,
        query: Query,
        scores: DomainScores,
        profiles: Sequence[SkillProfile],
        context: PolicyContext,
    ) -> RoutingDecision:
        """Return the decision for the default expert."""
        candidates, excluded = eligible(profiles, query.constraints)
        ranked = sorted(candidates, key=lambda profile: profile.expert != context.default)
        scored = [
            Scored(profile, score=1 / place, weight=1.0, reason=_reason(profile, context))
            for place, profile in enumerate(ranked, start=1)
        ]
        return settle(
            scored,
            query,
            context,
            policy="fixed",
            scores=scores,
            excluded=excluded,
            reason=f"{scored[0].expert} answers everything",
        )


def _reason(profile: SkillProfile, context: PolicyContext) -> str:
    return "the default expert" if profile.expert == context.default else "in the order of registration"
