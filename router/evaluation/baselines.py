"""What routing must be judged against: chance, the best single expert, the table by true category, the oracles.

The ladder random < best single < true category < oracle says how much there is to gain at all (Duo-LLM, 2410.10846;
LLMRouterBench, 2601.07206). Everything that is chosen is chosen on training questions; only oracles look at the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.evaluation.runs import Floats, Indices, Run, best_by, single_choice

SHRINKAGE = 10.0
"""How many imagined questions at the expert's overall level each cell of a category table starts from."""
LOW_COVERAGE = 3


def random_run(scores: Floats, costs: Floats) -> Run:
    """Return the expectation of asking an expert drawn uniformly."""
    n = len(scores)
    return Run(scores.mean(axis=1), costs.mean(axis=1), np.ones(n), np.full(n, -1))


def best_single(scores: Floats, costs: Floats | None = None) -> int:
    """Return the column of the best mean score (unmeasured cells apart), the cheaper of equals."""
    means = np.nanmean(scores, axis=0, keepdims=True)
    return int(best_by(means, None if costs is None else np.nanmean(costs, axis=0, keepdims=True))[0])


def always(column: int, scores: Floats, costs: Floats) -> Run:
    """Return the run of asking the same expert every time."""
    return single_choice(scores, costs, np.full(len(scores), column))


@dataclass(frozen=True, slots=True)
class CategoryTable:
    """Measured quality by category, shrunk toward each expert's overall mean; `rows` (c, m), `overall` (m,)."""

    names: tuple[str, ...]
    rows: Floats
    overall: Floats

    @classmethod
    def fit(cls, scores: Floats, categories: NDArray[np.str_], shrinkage: float = SHRINKAGE) -> CategoryTable:
        """Average (sum + shrinkage * overall) / (count + shrinkage) in each cell; nan scores do not count."""
        overall = np.nanmean(scores, axis=0)
        names = tuple(str(name) for name in np.unique(categories) if name)
        cells = [scores[categories == name] for name in names]
        counted = [(np.nansum(cell, axis=0), (~np.isnan(cell)).sum(axis=0)) for cell in cells]
        rows = [(right + shrinkage * overall) / (count + shrinkage) for right, count in counted]
        return cls(names, np.array(rows).reshape(len(names), scores.shape[1]), overall)

    def estimates(self, categories: NDArray[np.str_]) -> Floats:
        """Return expected quality (n, m); of an unknown category, the overall means."""
        places = {name: place for place, name in enumerate(self.names)}
        index = np.array([places.get(str(name), len(self.names)) for name in categories], dtype=np.int64)
        table: Floats = np.vstack([self.rows, self.overall])[index]
        return table


def oracle(scores: Floats, costs: Floats) -> Run:
    """Return the run that asks the best expert of every question, the cheapest of equals.

    With right-or-wrong scores this is also the cheapest-correct oracle: the lowest cost among those that are
    right, the lowest cost of all where none is.
    """
    return single_choice(scores, costs, best_by(scores, costs))


def any_of(scores: Floats, estimates: Floats, k: int) -> float:
    """Return how often at least one of the k experts with the highest estimates is right (their best score)."""
    return float(top_scores(scores, estimates, k).max(axis=1).mean())


def top_scores(scores: Floats, estimates: Floats, k: int) -> Floats:
    """Return the scores (n, k) of the k experts with the highest estimates, best first."""
    chosen: Floats = np.take_along_axis(scores, ranked(estimates)[:, :k], axis=1)
    return chosen


def ranked(estimates: Floats) -> Indices:
    """Return the columns of each row by falling estimate; equal ones keep their order."""
    return np.argsort(-estimates, axis=1, kind="stable")


def low_coverage_recall(run: Run, scores: Floats, most: int = LOW_COVERAGE) -> float | None:
    """Return P(the run is right | 1 to `most` experts are right), None where there is no such question."""
    right = (scores >= 0.5).sum(axis=1)
    rare = (right >= 1) & (right <= most)
    return float(run.quality[rare].mean()) if rare.any() else None
