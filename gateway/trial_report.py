"""What a trial has shown so far, as JSON: each arm, their difference and what it is worth, the shadow. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experts.types import ExpertName
from router import RoutingConfig
from router.learning import ArmSums, Moments, ShadowSums, TrialSums, difference, verdict

A, B = "a", "b"


def trial_report(sums: TrialSums, config: RoutingConfig) -> dict[str, Any]:
    """Return the report of the trial that this configuration runs."""
    a, b = sums.arms.get(A, ArmSums()), sums.arms.get(B, ArmSums())
    policies = {A: config.policy, **({B: config.split.policy} if config.split.policy else {})}
    return {
        "arms": {name: {"policy": policy, **_arm(a if name == A else b)} for name, policy in policies.items()},
        "difference": _difference(a.scores, b.scores) if config.split.policy else None,
        "verdict": verdict(a.scores, b.scores) if config.split.policy else "no split: every conversation is in arm a",
        "shadow": _shadow(sums.shadow, config.shadow.policy),
    }


def _arm(sums: ArmSums) -> dict[str, Any]:
    return {
        "requests": sums.requests,
        "feedback": _mean(sums.scores),
        "cost_usd": _mean(sums.cost_usd),
        "seconds": _mean(sums.seconds),
        "experts": _shares(sums.experts),
    }


def _shadow(sums: ShadowSums, policy: str | None) -> dict[str, Any] | None:
    if policy is None:
        return None
    return {
        "policy": policy,
        "requests": sums.requests,
        "agreement": round(sums.agreed / sums.requests, 4) if sums.requests else None,
        "experts": _shares(sums.experts),
        "feedback_where_agreed": _mean(sums.scores_agreed),
        "feedback_where_differed": _mean(sums.scores_differed),
    }


def _mean(moments: Moments) -> dict[str, Any]:
    """Return count, mean and 95 % interval; null where there are too few numbers for one."""
    mean, interval = moments.mean, moments.interval
    return {
        "n": int(moments.count),
        "mean": None if mean is None else round(mean, 8),
        "ci95": None if interval is None else [round(bound, 8) for bound in interval],
    }


def _difference(a: Moments, b: Moments) -> dict[str, Any] | None:
    found = difference(a, b)
    if found is None:
        return None
    interval = [round(bound, 4) for bound in found.interval]
    return {"b_minus_a": round(found.mean, 4), "ci95": interval, "significant": found.significant}


def _shares(experts: Mapping[ExpertName, int]) -> dict[ExpertName, float]:
    total = sum(experts.values())
    ranked = sorted(experts.items(), key=lambda item: -item[1])
    return {name: round(count / total, 4) for name, count in ranked if count}
