"""Decide by what an expert says a query takes: its domains, its skills, how hard it is.

The reading itself is slow and happens before (router/reading.py); here it is data. Skills that some expert was
measured in or declares count as domains of their own (Symbolic-MoE, 2503.05641), and where several experts
may answer, harder queries get more of them. Without a reading this decides exactly as `profile` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from experts.profile import SkillProfile
from router.policies.base import PolicyContext
from router.policies.profile import ProfilePolicy
from router.types import DomainScores, Query, RoutingDecision

SKILL_SHARE = 0.5
"""Part of the probability that named skills take over from the domains."""


class LlmPolicy:
    """Expected quality over the domains and skills that an expert read out of the query."""

    reads_scores: ClassVar[bool] = True
    wants_a_reading: ClassVar[bool] = True

    def __init__(self) -> None:
        self._profile = ProfilePolicy(name="llm")

    def decide(
        self,
        query: Query,
        scores: DomainScores,
        profiles: Sequence[SkillProfile],
        context: PolicyContext,
    ) -> RoutingDecision:
        """Return the experts with the highest expected quality over domains and skills."""
        wanted = replace(query, max_experts=_by_difficulty(query, scores, context))
        return self._profile.decide(wanted, with_skills(scores, profiles), profiles, context)


def with_skills(scores: DomainScores, profiles: Sequence[SkillProfile]) -> DomainScores:
    """Return the scores with part of their probability moved to those skills that some expert is known for."""
    known = {name for profile in profiles for name in (*profile.measured, *profile.domains)}
    skills = [skill for skill in scores.skills if skill in known and skill not in scores.scores]
    if not skills:
        return scores
    moved = {domain: p * (1 - SKILL_SHARE) for domain, p in scores.scores.items()}
    return replace(scores, scores={**moved, **dict.fromkeys(skills, SKILL_SHARE / len(skills))})


def _by_difficulty(query: Query, scores: DomainScores, context: PolicyContext) -> int:
    """Return the most experts for a query this hard (Harder Tasks Need More Experts): one for an easy one."""
    if scores.difficulty is None or query.top_p is not None:
        return query.max_experts
    most = min(query.max_experts, context.max_experts)
    return 1 + round(scores.difficulty * (most - 1))
