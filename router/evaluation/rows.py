"""One row of the table: everything that is said about one way of routing, under stable names.

A figure that the tables do not allow (no prices, no answers, no two experts) is None, never left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from router.evaluation import arena, calibration, frontier, gains
from router.evaluation.baselines import any_of, low_coverage_recall
from router.evaluation.curve import Curve, trace
from router.evaluation.intervals import mcnemar
from router.evaluation.runs import THOUSAND, Floats, Run
from router.evaluation.trial import Trial

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ladder:
    """The four accuracies that every other is judged against."""

    random: float
    best_single: float
    true_domain: float | None
    oracle: float


def run_row(name: str, run: Run, trial: Trial, ladder: Ladder) -> Row:
    """Return accuracy, cost, gains and gaps of a run, with paired intervals against the best single expert."""
    best = trial.single(trial.best)
    difference = run.quality - best.quality
    return {
        "policy": name,
        "accuracy": run.accuracy,
        "ci95": trial.bootstrap.interval(run.quality),
        "gain": float(difference.mean()),
        "gain_ci95": trial.bootstrap.interval(difference),
        "mcnemar_p": mcnemar(run.quality, best.quality),
        "cost_per_1k": run.cost_per_1k,
        "mean_experts": run.mean_experts,
        "accuracy_per_call": run.accuracy_per_call,
        "gain_at_random": gains.relative_gain(run.accuracy, ladder.random),
        "gain_at_best": gains.relative_gain(run.accuracy, ladder.best_single),
        "gap_at_oracle": gains.oracle_gap(run.accuracy, ladder.oracle),
        "gap_closed": gaps_closed(run.accuracy, ladder),
        "low_coverage_recall": low_coverage_recall(run, trial.test.scores),
        **arena_row(run, trial),
    }


def gaps_closed(accuracy: float, ladder: Ladder) -> dict[str, float | None]:
    """Return the share of the way from the best single expert to the true-category table and to the oracle."""
    reachable = ladder.true_domain
    return {
        "true_domain": None if reachable is None else gains.gap_closed(accuracy, ladder.best_single, reachable),
        "oracle": gains.gap_closed(accuracy, ladder.best_single, ladder.oracle),
    }


def arena_row(run: Run, trial: Trial) -> Row:
    """Return RouterArena's figures and how evenly the experts are used."""
    scores, costs, cost = trial.test.scores, trial.test.costs, run.cost_per_1k
    one_each = bool((run.first >= 0).all() and run.mean_experts == 1)
    return {
        "arena": None if cost is None else arena.arena_score(run.accuracy, cost),
        "opt_sel": arena.optimal_selection(run, scores, costs) if one_each and trial.priced else None,
        "opt_cost": arena.optimal_cost(run, scores, costs) if trial.priced else None,
        "opt_acc": arena.optimal_accuracy(run, scores),
        "load_entropy": gains.load_entropy(run.first, len(trial.experts)) if (run.first >= 0).all() else None,
    }


def estimate_row(estimates: Floats, trial: Trial) -> Row:
    """Return what can be said of estimates (n, m): calibration, abstaining, two-expert routing, the curve."""
    scores = trial.test.scores
    chosen = estimates.argmax(axis=1)
    rows = np.arange(len(scores))
    return {
        "ece": calibration.expected_calibration_error(estimates, scores),
        "ece_adaptive": calibration.adaptive_calibration_error(estimates, scores),
        "ece_chosen": calibration.expected_calibration_error(estimates[rows, chosen], scores[rows, chosen]),
        "brier": calibration.brier_score(estimates, scores),
        "nll": calibration.negative_log_likelihood(estimates, scores),
        "ece_by_expert": {
            name: calibration.expected_calibration_error(estimates[:, place], scores[:, place])
            for place, name in enumerate(trial.experts)
        },
        "reliability": calibration.reliability(estimates, scores),
        "fallback_rate": float((chosen == trial.best).mean()),
        "aurc": calibration.area_under_risk_coverage(estimates[rows, chosen], scores[rows, chosen]),
        "any_of_k": {str(k): any_of(scores, estimates, k) for k in (2, 3, 5) if k <= scores.shape[1]},
        **pair_row(estimates, trial),
        **curve_row(estimates, trial),
    }


def pair_row(estimates: Floats, trial: Trial) -> Row:
    """Return RouteLLM's figures for the weakest (cheapest, where priced) expert against the best single one."""
    strong = trial.best
    costs = np.nanmean(trial.train.costs, axis=0) if trial.priced else np.nanmean(trial.train.scores, axis=0)
    weak = int(costs.argmin())
    if weak == strong:
        return {"pair": None, "apgr": None, "cpt50": None, "cpt80": None}
    preference = estimates[:, strong] - estimates[:, weak]
    sides = trial.test.scores[:, weak], trial.test.scores[:, strong]
    return {
        "pair": [trial.experts[weak], trial.experts[strong]],
        "apgr": gains.average_pgr(preference, *sides),
        "cpt50": gains.call_performance_threshold(preference, *sides, 0.5),
        "cpt80": gains.call_performance_threshold(preference, *sides, 0.8),
    }


def curve_row(estimates: Floats, trial: Trial) -> Row:
    """Return AIQ, hypervolume and the price of the best single expert's accuracy along the router's curve."""
    names = ("aiq", "hypervolume", "qnc", "cost_ratio_at_best_single", "cost_save", "perf_gain", "curve")
    if not trial.priced:
        return dict.fromkeys(names)
    return knob_row(trace(estimates, trial.expected, trial.test.scores, trial.test.costs, trial.unit), trial)


def knob_row(curve: Curve, trial: Trial) -> Row:
    """Return the figures of a curve of settings; see `router.evaluation.frontier` for the range of AIQ."""
    best = trial.single(trial.best)
    single_costs = trial.test.costs.mean(axis=0)
    spent, reached = curve.costs, curve.qualities
    paid = float(best.cost.mean())
    enough = spent[reached >= best.accuracy]
    ratio = float(enough.min() / paid) if len(enough) and paid else None
    lowest, highest = float(single_costs.min()), float(single_costs.max())
    return {
        "aiq": frontier.average_improvement_in_quality(spent, reached, lowest, highest),
        "hypervolume": frontier.hypervolume(spent, reached, highest, float(trial.test.scores.mean())),
        "qnc": frontier.quality_neutral_cost(spent, reached, best.accuracy, paid),
        "cost_ratio_at_best_single": ratio,
        "cost_save": None if ratio is None else 1 - ratio,
        "perf_gain": float(reached.max() / best.accuracy - 1) if best.accuracy else None,
        "curve": [
            {"lambda": float(price), "cost_per_1k": float(cost) * THOUSAND, "accuracy": float(quality)}
            for price, cost, quality in zip(curve.lambdas, spent, reached, strict=True)
        ],
    }


def zero_router_aiq(trial: Trial) -> float | None:
    """Return the AIQ of the single experts alone, mixed at random: what a router has to beat."""
    if not trial.priced:
        return None
    costs, qualities = trial.test.costs.mean(axis=0), trial.test.scores.mean(axis=0)
    return frontier.average_improvement_in_quality(costs, qualities, float(costs.min()), float(costs.max()))


def merge(*parts: Mapping[str, Any]) -> Row:
    """Return one row of several parts."""
    return {name: value for part in parts for name, value in part.items()}
