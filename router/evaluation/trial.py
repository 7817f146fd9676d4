"""One test of routing: the questions measured on, what training knows of the pool, and the draws of all figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experts.errors import ConfigError
from experts.types import ExpertName
from router.evaluation.baselines import CategoryTable, always, best_single, oracle, random_run
from router.evaluation.curve import CostModel
from router.evaluation.intervals import DRAWS, Bootstrap
from router.evaluation.reference import Reference
from router.evaluation.runs import Floats, Run, single_choice
from router.evaluation.votes import answering, luck, overlap


@dataclass(frozen=True, slots=True)
class Trial:
    """What all rows of one evaluation share.

    Args:
        train: training outcomes of the pool; `best` and everything else that is chosen is chosen on them.
        test: the questions measured on; every expert was measured on each.
        best: column of the best single expert on `train`.
        expected: (n, m) expected cost of each call, USD, nan where a price is unknown.
        unit: mean training cost of the dearest expert, USD a question.
        chance: how often two wrong experts agree on `train`; None where no answers were recorded.
        answers: (m,) how often each expert answers at all on `train`.
        alike: (m, m) how much the experts' successes on `train` overlap.
        bootstrap: the draws of `test`.
    """

    train: Reference
    test: Reference
    best: int
    expected: Floats
    unit: float
    chance: float | None
    answers: Floats
    alike: Floats
    bootstrap: Bootstrap

    @classmethod
    def of(
        cls,
        train: Reference,
        test: Reference,
        experts: Sequence[ExpertName] | None = None,
        *,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> Trial:
        """Line up the two sides on a pool of experts, those of `test` unless given; incomplete test questions go.

        Raises:
            ConfigError: an expert is unknown to one side, or no question was answered by every expert.
        """
        pool = tuple(experts or test.experts)
        train, test = train.pool(pool), test.pool(pool).complete()
        if not len(test):
            raise ConfigError("No question was measured on every expert; name fewer with --experts.")
        stems = np.unique(test.keys, return_inverse=True)[1]
        mean = np.nanmean(train.costs, axis=0) if priced(train.costs) else np.full(len(pool), np.nan)
        return cls(
            train=train,
            test=test,
            best=best_single(train.scores, train.costs if priced(train.costs) else None),
            expected=expected_costs(train, test.lengths),
            unit=float(mean.max()),
            chance=None if train.codes is None or test.codes is None else luck(train.scores, train.codes),
            answers=np.ones(len(pool)) if train.codes is None else answering(train.codes),
            alike=overlap(train.scores),
            bootstrap=Bootstrap(stems, draws=draws, seed=seed),
        )

    @property
    def experts(self) -> tuple[ExpertName, ...]:
        return self.test.experts

    @property
    def priced(self) -> bool:
        """Say whether every call of the pool has a cost."""
        return not np.isnan(self.test.costs).any() and not np.isnan(self.expected).any()

    def single(self, column: int) -> Run:
        """Return the run of one expert."""
        return always(column, self.test.scores, self.test.costs)

    def choose(self, choice: NDArray[np.int64]) -> Run:
        """Return the run of asking one expert a question, by column."""
        return single_choice(self.test.scores, self.test.costs, choice)

    def baseline_runs(self) -> dict[str, Run]:
        """Return the two ends of the ladder and the best single expert."""
        return {
            "random": random_run(self.test.scores, self.test.costs),
            "best_single": self.single(self.best),
            "oracle": oracle(self.test.scores, self.test.costs),
        }

    def true_domain(self) -> Floats:
        """Return what the table by true category, fitted on training questions, expects of each expert (n, m)."""
        return CategoryTable.fit(self.train.scores, self.train.categories).estimates(self.test.categories)

    def overall(self) -> Floats:
        """Return each expert's training mean for every question (n, m): what routing without reading knows."""
        found: Floats = np.tile(np.nanmean(self.train.scores, axis=0), (len(self.test), 1))
        return found


def priced(costs: Floats) -> bool:
    """Say whether every expert has a cost somewhere."""
    return not np.isnan(costs).all(axis=0).any()


def expected_costs(train: Reference, lengths: Floats) -> Floats:
    """Return the expected cost (n, m) of prompts of these lengths, by a line fitted to each expert's training calls."""
    if not priced(train.costs):
        return np.full((len(lengths), len(train.experts)), np.nan)
    columns = []
    for costs in train.costs.T:
        known = ~np.isnan(costs)
        columns.append(CostModel.fit(train.lengths[known], costs[known, None]).expected(lengths)[:, 0])
    return np.stack(columns, axis=1)
