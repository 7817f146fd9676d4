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


class CategoryTable:
    """Expected score by category.

    Args:
        certain: take the most probable category for certain (`domain`), or count all by their probability (`profile`).
        shrinkage: questions at an expert's overall level that are added to each category.
    """

    def __init__(self, *, certain: bool, shrinkage: float = SHRINKAGE) -> None:
        self.certain, self.shrinkage = certain, shrinkage

    def fit(self, lesson: Lesson) -> Self:
        """Learn each expert's mean score by true category, shape [categories, m]."""
        self.skill_ = table(lesson.labels, lesson.scores, self.shrinkage)
        return self

    def estimate(self, reading: Reading) -> Floats:
        """Return the skill in the category, or its mean over categories."""
        return self._look_up(reading.posterior, self.skill_)

    def cross_estimate(self, lesson: Lesson) -> Floats:
        """Return the estimates of tables fitted without the question's fold."""
        found = np.empty_like(lesson.scores)
        for fold in np.unique(lesson.folds):
            out = lesson.folds == fold
            skill = table(lesson.labels[~out], lesson.scores[~out], self.shrinkage)
            found[out] = self._look_up(lesson.reading.posterior[out], skill)
        return found

    def _look_up(self, posterior: Floats, skill: Floats) -> Floats:
        return np.asarray(skill[posterior.argmax(axis=1)] if self.certain else posterior @ skill)
