"""Every router on every question of a pool, fitted on the other folds; folds never split a question from its twin."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from router.evaluation import Reference
from router.evaluation.baselines import ranked
from router.evaluation.curve import trace_runs
from router.evaluation.curve_intervals import DRAWS, CurveDraws
from router.evaluation.frontier import average_improvement_in_quality, quality_neutral_cost
from router.evaluation.intervals import Bootstrap
from router.evaluation.planned import PlanEstimates
from router.evaluation.runs import Floats, Run, best_by
from router.evaluation.trial import Trial
from router.evaluation.votes import ASK_ALL, majority, two_then_third, vote_weights, weighted_vote
from router.evaluation.voting import VoteRule, vote, vote_rules
from router.policies.plans import play
from tests.bench.routing_baselines import Fold
from tests.bench.routing_tables import Pool

FOLDS = 5
Estimator = Callable[[Pool, Pool, Fold], tuple[Mapping[str, Floats], PlanEstimates | None]]
"""Takes the training and the test side of a fold; returns policy -> estimates (n_test, m), and the plans of `auto`."""


def folds(stems: NDArray[np.int64], count: int = FOLDS, seed: int = 0) -> Iterator[NDArray[np.bool_]]:
    """Yield masks of the test questions; equal stems fall into the same fold."""
    _, places = np.unique(stems, return_inverse=True)
    order = np.random.default_rng(seed).permutation(places.max() + 1) % count
    for fold in range(count):
        yield order[places] == fold


@dataclass(slots=True)
class Crossed:
    """What every way of routing did on all questions of a pool, each while its fold was held out."""

    pool: Pool
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    curves: dict[str, list[list[Run]]] = field(default_factory=lambda: defaultdict(list))
    estimates: dict[str, list[Floats]] = field(default_factory=lambda: defaultdict(list))
    places: list[NDArray[np.int64]] = field(default_factory=list)
    refusals: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))

    def run(self, name: str) -> Run:
        """Return one way's run over all questions, in the order the folds came."""
        return joined(self.runs[name])

    @property
    def order(self) -> NDArray[np.int64]:
        return np.concatenate(self.places)

    def bootstrap(self) -> Bootstrap:
        """Return the draws of questions that all figures of the pool share."""
        return Bootstrap(self.pool.outcomes.stems[self.order])

    def settings(self, name: str) -> list[Run]:
        """Return the runs at each price of money over all questions."""
        return [joined(parts) for parts in zip(*self.curves[name], strict=True)]


def joined(parts: Sequence[Run]) -> Run:
    """Return the folds' runs as one."""
    columns = [[getattr(part, each) for part in parts] for each in ("quality", "cost", "experts", "first")]
    return Run(*(np.concatenate(column) for column in columns))


def cross_validate(pool: Pool, estimator: Estimator, count: int = FOLDS, seed: int = 0) -> Crossed:
    """Fit and measure on each fold in turn."""
    crossed = Crossed(pool)
    for test in folds(pool.outcomes.stems, count, seed):
        sides = pool.where(~test), pool.where(test)
        trial = Trial.of(Reference.of(sides[0].outcomes), Reference.of(sides[1].outcomes), draws=2)
        crossed.places.append(np.flatnonzero(test))
        for name, run in trial.baseline_runs().items():
            crossed.runs[name].append(run)
        rules = vote_rules(trial)
        fold = Fold(
            sides[0].vectors, sides[0].outcomes.scores, trial.train.categories, sides[1].vectors, trial.test.categories
        )
        estimates, plans = estimator(*sides, fold)
        for name, values in {"best_single": trial.overall(), **estimates}.items():
            _measure(crossed, name, values, trial, rules)
        if plans is not None:
            crossed.curves["auto"][-1] += plan_runs(plans, estimates["auto"], trial)
    return crossed


def _measure(crossed: Crossed, name: str, values: Floats, trial: Trial, rules: Mapping[str, VoteRule]) -> None:
    """Add one router's runs on one fold: alone, voting, and along its curve."""
    crossed.estimates[name].append(values)
    alone = trial.choose(best_by(values, trial.expected))
    if name != "best_single":
        crossed.runs[name].append(alone)
    crossed.curves[name].append(trace_runs(values, trial.expected, trial.test.scores, trial.test.costs, trial.unit))
    if trial.test.codes is None or trial.chance is None:
        return
    for label, run in _votes(values, trial).items():
        crossed.runs[name + label].append(run)
    for size, rule in rules.items():
        crossed.refusals[f"{name}+vote{size}"].append(not rule.pays)
        crossed.runs[f"{name}+vote{size}"].append(vote(values, rule, trial) if rule.pays else alone)


