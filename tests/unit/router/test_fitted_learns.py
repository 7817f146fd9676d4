"""A fitted policy decides by its estimates together with what feedback taught since."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from experts.profile import SkillProfile
from router.learning import overlaid
from router.learning.offsets import shifted
from router.policies import PolicyContext
from router.policies.fitted import FittedPolicy
from router.types import DomainScores, Query, RoutingDecision

POOL = (SkillProfile("strong"), SkillProfile("weak"))
READING = SimpleNamespace(posterior=np.array([[1.0]]))
BASIS: Any = SimpleNamespace(read=lambda _: READING, categories=SimpleNamespace(names_=["math"]))
ESTIMATOR: Any = SimpleNamespace(estimate=lambda _: np.array([[0.7, 0.6]]))
POLICY = FittedPolicy("auto", BASIS, ESTIMATOR, ("strong", "weak"))


def decided(profiles: tuple[SkillProfile, ...], domain: str = "math") -> RoutingDecision:
    query = Query(messages=({"role": "user", "content": "What is the integral of x?"},))
    return POLICY.decide(query, DomainScores({domain: 1.0}, vector=np.ones(4, np.float32)), profiles, PolicyContext())


def test_feedback_moves_a_fitted_estimate_in_its_domain_only() -> None:
    taught = overlaid(POOL, {"strong": {"math": -1.0}})

    assert "strong" == decided(POOL).assignments[0].expert
    assert "weak" == decided(taught).assignments[0].expert
    assert "strong" == decided(taught, "law").assignments[0].expert
    assert shifted(0.7, -1.0) == pytest.approx(
        next(each.quality for each in decided(taught).candidates if each.expert == "strong")
    )


def test_without_feedback_estimates_stay_exactly() -> None:
    assert {"strong": 0.7, "weak": 0.6} == {each.expert: each.quality for each in decided(POOL).candidates}
