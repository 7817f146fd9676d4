"""What online learning would have done on recorded outcomes: decide on a query, then learn from it, one by one.

Runs the product's own `moves`, so a bench measures what ships.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.learning.offsets import CERTAIN
from router.learning.rule import LearningRule
from router.learning.update import Floats, features, moves

Reveal: TypeAlias = Callable[[Floats, int, np.random.Generator], Floats]
"""(the query's true scores [m], the chosen expert, chance) -> what becomes known, NaN where nothing does, [m]."""


def multi_hot(scores: Floats, _chosen: int, _chance: np.random.Generator) -> Floats:
    """Every expert's correctness becomes known."""
    return scores


def one_right(scores: Floats, _chosen: int, chance: np.random.Generator) -> Floats:
    """One expert that was right, drawn by chance, is the label; all others count as wrong."""
    return _label(scores, int(chance.choice(np.flatnonzero(scores >= 0.5))) if (scores >= 0.5).any() else None)


def first_right(scores: Floats, _chosen: int, _chance: np.random.Generator) -> Floats:
    """The first expert that was right is the label; all others count as wrong."""
    return _label(scores, int(np.argmax(scores >= 0.5)) if (scores >= 0.5).any() else None)


def chosen_only(scores: Floats, chosen: int, _chance: np.random.Generator) -> Floats:
    """Only the expert that answered is known about, as with users' feedback."""
    return np.where(np.arange(len(scores)) == chosen, scores, np.nan)


def nothing(scores: Floats, _chosen: int, _chance: np.random.Generator) -> Floats:
    """Nothing becomes known: a frozen router."""
    return np.full(len(scores), np.nan)


TARGETS: dict[str, Reveal] = {
    "frozen": nothing,
    "multi_hot": multi_hot,
    "one_right": one_right,
    "first_right": first_right,
    "chosen_only": chosen_only,
}


def replay(
    scores: NDArray[np.floating],
    posteriors: NDArray[np.floating],
    *,
    rule: LearningRule,
    estimates: NDArray[np.floating] | None = None,
    target: str = "multi_hot",
    exploration: float = 0.0,
    seed: int = 0,
) -> NDArray[np.intp]:
    """Return the expert chosen for each query, in order, shape [n]; each is chosen before its outcome is learnt.

    Args:
        scores: how right each expert is on each query, 0..1, in the order of time, shape [n, m].
        posteriors: P(domain) by query, shape [n, d].
        rule: step sizes; `daily_shift` does not apply, there are no keys here.
        estimates: P(right) before anything is learnt, shape [n, m]; without it every expert begins at 0.5.
        target: what becomes known after each query, a name in `TARGETS`.
        exploration: share of queries that go to an expert drawn by chance.
        seed: of chance.
    """
    truth, domains = np.asarray(scores, dtype=np.float64), np.asarray(posteriors, dtype=np.float64)
    base = np.full(truth.shape, 0.5) if estimates is None else np.asarray(estimates, dtype=np.float64)
    base = np.clip(base, CERTAIN, 1 - CERTAIN)
    logits = np.log(base / (1 - base))
    offsets = np.zeros((truth.shape[1], domains.shape[1] + 1))
    chance, trust, reveal = np.random.default_rng(seed), np.ones(truth.shape[1]), TARGETS[target]
    chosen = np.zeros(len(truth), dtype=np.intp)
    for query, posterior in enumerate(domains):
        x = features(posterior, rule)
        explores = exploration > 0 and chance.random() < exploration
        chosen[query] = chance.integers(truth.shape[1]) if explores else np.argmax(logits[query] + offsets @ x)
        known = reveal(truth[query], int(chosen[query]), chance)
        offsets += moves(offsets, x, logits[query], known, trust, rule)
    return chosen


def _label(scores: Floats, label: int | None) -> Floats:
    """Return 1 for the label and 0 for the rest; without a label nothing is known."""
    if label is None:
        return np.full(len(scores), np.nan)
    return np.asarray(np.arange(len(scores)) == label, dtype=np.float64)
