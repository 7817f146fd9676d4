"""Is the gain real? What a router earns on shuffled labels, and questions that stand on both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from router.evaluation.baselines import CategoryTable
from router.evaluation.reference import Reference
from router.evaluation.runs import Floats, best_by
from router.evaluation.trial import Trial
from router.training.outcomes import Outcomes


def shuffled(outcomes: Outcomes, seed: int = 0) -> Outcomes:
    """Return outcomes whose rows of results no longer belong to their questions; expert means stay as they were.

    A policy fitted on these has nothing to learn: whatever it gains over the best single expert is a leak.
    """
    order = np.random.default_rng(seed).permutation(len(outcomes))
    answers = None if outcomes.answers is None else outcomes.answers[order]
    return replace(outcomes, scores=outcomes.scores[order], costs=outcomes.costs[order], answers=answers)


def gain_control(estimates: Floats, trial: Trial) -> dict[str, Any]:
    """Return the gain over the best single expert of estimates (n, m) fitted on shuffled outcomes; <= 0 is right."""
    run = trial.choose(best_by(estimates, trial.expected))
    difference = run.quality - trial.single(trial.best).quality
    interval = trial.bootstrap.interval(difference)
    return {"gain": float(difference.mean()), "gain_ci95": interval, "passed": interval[0] <= 0.0}


def shuffled_category_gain(trial: Trial, seed: int = 0) -> dict[str, Any] | None:
    """Return the control for the table by true category: the same table fitted on shuffled categories."""
    categories = trial.train.categories
    if not (categories != "").any():
        return None
    order = np.random.default_rng(seed).permutation(len(categories))
    table = CategoryTable.fit(trial.train.scores, categories[order])
    return gain_control(table.estimates(trial.test.categories), trial)


def shared_questions(train: Reference, test: Reference) -> float:
    """Return the share of test questions that, up to their first 300 letters and digits, stand in training too."""
    return float(np.isin(test.keys, train.keys).mean()) if len(test) else 0.0
