"""Category by category: who is good at it, whom a policy asks, and what comes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.evaluation.runs import Run
from router.evaluation.trial import Trial


def by_category(run: Run, trial: Trial) -> dict[str, dict[str, Any]]:
    """Return for each category `n, accuracy, best_single, experts` (accuracy of each) and `asked` (share of each)."""
    return {
        str(name): _one(run, trial, trial.test.categories == name) for name in np.unique(trial.test.categories) if name
    }


def _one(run: Run, trial: Trial, mask: NDArray[np.bool_]) -> dict[str, Any]:
    scores = trial.test.scores[mask]
    asked = np.bincount(run.first[mask], minlength=len(trial.experts)) / mask.sum()
    return {
        "n": int(mask.sum()),
        "accuracy": float(run.quality[mask].mean()),
        "best_single": float(scores[:, trial.best].mean()),
        "experts": dict(zip(trial.experts, scores.mean(axis=0).tolist(), strict=True)),
        "asked": dict(zip(trial.experts, asked.tolist(), strict=True)),
    }
