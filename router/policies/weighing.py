"""From what a policy thinks of each expert to what asking it is worth: limits, cost, time, thinking, conversation.

Every candidate is weighed on its own, so that leaving one out never changes the order of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from experts.types import ExpertName
from router.errors import NoEligibleExpert
from router.policies.candidates import PolicyContext, Scored
from router.policies.objective import Economy, balance, cost_share, expected_cost, expected_latency, over_limit, utility
from router.policies.thinking import AS_IT_IS, Mode, modes
from router.types import DomainScores, Query

new = tuple.__new__
"""Makes a named tuple in half the time of calling its class, which counts with a hundred candidates."""
UNACCEPTABLE = 2.0
"""Taken off the score of an expert below the acceptable quality: more than any utility spans."""


class Arm(NamedTuple):
    """A candidate in the mode that is worth most, within the request's limits."""

    scored: Scored
    mode: Mode
    score: float
    cost_usd: float | None
    latency_ms: float | None
    expert: ExpertName
    quality: float | None


class _Rule(NamedTuple):
    """What holds for all the candidates of a query: `least` is the score of an acceptable one, and where the rule
    is `plain`, neither cost nor time counts.
    """

    cost_quality: float
    least: float
    limited: bool
    plain: bool


def weigh(
    ranked: Sequence[Scored], query: Query, scores: DomainScores, context: PolicyContext, bar: float | None
) -> tuple[list[Arm], dict[ExpertName, str]]:
    """Return the candidates within the request's limits, best first, and why the others are not.

    The policy's own order stays unless cost, time or thinking counts. `bar` is the best registered expert's
    score; without it the best candidate's.

    Raises:
        NoEligibleExpert: nobody is within the limits; it carries those reasons only.
    """
    arms: list[Arm] = []
    over: dict[ExpertName, str] = {}
    economy = context.economy
    c = balance(query, economy)
    plain = c == 1 and economy.latency_weight == 0
    rule = _Rule(c, _least_acceptable(ranked, query, context, bar), query.objective.limited, plain)
    nothing_counts = rule.plain and not rule.limited
    for scored in ranked:
        if nothing_counts and scored.profile.thinking is None and scored.quality is not None:
            arms.append(_usual_arm(scored, query, economy))
            continue
        arm, reason = _best_arm(scored, query, scores, economy, rule)
        if arm is None:
            over[scored.profile.expert] = reason or "over the request's limits"
        else:
            arms.append(arm)
    if not arms:
        raise NoEligibleExpert(over)
    if _reorders(arms, query, context):
        arms.sort(key=attrgetter("score"), reverse=True)
    return arms, over


def arranged(
    arms: Sequence[Arm],
    query: Query,
    scores: DomainScores,
    context: PolicyContext,
    *,
    policy: str,
    pinned: ExpertName | None,
) -> tuple[list[Arm], ExpertName | None]:
    """Return the candidates with the pinned one (the default, in doubt) or the conversation's expert in front,
    and the latter's name where it stays.
    """
    staying = _staying(arms, query, scores, context, policy)
    front = staying or pinned
    if front is None:
        return list(arms), staying
    return sorted(arms, key=lambda arm: arm.expert != front), staying


def _usual_arm(scored: Scored, query: Query, economy: Economy) -> Arm:
    """Return the one arm of a candidate of which only the quality counts: what `_best_arm` says of it, but sooner."""
    profile = scored.profile
    load = query.load.get(profile.expert) if query.load else None
    latency = expected_latency(profile, load) if load or profile.latency_ms is not None else None
    cost, quality = expected_cost(profile, query, economy), scored.quality
    expected = quality if quality is None or quality < 1.0 else 1.0
    return new(Arm, (scored, AS_IT_IS[0], scored.score, cost, latency, profile.expert, expected))


def _best_arm(
    scored: Scored, query: Query, scores: DomainScores, economy: Economy, rule: _Rule
) -> tuple[Arm | None, str | None]:
    profile, best, reason = scored.profile, None, None
    load = query.load.get(profile.expert) if query.load else None
    for mode in modes(profile, query.thinking, scores.scores):
        cost = expected_cost(profile, query, economy, mode.longer)
        latency = expected_latency(profile, load, mode.longer) if load or profile.latency_ms is not None else None
        if rule.limited and (why := over_limit(cost, latency, query)):
            reason = reason or why
            continue
        quality = mode.gain if scored.quality is None else mode.gain + scored.score
        worth = quality if rule.plain else _worth(scored, quality, cost, latency, query, economy, rule)
        if best is None or worth > best[0]:
            best = (worth, mode, cost, latency)
    if best is None:
        return None, reason
    worth, mode, cost, latency = best
    if scored.quality is None:
        return Arm(scored, mode, scored.score, cost, latency, profile.expert, None), None
    expected = min(1.0, scored.quality + mode.gain)
    return new(Arm, (scored, mode, worth, cost, latency, profile.expert, expected)), None


def _worth(
    scored: Scored,
    quality: float,
    cost: float | None,
    latency: float | None,
    query: Query,
    economy: Economy,
    rule: _Rule,
) -> float:
    """Return the utility of one mode of one expert; of a policy that estimates no quality, the mode's alone."""
    share = cost_share(cost, query, economy) if rule.cost_quality < 1 else 0.0
    worth = utility(quality, share, latency, rule.cost_quality, economy)
    return worth - UNACCEPTABLE if quality < rule.least and scored.quality is not None else worth


def _least_acceptable(ranked: Sequence[Scored], query: Query, context: PolicyContext, bar: float | None) -> float:
    """Return the score below which a candidate is not acceptable; where cost does not count, none is."""
    if balance(query, context.economy) >= 1:
        return float("-inf")
    best = max(scored.score for scored in ranked) if bar is None else bar
    return context.economy.acceptable * best


def _reorders(arms: Sequence[Arm], query: Query, context: PolicyContext) -> bool:
    """Say whether anything but the policy's own score counts."""
    economy = context.economy
    if None in [arm.quality for arm in arms]:
        return False
    economic = balance(query, economy) < 1 or economy.latency_weight > 0
    return economic or any(arm.mode.gain for arm in arms)


def _staying(
    arms: Sequence[Arm], query: Query, scores: DomainScores, context: PolicyContext, policy: str
) -> ExpertName | None:
    """Return the conversation's expert where the topic is the same and nobody is better by more than the margin."""
    last = query.incumbent
    if last is None or last.policy != policy or last.domain != scores.topic:
        return None
    arm = next((arm for arm in arms if arm.expert == last.expert), None)
    if arm is None or (arm.quality is not None and arms[0].score - arm.score > context.stickiness):
        return None
    return arm.expert
