"""What a policy promises, and the last step all of them share: from scored candidates to a decision.

A policy is pure and sync. It scores every eligible expert on its own, so that leaving some out (not allowed,
not healthy, too expensive) never changes the order of the rest.

    eligible  hard constraints         policies/eligibility.py
    score     the policy's own idea    policies/<name>.py
    weigh     limits, cost, time, thinking, the conversation's expert    policies/weighing.py
    select    how many, in which stages                                  policies/selection.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from experts.profile import SkillProfile
from experts.types import ExpertName
from router.errors import NoEligibleExpert
from router.policies.candidates import PolicyContext, Scored
from router.policies.objective import COST_WORTH, balance, cost_share
from router.policies.selection import how_many, needs, stages_for, worth_asking
from router.policies.weighing import Arm, arranged, new, weigh
from router.types import Assignment, CandidateScore, DomainScores, Query, RoutingDecision

__all__ = ["Policy", "PolicyContext", "Scored", "decision_for", "settle", "weighed"]


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


def settle(
    ranked: Sequence[Scored],
    query: Query,
    context: PolicyContext,
    *,
    policy: str,
    scores: DomainScores,
    excluded: Mapping[ExpertName, str],
    reason: str,
    pinned: ExpertName | None = None,
    bar: float | None = None,
) -> RoutingDecision:
    """Return the decision for `ranked` (best first, never empty), weighed by the query's objective.

    Args:
        reason: why the first of `ranked` is; replaced where cost, limits or the conversation put another first.
        pinned: who answers first whatever its cost, if it is within the limits (the default expert, in doubt).
        bar: the score of the best registered expert, eligible or not: what "acceptable" is measured by.

    Raises:
        NoEligibleExpert: nobody is within the query's limits.
    """
    arms, excluded = weighed(ranked, query, scores, context, excluded, bar)
    ordered, staying = arranged(arms, query, scores, context, policy=policy, pinned=pinned)
    chosen = _chosen(ordered, query, context)
    if len(chosen) == 1 and ordered[0].expert != ranked[0].expert:
        reason = _other_reason(ordered[0], staying, query, scores, context)
    return decision_for(
        chosen,
        ordered,
        policy=policy,
        scores=scores,
        excluded=excluded,
        reason=reason,
        stages=_stages(chosen, query),
    )


def weighed(
    ranked: Sequence[Scored],
    query: Query,
    scores: DomainScores,
    context: PolicyContext,
    excluded: Mapping[ExpertName, str],
    bar: float | None = None,
) -> tuple[list[Arm], dict[ExpertName, str]]:
    """Return the candidates within the limits by what they are worth, and every other expert's reason.

    Raises:
        NoEligibleExpert: nobody is within the query's limits.
    """
    try:
        arms, over = weigh(ranked, query, scores, context, bar)
    except NoEligibleExpert as error:
        raise NoEligibleExpert({**excluded, **error.excluded}) from None
    return arms, {**excluded, **over}


def decision_for(
    chosen: Sequence[Arm],
    ordered: Sequence[Arm],
    *,
    policy: str,
    scores: DomainScores,
    excluded: Mapping[ExpertName, str],
    reason: str,
    stages: tuple[int, ...] = (),
    fusion: str | None = None,
) -> RoutingDecision:
    """Return the decision that asks `chosen`, in that order, of all the candidates `ordered`."""
    total = sum(arm.scored.weight for arm in chosen)
    costs = [arm.cost_usd for arm in chosen if arm.cost_usd is not None]
    return RoutingDecision(
        assignments=tuple(Assignment(arm.expert, arm.scored.weight / total, arm.mode.thinking) for arm in chosen),
        policy=policy,
        confidence=scores.confidence,
        domains=dict(scores.ranked()),
        candidates=_candidates(chosen, ordered),
        excluded=dict(excluded),
        fallbacks=fallbacks(ordered, chosen),
        skills=scores.skills,
        thinking=chosen[0].mode.thinking,
        reason="; ".join(filter(None, [reason, _thinking_note(chosen[0]), scores.note])),
        stages=stages,
        fusion=fusion,
        cost_usd=sum(costs) if len(costs) == len(chosen) else None,
        difficulty=scores.difficulty,
    )


def fallbacks(ordered: Sequence[Arm], chosen: Sequence[Arm]) -> tuple[ExpertName, ...]:
    """Return who stands in, candidates only: the best expert's own list, then the others in their order.

    Experts that scored below the default one follow it: a generalist stands in before another field's specialist.
    """
    taken = {arm.expert for arm in chosen}
    following = [arm.expert for arm in ordered if arm.expert not in taken]
    own = [name for name in chosen[0].scored.profile.fallback if name in following]
    return tuple(dict.fromkeys([*own, *following]))


def _thinking_note(first: Arm) -> str:
    """Return what a measured thinking switch was set to and why, in words; empty where nothing was measured."""
    if not first.mode.gain:
        return ""
    return f"thinking is on, measured at {first.mode.gain:+.2f} here"


def _candidates(chosen: Sequence[Arm], ordered: Sequence[Arm]) -> tuple[CandidateScore, ...]:
    names = {arm.expert for arm in chosen}
    total = sum([arm.scored.weight for arm in ordered])
    return tuple(
        [
            new(
                CandidateScore,
                (expert, score, quality, expert in names, reason, usd, ms, weight / total, mode.thinking),
            )
            for (_, _, weight, reason, _), mode, score, usd, ms, expert, quality in ordered
        ]
    )


def _chosen(ordered: Sequence[Arm], query: Query, context: PolicyContext) -> list[Arm]:
    """Return the first candidates, as many as are wanted, affordable together and worth their cost."""
    cap = max(1, min(query.max_experts, context.max_experts, len(ordered)))
    if cap == 1:
        return [ordered[0]]
    weights = [arm.scored.weight for arm in ordered]
    wanted = how_many(weights, cap, query.top_p)
    need = needs(weights, wanted)
    c, left = balance(query, context.economy), query.objective.max_cost_usd
    chosen, spent = [ordered[0]], ordered[0].cost_usd or 0.0
    for arm, needed in zip(ordered[1:wanted], need, strict=True):
        share = cost_share(arm.cost_usd, query, context.economy)
        affordable = left is None or spent + (arm.cost_usd or 0.0) <= left
        if affordable and worth_asking(float(needed), share, c, COST_WORTH):
            chosen.append(arm)
            spent += arm.cost_usd or 0.0
    return sorted(chosen, key=lambda arm: -arm.scored.weight)


def _stages(chosen: Sequence[Arm], query: Query) -> tuple[int, ...]:
    """Return the stages of a lazy vote, where the time for one after the other is there."""
    if not query.staged or len(chosen) < 2:
        return ()
    stages, limit = stages_for([arm.scored.weight for arm in chosen]), query.objective.max_latency_ms
    if limit is None or not stages:
        return stages
    known = [arm.latency_ms or 0.0 for arm in chosen]
    return stages if max(known[: stages[0]]) + sum(known[stages[0] :]) <= limit else ()


def _other_reason(
    arm: Arm, staying: ExpertName | None, query: Query, scores: DomainScores, context: PolicyContext
) -> str:
    """Return why somebody else than the policy's first choice answers."""
    if arm.expert == staying:
        about = f" ({scores.topic})" if scores.topic else ""
        return f"{arm.expert} stays while the conversation's topic{about} does"
    c = balance(query, context.economy)
    worth = f", worth most at cost_quality {c:.2f}" if c < 1 else ""
    return f"{arm.expert}: {arm.scored.reason}{worth}"
