"""Choose which experts to keep within a budget, and who answers what, from recorded outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experts.errors import ConfigError
from experts.types import Domain, ExpertName
from router.policies.budget import best_pool, shares
from router.policies.domain import SHRINKAGE
from router.policies.lesson import imputed
from router.policies.smoothing import Floats, table
from router.training.outcomes import Outcomes

UNITS = {"parameters": "billion active parameters", "cost": "USD per 1,000 questions"}


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A pool within a budget.

    Args:
        experts: kept, in the table's order.
        answers: who answers each category.
        size: of the pool, in the budget's unit.
        asked: mean size of the expert that answers.
        accuracy: expected on the questions it was planned on.
        alone: the best single expert within the budget, and its accuracy.
        exact: whether every pool was tried.
    """

    experts: tuple[ExpertName, ...]
    answers: Mapping[Domain, ExpertName]
    size: float
    asked: float
    accuracy: float
    alone: tuple[ExpertName, float]
    exact: bool


def plan_pool(outcomes: Outcomes, budget: float, by: str = "parameters") -> PoolPlan:
    """Return the pool whose category map is worth most within the budget.

    Args:
        by: "parameters" (billions, summed over the pool) or "cost" (USD per 1,000 questions, likewise).

    Raises:
        ConfigError: sizes are unknown, no expert fits, or the table names no categories.
    """
    sizes = _sizes(outcomes, by)
    names = np.array(sorted(set(outcomes.categories.tolist())))
    if len(names) < 2:
        raise ConfigError("A pool is planned by category: the questions need a column category, task or domain.")
    labels = (outcomes.categories[:, None] == names[None, :]).astype(float)
    scores = imputed(outcomes.scores)
    skill, share = table(labels, scores, SHRINKAGE), shares(labels)
    try:
        found = best_pool(skill, share, sizes, budget)
    except ValueError as error:
        raise ConfigError(f"Within {budget:g} {UNITS[by]} there is no pool: {error}.") from error
    owner = [found.columns[int(row[list(found.columns)].argmax())] for row in skill]
    fitting = np.flatnonzero(sizes <= budget)
    alone = int(fitting[scores[:, fitting].mean(axis=0).argmax()])
    used = sorted(set(owner))
    return PoolPlan(
        experts=tuple(outcomes.experts[column] for column in used),
        answers={str(name): outcomes.experts[column] for name, column in zip(names, owner, strict=True)},
        size=float(sizes[used].sum()),
        asked=float(share @ sizes[owner]),
        accuracy=found.worth,
        alone=(outcomes.experts[alone], float(scores[:, alone].mean())),
        exact=found.exact,
    )


def _sizes(outcomes: Outcomes, by: str) -> Floats:
    if by not in UNITS:
        raise ConfigError(f"A budget is counted by {' or '.join(UNITS)}, not by '{by}'.")
    if by == "cost":
        sizes = 1000 * np.nanmean(outcomes.costs, axis=0)
    else:
        sizes = np.array([outcomes.parameters.get(name, np.nan) for name in outcomes.experts])
    unknown = [name for name, size in zip(outcomes.experts, sizes, strict=True) if np.isnan(size)]
    if unknown:
        column = "price_in and price_out" if by == "cost" else "params_active_b"
        raise ConfigError(f"--models must give {column} of {', '.join(unknown)}, or leave them out with --experts.")
    return np.asarray(sizes, dtype=np.float64)