def plan_runs(plans: PlanEstimates, alone: Floats, trial: Trial) -> list[Run]:
    """Return the runs at each price of money of choosing plans, then of choosing experts (`alone`) at plans' costs."""
    test, found = trial.test, plans.of_pool(trial.experts, trial.test)
    if test.codes is None or not trial.priced:
        return []
    played = [play(plan, test.scores, test.costs, test.codes) for plan in found.plans]
    scores, costs = (np.stack(part, axis=1) for part in zip(*played, strict=True))
    singles = [place for place, plan in enumerate(found.plans) if not plan.first]
    own = trace_runs(alone, found.cost[:, singles], test.scores, test.costs, trial.unit)
    return trace_runs(found.quality, found.cost, scores, costs, trial.unit) + own


def _votes(values: Floats, trial: Trial) -> dict[str, Run]:
    """Return the simple votes of three: always, one vote each or weighted; two and then a third."""
    assert trial.test.codes is not None
    assert trial.chance is not None
    sides = trial.test.scores, trial.test.costs, trial.test.codes
    three, five = ranked(values)[:, :3], ranked(values)[:, :5]
    weights = vote_weights(values, trial.chance)
    return {
        "+majority3": majority(*sides, three),
        "+weighted3": weighted_vote(*sides, three, weights, patience=ASK_ALL),
        "+two,third": two_then_third(*sides, three),
        "+majority5": majority(*sides, five),
        "+weighted5": weighted_vote(*sides, five, weights, patience=ASK_ALL),
    }


def summary(crossed: Crossed) -> dict[str, dict[str, object]]:
    """Return accuracy, gain with interval, cost, calls of every way; AIQ and the price of the best of its curve."""
    best, bootstrap = crossed.run("best_single"), crossed.bootstrap()
    singles = crossed.pool.outcomes.costs
    found: dict[str, dict[str, object]] = {}
    for name in crossed.runs:
        run = crossed.run(name)
        found[name] = {
            "accuracy": run.accuracy,
            "gain": float((run.quality - best.quality).mean()),
            "gain_ci95": bootstrap.interval(run.quality - best.quality),
            "cost_per_1k": run.cost_per_1k,
            "mean_experts": run.mean_experts,
        }
        if name in crossed.curves:
            found[name] |= _curve_figures(crossed.settings(name), best, singles)
    return found


def _curve_figures(settings: Sequence[Run], best: Run, singles: Floats) -> dict[str, object]:
    spent, reached = np.array([run.cost.mean() for run in settings]), np.array([run.accuracy for run in settings])
    if np.isnan(spent).any():
        return {"aiq": None, "qnc": None, "cost_ratio": None}
    prices = singles.mean(axis=0)
    enough = spent[reached >= best.accuracy]
    return {
        "aiq": average_improvement_in_quality(spent, reached, float(prices.min()), float(prices.max())),
        "qnc": quality_neutral_cost(spent, reached, best.accuracy, float(best.cost.mean())),
        "cost_ratio": float(enough.min() / best.cost.mean()) if len(enough) else None,
    }


def curve_intervals(crossed: Crossed, names: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return name -> intervals of AIQ, of the cost ratio, and of the lead of `auto`'s AIQ over this router's."""
    best, singles = crossed.run("best_single"), crossed.pool.outcomes.costs[crossed.order]
    if np.isnan(singles).any():
        return {}
    bootstrap = Bootstrap(crossed.pool.outcomes.stems[crossed.order], draws=DRAWS)
    drawn = {name: CurveDraws.of(crossed.settings(name), best, singles, bootstrap) for name in names}
    found: dict[str, dict[str, object]] = {}
    for name, draws in drawn.items():
        found[name] = {"aiq_ci95": draws.aiq_interval(), "cost_ratio_ci95": draws.ratio_interval()}
        if "auto" in drawn:
            found[name]["auto_aiq_lead_ci95"] = drawn["auto"].lead_interval(draws)
    return found
