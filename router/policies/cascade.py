"""Ask a cheap expert first, and the strong one only where the answer looks weak.

Whether that pays is computed before anybody is asked. With w, s = chance that the cheap and the strong expert
are right, b = that both are, and e = how often the check of an answer errs:

    kept and right          w (1 - e)
    escalated and right     e b + (1 - e)(s - b)
    break-even              e* = (w - b) / (w - b + s - b)    above it the strong expert alone is better

b follows from w and s by the usual correlation of experts' correctness. The plan is carried out by the fusion
strategy `cascade`; two or more cheap experts check each other by agreeing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from typing import ClassVar, NamedTuple

from experts.profile import SkillProfile
from router.policies.base import PolicyContext, decision_for, weighed
from router.policies.eligibility import eligible
from router.policies.objective import balance, cost_share, utility
from router.policies.profile import ProfilePolicy, quality_bar
from router.policies.skill import skill_table
from router.policies.weighing import Arm
from router.types import DomainScores, Query, RoutingDecision

CORRELATION = 0.36
"""Mean correlation of two experts' correctness on the same questions (28 public models on MMLU-Pro)."""


class Plan(NamedTuple):
    """Who is asked in turn: `cheap` together, then `strong` if need be (None: the cheap one alone answers)."""

    cheap: tuple[Arm, ...]
    strong: Arm | None
    accuracy: float
    cost: float
    latency_ms: float
    break_even: float


class CascadePolicy:
    """The plan with the best balance of expected accuracy and cost: one expert, or a cascade of two or more."""

    reads_scores: ClassVar[bool] = True

    def __init__(self) -> None:
        self._profile = ProfilePolicy(name="cascade")

    def decide(
        self,
        query: Query,
        scores: DomainScores,
        profiles: Sequence[SkillProfile],
        context: PolicyContext,
    ) -> RoutingDecision:
        """Return the cascade that pays, else what `profile` decides; at most `max_experts` are involved."""
        alone = self._profile.decide(replace(query, max_experts=1), scores, profiles, context)
        candidates, excluded = eligible(profiles, query.constraints)
        table = skill_table(profiles, context.taxonomy, context.default)
        ranked = self._profile.rank(candidates, scores, table)
        bar = quality_bar(scores, table, query, context)
        arms, excluded = weighed(ranked, query, scores, context, excluded, bar)
        plan = best_plan(arms, query, context)
        if plan is None or plan.strong is None:
            return alone
        chosen = [*plan.cheap, plan.strong]
        return decision_for(
            chosen,
            arms,
            policy="cascade",
            scores=scores,
            excluded=excluded,
            reason=_why(plan, context),
            stages=(len(plan.cheap), 1),
            fusion="cascade",
        )


def best_plan(arms: Sequence[Arm], query: Query, context: PolicyContext) -> Plan | None:
    """Return the plan that is worth most, within the query's limits; where cost does not count, the cheapest of
    those that lose no accuracy. None when qualities or costs are unknown, or only one expert may be asked.
    """
    known = [arm for arm in arms if arm.quality is not None and arm.cost_usd is not None]
    size = min(context.cheap_first, context.max_experts - 1, query.max_experts - 1, len(known) - 1)
    if size < 1:
        return None
    strong = max(known, key=lambda arm: (arm.quality or 0.0, -(arm.cost_usd or 0.0)))
    plans = [_alone(arm, query, context) for arm in known]
    cheaper = sorted((arm for arm in known if _cost(arm) < _cost(strong)), key=lambda arm: -(arm.quality or 0.0))
    teams = [tuple(cheaper[at : at + size]) for at in range(len(cheaper) - size + 1)]
    plans += [_cascade(team, strong, query, context) for team in teams]
    return _best([plan for plan in plans if _within(plan, query)], strong, query, context)


def both_right(weak: float, strong: float, correlation: float = CORRELATION) -> float:
    """Return the chance that both are right, for chances of each and the correlation of their correctness."""
    joint = weak * strong + correlation * sqrt(weak * (1 - weak) * strong * (1 - strong))
    return min(weak, strong, max(joint, weak + strong - 1, 0.0))


def escalation(weak: float, error: float) -> float:
    """Return how often the strong expert is asked."""
    return weak * error + (1 - weak) * (1 - error)


def cascade_accuracy(weak: float, strong: float, both: float, error: float) -> float:
    """Return the share of right answers of a cascade whose check errs with probability `error`."""
    return weak * (1 - error) + error * both + (1 - error) * (strong - both)


def break_even(weak: float, strong: float, both: float) -> float:
    """Return the error of the check at which the cascade is as accurate as the strong expert alone."""
    lost, won = weak - both, strong - both
    return lost / (lost + won) if lost + won > 0 else 0.0


def _alone(arm: Arm, query: Query, context: PolicyContext) -> Plan:
    share = cost_share(arm.cost_usd, query, context.economy)
    return Plan((arm,), None, arm.quality or 0.0, share, arm.latency_ms or 0.0, 0.0)


def _cascade(team: tuple[Arm, ...], strong: Arm, query: Query, context: PolicyContext) -> Plan:
    weak, best = max(arm.quality or 0.0 for arm in team), strong.quality or 0.0
    both, often = both_right(weak, best), escalation(weak, context.judge_error)
    cheap = sum(cost_share(arm.cost_usd, query, context.economy) for arm in team)
    return Plan(
        cheap=team,
        strong=strong,
        accuracy=cascade_accuracy(weak, best, both, context.judge_error),
        cost=cheap + often * cost_share(strong.cost_usd, query, context.economy),
        latency_ms=max(arm.latency_ms or 0.0 for arm in team) + often * (strong.latency_ms or 0.0),
        break_even=break_even(weak, best, both),
    )


def _within(plan: Plan, query: Query) -> bool:
    """Say whether the plan keeps the limits even when everybody has to be asked."""
    everybody = [*plan.cheap, *([plan.strong] if plan.strong else [])]
    limits = query.objective
    cost = sum(_cost(arm) for arm in everybody)
    slowest = max(arm.latency_ms or 0.0 for arm in plan.cheap) + (plan.strong.latency_ms or 0.0 if plan.strong else 0.0)
    affordable = limits.max_cost_usd is None or cost <= limits.max_cost_usd
    return affordable and (limits.max_latency_ms is None or slowest <= limits.max_latency_ms)


def _best(plans: Sequence[Plan], strong: Arm, query: Query, context: PolicyContext) -> Plan | None:
    c = balance(query, context.economy)
    if c >= 1:
        as_good = [plan for plan in plans if plan.accuracy >= (strong.quality or 0.0)]
        return min(as_good, key=lambda plan: plan.cost, default=None)
    return max(plans, key=lambda p: utility(p.accuracy, p.cost, p.latency_ms, c, context.economy), default=None)


def _cost(arm: Arm) -> float:
    return arm.cost_usd or 0.0


def _why(plan: Plan, context: PolicyContext) -> str:
    assert plan.strong is not None
    cheap = " and ".join(arm.expert for arm in plan.cheap)
    weak = "disagree" if len(plan.cheap) > 1 else "looks weak"
    return (
        f"{cheap} first, {plan.strong.expert} if {'they ' if len(plan.cheap) > 1 else 'that '}{weak}: "
        f"expected {plan.accuracy:.2f} right; as good as {plan.strong.expert} alone while the check errs in less "
        f"than {plan.break_even:.2f} (assumed {context.judge_error:.2f})"
    )
