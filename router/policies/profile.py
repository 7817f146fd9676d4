"""Send a question to the expert that should do best on what it is about.

Adapted from Symbolic-MoE (2503.05641, section 3.2: local suitability = skills of the query x profile, times
global competency): the skills are the classifier's domains with their probabilities, and an expert's few
measured answers in a domain are shrunk toward its overall level, which is how global competency enters.

    quality(expert) = sum over domains of p(domain | query) * skill(expert, domain)

Chosen deterministically, best first; the paper's sampling with replacement did worse on recorded outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from operator import attrgetter
from typing import ClassVar

import numpy as np

from experts.profile import SkillProfile
from router.policies.base import PolicyContext, Scored, settle
from router.policies.eligibility import eligible
from router.policies.objective import balance
from router.policies.skill import SkillTable, skill_table
from router.policies.weighing import new
from router.types import DomainScores, Query, RoutingDecision

SLIGHTEST = 1e-12
"""No candidate has less weight than this share of the best one's."""


class ProfilePolicy:
    """Expected quality by domain, then top-k or top-p.

    Args:
        temperature: of the softmax that turns qualities into weights: a quality lower by this much has a
            weight lower by a factor of e.
        name: of the policy in its decisions.
    """

    reads_scores: ClassVar[bool] = True

    def __init__(self, temperature: float = 0.1, name: str = "profile") -> None:
        self.temperature = temperature
        self.name = name

    def decide(
        self,
        query: Query,
        scores: DomainScores,
        profiles: Sequence[SkillProfile],
        context: PolicyContext,
    ) -> RoutingDecision:
        """Return the experts with the highest expected quality, or the default one first when in doubt."""
        candidates, excluded = eligible(profiles, query.constraints)
        table = skill_table(profiles, context.taxonomy, context.default)
        ranked = self.rank(candidates, scores, table)
        doubt = _doubt(ranked, scores, table, context)
        if doubt is not None:
            ranked = _default_first(ranked, context)
        return settle(
            ranked,
            query,
            context,
            policy=self.name,
            scores=scores,
            excluded=excluded,
            reason=doubt or f"{ranked[0].expert}: {ranked[0].reason}",
            pinned=None if doubt is None else ranked[0].expert,
            bar=quality_bar(scores, table, query, context),
        )

    def rank(self, candidates: Sequence[SkillProfile], scores: DomainScores, table: SkillTable) -> list[Scored]:
        """Return the candidates by expected quality, best first; ties go to who was registered first."""
        expected = table.expected(scores.scores)
        judged = [expected[profile.expert] for profile in candidates]
        behind = np.array([quality for quality, _ in judged])
        weights = np.exp(np.maximum((behind - behind.max()) / self.temperature, log(SLIGHTEST))).tolist()
        ranked = []
        for profile, (quality, domain), weight in zip(candidates, judged, weights, strict=True):
            why = "no domain is known" if domain is None else table.reason(profile, domain)
            ranked.append(new(Scored, (profile, quality, weight, why, quality)))
        ranked.sort(key=attrgetter("score"), reverse=True)
        return ranked


def quality_bar(scores: DomainScores, table: SkillTable, query: Query, context: PolicyContext) -> float | None:
    """Return the best registered expert's expected quality, where cost counts and it is needed."""
    if balance(query, context.economy) >= 1:
        return None
    return max(quality for quality, _ in table.expected(scores.scores).values())


def _doubt(ranked: Sequence[Scored], scores: DomainScores, table: SkillTable, context: PolicyContext) -> str | None:
    """Return why the default expert should answer instead of the best one, or None when nothing speaks for it.

    `support` is the probability of those domains in which the best expert really beats the default one, if the query
    belongs to any; familiarity is the probability that it does.
    """
    default = next((each.profile for each in ranked if each.expert == context.default), None)
    best = ranked[0].profile
    if default is None or best.expert == default.expert:
        return None
    better = [d for d in scores.scores if table.skill(best, d) > table.skill(default, d)]
    support = sum(scores.scores[domain] for domain in better)
    if support * scores.familiarity >= context.fallback_confidence:
        return None
    if support >= context.fallback_confidence:
        return f"unlike anything known (familiarity {scores.familiarity:.2f}): {default.expert} answers"
    return f"too unsure of {best.expert} (confidence {support:.2f}): {default.expert} answers"


def _default_first(ranked: Sequence[Scored], context: PolicyContext) -> list[Scored]:
    """Move the default expert to the front, with no less weight than the best one."""
    default = next(each for each in ranked if each.expert == context.default)
    first = Scored(default.profile, default.score, ranked[0].weight, "the default, in doubt", default.quality)
    return [first, *(each for each in ranked if each is not default)]
