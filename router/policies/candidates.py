"""What every policy may know besides the query, and what it says of an expert before anything is weighed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from experts.profile import SkillProfile
from experts.types import ExpertName
from router.policies.objective import Economy
from router.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What every policy may know besides the query.

    Args:
        default: the generalist that answers when in doubt.
        fallback_confidence: how probable it must be that the chosen expert beats the default one.
        max_experts: most assignments of any decision.
        taxonomy: what the groups' names mean.
        economy: what cost and time are worth.
        stickiness: a conversation keeps its expert unless another one's quality is higher by more than this.
        judge_error: how often a cascade's check of an answer is assumed to be wrong, 0..0.5.
        cheap_first: how many cheap experts a cascade asks first; two or more must agree.
    """

    default: ExpertName | None = None
    fallback_confidence: float = 0.0
    max_experts: int = 3
    taxonomy: Taxonomy = field(default_factory=Taxonomy)
    economy: Economy = field(default_factory=Economy)
    stickiness: float = 0.05
    judge_error: float = 0.2
    cheap_first: int = 1


class Scored(NamedTuple):
    """An eligible expert and what the policy thinks of it.

    `score` orders the candidates and stands on quality's scale wherever `quality` is given (a cautious policy
    may score below its estimate); `weight` is odds that need not sum to 1; `quality` is the expected share of
    right answers, None when the policy has no idea.
    """

    profile: SkillProfile
    score: float
    weight: float
    reason: str
    quality: float | None = None

    @property
    def expert(self) -> ExpertName:
        return self.profile.expert
