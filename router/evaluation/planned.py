"""The curve of a policy that may also plan: ask cheap experts first, a strong one only where they disagree.

The points are those of choosing single experts by the policy's estimates, and those of choosing plans by theirs
(`router.policies.plans`), at the same prices of money. Choices see expectations; the run is charged what it truly cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experts.types import ExpertName
from router.evaluation.curve import Curve, trace
from router.evaluation.reference import Reference
from router.evaluation.rows import Row, knob_row
from router.evaluation.runs import Floats
from router.evaluation.trial import Trial
from router.policies.plans import Plan, play, within


@dataclass(frozen=True, slots=True)
class PlanEstimates:
    """What plans are expected to do on the questions of a table.

    Args:
        experts: the names that the plans' columns stand for.
        plans: p of them.
        quality: (n, p) expected score.
        cost: (n, p) expected USD.
    """

    experts: tuple[ExpertName, ...]
    plans: Sequence[Plan]
    quality: Floats
    cost: Floats

    def of_pool(self, pool: Sequence[ExpertName], test: Reference) -> PlanEstimates:
        """Return the plans of a pool with columns in its order, on the questions that all of it was measured on."""
        kept = within(self.plans, [self.experts.index(name) for name in pool])
        place = {self.experts.index(name): column for column, name in enumerate(pool)}
        plans = [Plan(tuple(place[each] for each in plan.first), place[plan.then]) for plan in self._chosen(kept)]
        columns = [test.experts.index(name) for name in pool]
        complete = ~np.isnan(test.scores[:, columns]).any(axis=1)
        return PlanEstimates(tuple(pool), plans, self.quality[complete][:, kept], self.cost[complete][:, kept])

    def _chosen(self, places: Sequence[int]) -> list[Plan]:
        return [self.plans[place] for place in places]


def plan_row(estimates: Floats, found: PlanEstimates, trial: Trial) -> Row:
    """Return the curve's figures of a policy with these estimates (n, m) that may also carry out plans."""
    test = trial.test
    if test.codes is None or not trial.priced:
        return {}
    single = trace(estimates, trial.expected, test.scores, test.costs, trial.unit)
    played = [play(plan, test.scores, test.costs, test.codes) for plan in found.plans]
    scores, costs = (np.stack(part, axis=1) for part in zip(*played, strict=True))
    alone = [place for place, plan in enumerate(found.plans) if not plan.first]
    parts = [single, trace(found.quality, found.cost, scores, costs, trial.unit)]
    if [found.plans[place].then for place in alone] == list(range(len(trial.experts))):
        parts.append(trace(estimates, found.cost[:, alone], test.scores, test.costs, trial.unit))
    return {**knob_row(_joined(parts), trial), "plans": len(found.plans)}


def _joined(curves: Sequence[Curve]) -> Curve:
    """Return the points of all curves, cheapest first."""
    costs = np.concatenate([curve.costs for curve in curves])
    order = np.argsort(costs, kind="stable")
    return Curve(
        np.concatenate([curve.lambdas for curve in curves])[order],
        costs[order],
        np.concatenate([curve.qualities for curve in curves])[order],
    )
