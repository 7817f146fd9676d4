"""Measure policies that were fitted before, on tables of outcomes: `consilium router evaluate --questions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from experts.errors import ConfigError
from experts.types import ExpertName
from router.evaluation.controls import gain_control, shuffled
from router.evaluation.evaluate import evaluate_routing
from router.evaluation.planned import PlanEstimates
from router.evaluation.reference import Reference
from router.evaluation.runs import Floats
from router.evaluation.trial import Trial
from router.policies.plans import Plan
from router.training.outcomes import Outcomes


class Fitted(Protocol):
    """Policies that were fitted on outcomes of `experts`; `estimates` are (n, m), a column an expert."""

    experts: tuple[ExpertName, ...]

    def estimates(self, features: Any, names: Sequence[str]) -> Mapping[str, NDArray[np.float64]]:
        """Return policy -> probability that each expert is right."""

    def plan_estimates(self, features: Any) -> tuple[Sequence[Plan], Floats, Floats] | None:
        """Return the plans with the expected score and cost of each, both (n, p); None without plans."""


CONTROL_QUESTIONS = 2000
Refit = Callable[[Outcomes], Fitted]
"""Fits the same policies on other outcomes."""


def measure_policies(
    fitted: Fitted,
    reference: Reference,
    test: Outcomes,
    features: Any,
    names: Sequence[str],
    *,
    experts: Sequence[ExpertName] | None = None,
) -> dict[str, Any]:
    """Return the figures of fitted policies on outcomes whose `features` they read.

    `experts` narrows the pool to some of the fitted ones.

    Raises:
        ConfigError: an expert was not fitted or not measured, or no question was measured on all.
    """
    pool = pool_of(fitted, test, experts)
    columns = [fitted.experts.index(name) for name in pool]
    found = fitted.estimates(features, names)
    narrowed = {name: np.asarray(values[:, columns], dtype=np.float64) for name, values in found.items()}
    planned = fitted.plan_estimates(features)
    plans = None if planned is None else PlanEstimates(fitted.experts, *planned)
    return evaluate_routing(reference, Reference.of(test).pool(pool), narrowed, plans=plans)


def pool_of(fitted: Fitted, test: Outcomes, experts: Sequence[ExpertName] | None) -> list[ExpertName]:
    """Return the pool: the experts asked for, else the fitted ones that were measured.

    Raises:
        ConfigError: one that was asked for is unknown to a side, or no expert is known to both.
    """
    both = [name for name in fitted.experts if name in test.experts]
    strangers = [name for name in experts or () if name not in both]
    if strangers or not both:
        named = f"{', '.join(strangers)} is" if strangers else "None is"
        raise ConfigError(f"{named} both fitted and measured; these are: {', '.join(both) or 'none'}.")
    return list(experts or both)


def shuffled_control(
    refit: Refit, train: Outcomes, test: Outcomes, features: Any, name: str, pool: Sequence[ExpertName]
) -> dict[str, Any]:
    """Fit a policy on shuffled outcomes, and return what it gains on `test`: nothing, unless something leaks.

    CONTROL_QUESTIONS drawn from the training questions are enough for that.
    """
    train = of_experts(train, pool)
    if len(train) > CONTROL_QUESTIONS:
        train = train.where(np.random.default_rng(0).permutation(len(train))[:CONTROL_QUESTIONS])
    fitted = refit(shuffled(train))
    trial = Trial.of(Reference.of(train), Reference.of(test), pool)
    columns = [fitted.experts.index(expert) for expert in pool]
    values: Floats = fitted.estimates(features, [name])[name][:, columns]
    complete = ~np.isnan(Reference.of(test).pool(pool).scores).any(axis=1)
    return gain_control([values[complete]], trial)


def of_experts(outcomes: Outcomes, pool: Sequence[ExpertName]) -> Outcomes:
    """Return the columns of some experts."""
    columns = [outcomes.experts.index(name) for name in pool]
    answers = None if outcomes.answers is None else outcomes.answers[:, columns]
    scores, costs = outcomes.scores[:, columns], outcomes.costs[:, columns]
    return replace(outcomes, experts=tuple(pool), scores=scores, costs=costs, answers=answers)


def training_rows(outcomes: Outcomes, fitted_on: Reference) -> Outcomes | None:
    """Return the questions of a table that policies were fitted on, None where it holds none of them."""
    mask = np.isin(outcomes.keys, fitted_on.keys)
    return outcomes.where(mask) if mask.any() else None
