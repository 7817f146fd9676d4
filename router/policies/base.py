"""What a policy promises, and the last step all of them share: from scored candidates to a decision.

A policy is pure and sync. It scores every eligible expert on its own, so that leaving some out (not allowed,
not healthy, too expensive) never changes the order of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from experts.profile import SkillProfile
from experts.types import ExpertName
from router.taxonomy import Taxonomy
from router.types import Assignment, CandidateScore, DomainScores, Query, RoutingDecision


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What every policy may know besides the query.

    Args:
        default: the generalist that answers when in doubt.
        fallback_confidence: how probable it must be that the chosen expert beats the default one.
        max_experts: most assignments of any decision.
        taxonomy: what the groups' names mean.
    """

    default: ExpertName | None = None
    fallback_confidence: float = 0.0
    max_experts: int = 3
    taxonomy: Taxonomy = field(default_factory=Taxonomy)


class Policy(Protocol):
    """Chooses experts for a query."""

    reads_scores: ClassVar[bool]
    """Whether it looks at the domain scores; when not, nothing is classified."""

    def decide(
        self,
        query: Query,
        scores: DomainScores,
        profiles: Sequence[SkillProfile],
        context: PolicyContext,
    ) -> RoutingDecision:
        """Return who should answer.

        Raises:
            NoEligibleExpert: nobody satisfies the query's constraints.
        """


@dataclass(frozen=True, slots=True)
class Scored:
    """An eligible expert and what the policy thinks of it; weights are odds that need not sum to 1."""

    profile: SkillProfile
    score: float
    weight: float
    reason: str
    quality: float | None = None

    @property
    def expert(self) -> ExpertName:
        return self.profile.expert


def settle(
    ranked: Sequence[Scored],
    query: Query,
    context: PolicyContext,
    *,
    policy: str,
    scores: DomainScores,
    excluded: Mapping[ExpertName, str],
    reason: str,
) -> RoutingDecision:
    """Return the decision that takes the first of `ranked` (best first, never empty)."""
    chosen = ranked[: _how_many(ranked, query, context)]
    total = sum(scored.weight for scored in chosen)
    names = {scored.expert for scored in chosen}
    return RoutingDecision(
        assignments=tuple(Assignment(scored.expert, scored.weight / total) for scored in chosen),
        policy=policy,
        confidence=scores.confidence,
        domains=dict(scores.ranked()),
        candidates=tuple(
            CandidateScore(each.expert, each.score, each.quality, each.expert in names, each.reason) for each in ranked
        ),
        excluded=dict(excluded),
        fallbacks=fallbacks(ranked, chosen),
        reason=reason,
    )


def _how_many(ranked: Sequence[Scored], query: Query, context: PolicyContext) -> int:
    """Return how many experts are taken: the query's cap, or fewer once `top_p` of all weight is reached."""
    cap = max(1, min(query.max_experts, context.max_experts, len(ranked)))
    if query.top_p is None:
        return cap
    weights = np.array([scored.weight for scored in ranked])
    reached = np.cumsum(weights / weights.sum()) >= query.top_p - 1e-9
    return min(cap, int(np.argmax(reached)) + 1) if reached.any() else cap


def fallbacks(ranked: Sequence[Scored], chosen: Sequence[Scored]) -> tuple[ExpertName, ...]:
    """Return who stands in, eligible ones only: the best expert's own list, then the next candidates in their order.

    Experts that scored below the default one follow it: a generalist stands in before another field's specialist.
    """
    eligible = {scored.expert for scored in ranked}
    own = [name for name in chosen[0].profile.fallback if name in eligible]
    following = [scored.expert for scored in ranked]
    taken = {scored.expert for scored in chosen}
    return tuple(name for name in dict.fromkeys([*own, *following]) if name not in taken)
