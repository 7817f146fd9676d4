"""Fit routing policies on recorded outcomes: one reading of the questions, every policy over it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from experts.errors import ConfigError
from router.encoder import Encoder
from router.evaluation.votes import code_answers, luck
from router.features import Features
from router.fitted import FittedPolicies, featurize
from router.policies.fitted import ESTIMATORS, Basis
from router.policies.lesson import Lesson, by_turns
from router.policies.plans import Plans
from router.training.outcomes import Outcomes

__all__ = ["FittedPolicies", "featurize", "fit_policies"]

FEW = 200
"""Questions below which the estimates are mostly their priors."""

COMPLETE = 0.5
"""Share of questions that every expert must have answered at a known price for plans to be fitted."""

Report = Callable[[str], None]


def fit_policies(
    train: Outcomes,
    *,
    encoder: Encoder,
    names: Sequence[str] | str = "all",
    progress: Report = lambda line: None,
    features: Features | None = None,
) -> FittedPolicies:
    """Fit policies on outcomes.

    Args:
        names: of ESTIMATORS, or "all".
        progress: told in words what is being done.
        features: of the questions, where they were read before.

    Raises:
        ConfigError: there is no such policy, or too little to learn from.
    """
    chosen = _chosen(names)
    if len(train.experts) < 2 or len(train) < 10:
        raise ConfigError(
            f"Fitting needs two experts and ten questions at least; there are {len(train.experts)} and {len(train)}."
        )
    if len(train) < FEW:
        progress(f"Only {len(train)} questions: below {FEW}, estimates are little more than each expert's mean.")
    if features is None:
        progress(f"Encoding {len(train)} questions.")
        features = featurize(train.texts, encoder)
    basis, estimators = Basis(), {}
    with threadpool_limits(max(1, (os.cpu_count() or 2) // 2)):
        progress("Learning to read them: design and categories.")
        lesson = basis.fit(features, train.scores, train.categories, by_turns(train.stems))
        for name in chosen:
            progress(f"Fitting {name}.")
            estimators[name] = ESTIMATORS[name]().fit(lesson)
        plans = _fit_plans(lesson, train, progress) if "auto" in chosen else None
    return FittedPolicies(train.experts, encoder.name, basis, estimators, _facts(train, basis), plans)


def _fit_plans(lesson: Lesson, train: Outcomes, progress: Report) -> Plans | None:
    """Return what asking several in turn is worth, where answers and prices of all experts were recorded."""
    known = ~np.isnan(train.scores).any(axis=1) & ~np.isnan(train.costs).any(axis=1)
    if train.answers is None or known.mean() < COMPLETE:
        return None
    progress("Fitting plans: cheap experts first, a strong one where they disagree.")
    costs = np.where(np.isnan(train.costs), np.nanmean(train.costs, axis=0), train.costs)
    return Plans().fit(lesson, costs, code_answers(train.answers))


def _chosen(names: Sequence[str] | str) -> list[str]:
    if names == "all":
        return list(ESTIMATORS)
    asked = [names] if isinstance(names, str) else list(names)
    strangers = [name for name in asked if name not in ESTIMATORS]
    if strangers:
        raise ConfigError(f"There is no policy {', '.join(strangers)} to fit; choose from {', '.join(ESTIMATORS)}.")
    return asked


def _facts(train: Outcomes, basis: Basis) -> dict[str, Any]:
    return {
        "questions": len(train),
        "categories": basis.categories.names_,
        "category_accuracy": basis.categories.accuracy_,
        "agreement_by_luck": None if train.answers is None else luck(train.scores, code_answers(train.answers)),
        "means": dict(zip(train.experts, np.nanmean(train.scores, axis=0).round(4).tolist(), strict=True)),
    }
