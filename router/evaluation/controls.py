"""Is the gain real? What a router earns on shuffled labels, and questions that stand on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from router.evaluation.baselines import CategoryTable
from router.evaluation.reference import Reference
from router.evaluation.runs import Floats, best_by
from router.evaluation.trial import Trial
from router.training.outcomes import Outcomes

SHUFFLES = 5


def shuffled(outcomes: Outcomes, seed: int = 0) -> Outcomes:
    """Return outcomes whose rows of results no longer belong to their questions; expert means stay as they were.

    A policy fitted on these has nothing to learn: whatever it gains over the best single expert is a leak.
    """
    order = np.random.default_rng(seed).permutation(len(outcomes))
    answers = None if outcomes.answers is None else outcomes.answers[order]
    return replace(outcomes, scores=outcomes.scores[order], costs=outcomes.costs[order], answers=answers)


def gain_control(estimates: Sequence[Floats], trial: Trial) -> dict[str, Any]:
    """Return the mean gain over the best single expert of estimates (n, m) fitted on shuffled outcomes.

    It should be at most 0: `passed` says that its interval does not lie above.
    """
    runs = [trial.choose(best_by(each, trial.expected)).quality for each in estimates]
    difference = np.mean(runs, axis=0) - trial.single(trial.best).quality
    interval = trial.bootstrap.interval(difference)
    return {"gain": float(difference.mean()), "gain_ci95": interval, "passed": interval[0] <= 0.0}


def shuffled_category_gain(trial: Trial, seed: int = 0) -> dict[str, Any] | None:
    """Return the control for the table by true category: the same table fitted on shuffled categories."""
    categories = trial.train.categories
    if not (categories != "").any():
        return None
    orders = [np.random.default_rng(seed + turn).permutation(len(categories)) for turn in range(SHUFFLES)]
    tables = [CategoryTable.fit(trial.train.scores, categories[order]) for order in orders]
    return gain_control([table.estimates(trial.test.categories) for table in tables], trial)


def shared_questions(train: Reference, test: Reference) -> float:
    """Return the share of test questions that, up to their first 300 letters and digits, stand in training too."""
    return float(np.isin(test.keys, train.keys).mean()) if len(test) else 0.0
