"""Send every question of a category to the expert that did best on the category.

`domain` is the two-stage router of MoDEM (2410.07490) and Composition of Experts (2412.01868): one category, one
expert, the map fitted on outcomes. `profile` here is its soft form after Symbolic-MoE (2503.05641): every category
counts with its probability, and the experts' few answers in a category are shrunk toward their overall level.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from router.policies.lesson import Lesson, Reading
from router.policies.smoothing import Floats, table

SHRINKAGE = 15.0
SWITCH = 0.0
"""Standard errors by which an expert must lead the best single one in a category to take it over."""


class CategoryTable:
    """Expected score by category.

    Args:
        certain: take the most probable category for certain (`domain`), or count all by their probability (`profile`).
        shrinkage: questions at an expert's overall level that are added to each category.
        switch: standard errors of the paired difference by which the best single expert must be beaten (`domain`).
    """

    def __init__(self, *, certain: bool, shrinkage: float = SHRINKAGE, switch: float = SWITCH) -> None:
        self.certain, self.shrinkage, self.switch = certain, shrinkage, switch

    def fit(self, lesson: Lesson) -> Self:
        """Learn each expert's mean score by true category, shape [categories, m]."""
        self.skill_ = self._table(lesson.labels, lesson.scores)
        return self

    def estimate(self, reading: Reading) -> Floats:
        """Return the skill in the category, or its mean over categories."""
        return self._look_up(reading.posterior, self.skill_)

    def cross_estimate(self, lesson: Lesson) -> Floats:
        """Return the estimates of tables fitted without the question's fold."""
        found = np.empty_like(lesson.scores)
        for fold in np.unique(lesson.folds):
            out = lesson.folds == fold
            skill = self._table(lesson.labels[~out], lesson.scores[~out])
            found[out] = self._look_up(lesson.reading.posterior[out], skill)
        return found

    def _table(self, labels: Floats, scores: Floats) -> Floats:
        skill = table(labels, scores, self.shrinkage)
        return without_doubtful_leads(skill, labels, scores, self.switch) if self.certain else skill

    def _look_up(self, posterior: Floats, skill: Floats) -> Floats:
        return np.asarray(skill[posterior.argmax(axis=1)] if self.certain else posterior @ skill)


def without_doubtful_leads(skill: Floats, labels: Floats, scores: Floats, errors: float) -> Floats:
    """Return the table with every lead over the best single expert cut that is within `errors` standard errors.

    The one-standard-error rule (Breiman et al. 1984) by category: leave the best single expert b for e only if
    skill(e) - skill(b) > errors * sqrt(paired variance / n).
    """
    best = int(scores.mean(axis=0).argmax())
    lead = scores - scores[:, [best]]
    count = np.maximum(labels.sum(axis=0), 1.0)[:, None]
    mean = labels.T @ lead / count
    variance = np.maximum(labels.T @ lead**2 / count - mean**2, 0.0)
    doubtful = skill - skill[:, [best]] <= errors * np.sqrt(variance / count)
    return np.asarray(np.where(doubtful, np.minimum(skill, skill[:, [best]]), skill))
