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
from router.policies.base import Policy, PolicyContext
from router.policies.objective import balance, cost_share, utility
from router.policies.profile import ProfilePolicy
from router.types import Assignment, CandidateScore, DomainScores, Incumbent, Query, RoutingDecision

CORRELATION = 0.36
"""Mean correlation of two experts' correctness on the same questions (28 public models on MMLU-Pro)."""


class Plan(NamedTuple):
    """Who is asked in turn: `cheap` together, then `strong` if need be (None: the cheap one alone answers)."""

    cheap: tuple[CandidateScore, ...]
    strong: CandidateScore | None
    accuracy: float
    cost: float
    latency_ms: float
    break_even: float


class CascadePolicy:
    """The plan with the best balance of expected accuracy and cost: one expert, or a cascade of two or more.

    Args:
        base: estimates the experts' qualities, and decides wherever a cascade does not pay.
    """

    reads_scores: ClassVar[bool] = True

    def __init__(self, base: Policy | None = None) -> None:
        self._base = base or ProfilePolicy(name="cascade")

    def decide(
        self,
        query: Query,
        scores: DomainScores,
        profiles: Sequence[SkillProfile],
        context: PolicyContext,
    ) -> RoutingDecision:
        """Return the cascade that pays, else the base policy's one expert; at most `max_experts` are involved."""
        alone = replace(query, max_experts=1, top_p=None, incumbent=self._renamed(query))
        decision = replace(self._base.decide(alone, scores, profiles, context), policy="cascade")
        settled = decision.candidates[0].score < max(candidate.score for candidate in decision.candidates)
        plan = None if settled else best_plan(decision.candidates, query, context)
        return decision if plan is None or plan.strong is None else _planned(plan, decision, context)

    def _renamed(self, query: Query) -> Incumbent | None:
        """Return the conversation's expert under the base policy's name, which is who looks at it."""
        last, name = query.incumbent, getattr(self._base, "name", "cascade")
        return replace(last, policy=name) if last is not None and last.policy == "cascade" else last


def _planned(plan: Plan, alone: RoutingDecision, context: PolicyContext) -> RoutingDecision:
    """Return the plan as a decision; weights are the experts' shares, in the order of asking."""
    assert plan.strong is not None
    chosen = [*plan.cheap, plan.strong]
    names = {candidate.expert for candidate in chosen}
    total = sum(candidate.share for candidate in chosen)
    stand_ins = dict.fromkeys([alone.assignments[0].expert, *alone.fallbacks])
    return replace(
        alone,
        assignments=tuple(Assignment(each.expert, each.share / total, each.thinking) for each in chosen),
        candidates=tuple(each._replace(chosen=each.expert in names) for each in alone.candidates),
        fallbacks=tuple(name for name in stand_ins if name not in names),
        thinking=chosen[0].thinking,
        reason=_why(plan, context),
        stages=(len(plan.cheap), 1),
        fusion="cascade",
        cost_usd=sum(_cost(candidate) for candidate in chosen),
    )


def best_plan(candidates: Sequence[CandidateScore], query: Query, context: PolicyContext) -> Plan | None:
    """Return the plan that is worth most, within the query's limits; where cost does not count, the cheapest of
    those that lose no accuracy. None when qualities or costs are unknown, or only one expert may be asked.
    """
    known = [each for each in candidates if each.quality is not None and each.cost_usd is not None]
    size = min(context.cheap_first, context.max_experts - 1, query.max_experts - 1, len(known) - 1)
    if size < 1:
        return None
    strong = max(known, key=lambda each: (_quality(each), -_cost(each)))
    plans = [_alone(each, query, context) for each in known]
    cheaper = sorted((each for each in known if _cost(each) < _cost(strong)), key=lambda each: -_quality(each))
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


def _alone(candidate: CandidateScore, query: Query, context: PolicyContext) -> Plan:
    share = cost_share(candidate.cost_usd, query, context.economy)
    return Plan((candidate,), None, _quality(candidate), share, candidate.latency_ms or 0.0, 0.0)


def _cascade(team: tuple[CandidateScore, ...], strong: CandidateScore, query: Query, context: PolicyContext) -> Plan:
    weak, best = max(_quality(each) for each in team), _quality(strong)
    both, often = both_right(weak, best), escalation(weak, context.judge_error)
    cheap = sum(cost_share(each.cost_usd, query, context.economy) for each in team)
    return Plan(
        cheap=team,
        strong=strong,
        accuracy=cascade_accuracy(weak, best, both, context.judge_error),
        cost=cheap + often * cost_share(strong.cost_usd, query, context.economy),
        latency_ms=max(each.latency_ms or 0.0 for each in team) + often * (strong.latency_ms or 0.0),
        break_even=break_even(weak, best, both),
    )


def _within(plan: Plan, query: Query) -> bool:
    """Say whether the plan keeps the limits even when everybody has to be asked."""
    everybody = [*plan.cheap, *([plan.strong] if plan.strong else [])]
    limits = query.objective
    cost = sum(_cost(each) for each in everybody)
    slowest = max(each.latency_ms or 0.0 for each in plan.cheap) + (
        plan.strong.latency_ms or 0.0 if plan.strong else 0.0
    )
    affordable = limits.max_cost_usd is None or cost <= limits.max_cost_usd
    return affordable and (limits.max_latency_ms is None or slowest <= limits.max_latency_ms)


def _best(plans: Sequence[Plan], strong: CandidateScore, query: Query, context: PolicyContext) -> Plan | None:
    c, economy = balance(query, context.economy), context.economy
    least = _quality(strong) * (1.0 if c >= 1 else economy.acceptable)
    good = [plan for plan in plans if plan.accuracy >= least]
    if c >= 1:
        return min(good, key=lambda plan: plan.cost, default=None)
    return max(good, key=lambda plan: utility(plan.accuracy, plan.cost, plan.latency_ms, c, economy), default=None)


def _quality(candidate: CandidateScore) -> float:
    return candidate.quality or 0.0


def _cost(candidate: CandidateScore) -> float:
    return candidate.cost_usd or 0.0


def _why(plan: Plan, context: PolicyContext) -> str:
    assert plan.strong is not None
    cheap = " and ".join(each.expert for each in plan.cheap)
    weak = "disagree" if len(plan.cheap) > 1 else "looks weak"
    return (
        f"{cheap} first, {plan.strong.expert} if {'they ' if len(plan.cheap) > 1 else 'that '}{weak}: "
        f"expected {plan.accuracy:.2f} right; as good as {plan.strong.expert} alone while the check errs in less "
        f"than {plan.break_even:.2f} (assumed {context.judge_error:.2f})"
    )
