"""Plans: ask cheap experts first and a dear one only where they disagree. Each plan is an arm with its own outcomes.

A plan (first, then) asks `first` in turn while their answers agree; if all do, that is the answer, else `then` gives
it. A single expert is the plan with nobody first. From recorded answers every plan's score and true cost on every
question is known, so plans are estimated like experts: by category and by a line; their cost, which depends on how long
the answer will be and on whether the cheap ones agree, by a line. Choosing the plan with the highest
estimate - price * expected cost traces a curve that no choice of single experts reaches where cheap experts agree
when they are right (FrugalGPT, 2305.05176; "three cheap models unanimous, else the strong one").
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from router.policies.domain import SHRINKAGE
from router.policies.lesson import Lesson, Reading
from router.policies.smoothing import Floats, table

CHEAP_SHARE = 0.5
"""An expert is cheap when it costs at most this share of what the best single expert costs."""
CHEAPEST, STRONGEST = 5, 3
PENALTY = 200.0
MOST_FIRST = 3
LEAST_COST = 0.2
"""Least share of a category's usual cost that a question may be expected to cost."""
TINY = 1e-12
"""USD; keeps a pool that costs nothing from dividing by it."""


class Plan(NamedTuple):
    """Columns of the experts asked first, and of the one that answers where those disagree."""

    first: tuple[int, ...]
    then: int


class Plans:
    """Expected score and cost of every plan for a question. Needs answers and prices of all experts."""

    def fit(self, lesson: Lesson, costs: Floats, codes: NDArray[np.int64]) -> Self:
        """Learn from recorded costs and coded answers, both (n, m); -1 is no answer."""
        plans = plans_for(lesson.scores, costs)
        played = [play(plan, lesson.scores, costs, codes) for plan in plans]
        scores, spent = (np.stack(part, axis=1) for part in zip(*played, strict=True))
        self.plans_ = [[*plan.first, plan.then] for plan in plans]
        self.skill_ = table(lesson.labels, scores, SHRINKAGE)
        self.cost_ = table(lesson.labels, spent, SHRINKAGE)
        self.unit_ = max(float(costs.mean(axis=0).max()), TINY)
        both = lesson.normal.solve(np.hstack([scores, spent / self.unit_]), PENALTY).astype(np.float32)
        self.coef_, self.cost_coef_ = both[:, : len(plans)], both[:, len(plans) :]
        return self

    @property
    def plans(self) -> list[Plan]:
        """The plans, in the order of the estimates' columns."""
        return [Plan(tuple(columns[:-1]), columns[-1]) for columns in self.plans_]

    def estimate(self, reading: Reading) -> tuple[Floats, Floats]:
        """Return the expected score and cost (USD) of each plan, both [n, plans]."""
        line = (reading.matrix @ self.coef_).astype(np.float64)
        return (reading.posterior @ self.skill_ + line) / 2, self._cost(reading)

    def _cost(self, reading: Reading) -> Floats:
        """Return the line's cost, never below a share of the category's; plans kept before there was one have none."""
        usual = np.asarray(reading.posterior @ self.cost_)
        if not hasattr(self, "cost_coef_"):
            return usual
        line = self.unit_ * (reading.matrix @ self.cost_coef_).astype(np.float64)
        return np.maximum(line, LEAST_COST * usual)


def plans_for(scores: Floats, costs: Floats) -> list[Plan]:
    """Return every single expert, and every two or three cheap ones with a strong one to fall back on."""
    level, price = scores.mean(axis=0), costs.mean(axis=0)
    strong = [int(column) for column in np.argsort(-level, kind="stable")[:STRONGEST]]
    limit = CHEAP_SHARE * price[strong[0]]
    cheap = [int(column) for column in np.argsort(price, kind="stable") if price[column] <= limit][:CHEAPEST]
    singles = [Plan((), column) for column in range(len(level))]
    together = [first for size in range(2, MOST_FIRST + 1) for first in combinations(cheap, size)]
    return singles + [Plan(first, then) for first in together for then in strong if then not in first]


def play(plan: Plan, scores: Floats, costs: Floats, codes: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the score and the cost of carrying out a plan on every question, each (n,)."""
    if not plan.first:
        return scores[:, plan.then], costs[:, plan.then]
    agreed = codes[:, plan.first[0]] >= 0
    spent = costs[:, plan.first[0]].copy()
    for column in plan.first[1:]:
        spent += np.where(agreed, costs[:, column], 0.0)
        agreed = agreed & (codes[:, column] == codes[:, plan.first[0]])
    score = np.where(agreed, scores[:, plan.first[0]], scores[:, plan.then])
    return score, spent + np.where(agreed, 0.0, costs[:, plan.then])


def within(plans: Sequence[Plan], columns: Sequence[int]) -> list[int]:
    """Return the places of the plans that need no expert but these."""
    known = set(columns)
    return [place for place, plan in enumerate(plans) if {*plan.first, plan.then} <= known]
