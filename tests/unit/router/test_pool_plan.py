"""Planning a pool of experts within a budget from recorded outcomes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experts.errors import ConfigError
from router.training.pool import plan_pool
from tests.unit.router.outcome_world import world

SIZES = {"solver": 7.0, "coder": 7.0, "doctor": 70.0}


def test_the_pool_keeps_who_pays_within_the_budget() -> None:
    outcomes, _ = world(600, seed=1)
    plan = plan_pool(replace(outcomes, parameters=SIZES), 20.0)
    assert (plan.experts, plan.size, plan.exact) == (("solver", "coder"), 14.0, True)
    assert (plan.answers["math"], plan.answers["code"]) == ("solver", "coder")
    assert plan.accuracy > plan.alone[1] + 0.1


def test_a_budget_may_be_money() -> None:
    outcomes, _ = world(300, seed=1)
    plan = plan_pool(outcomes, 0.2, by="cost")
    assert len(plan.experts) == 2
    assert plan.size == pytest.approx(0.2)


def test_unknown_sizes_are_named() -> None:
    outcomes, _ = world(100, seed=1)
    with pytest.raises(ConfigError, match="--models must give params_active_b of coder, doctor"):
        plan_pool(replace(outcomes, parameters={"solver": 7.0}), 20.0)


def test_too_small_a_budget_says_what_is_needed() -> None:
    outcomes, _ = world(100, seed=1)
    with pytest.raises(ConfigError, match="Within 2 billion active parameters there is no pool: .*smallest takes 7"):
        plan_pool(replace(outcomes, parameters=SIZES), 2.0)


def test_a_table_without_categories_cannot_be_planned() -> None:
    outcomes, _ = world(100, seed=1)
    with pytest.raises(ConfigError, match="need a column category, task or domain"):
        plan_pool(replace(outcomes, parameters=SIZES, categories=np.full(100, "")), 20.0)
