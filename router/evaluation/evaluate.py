"""Measure routing on recorded outcomes: policies, votes, baselines, oracles, with intervals and a plain advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experts.types import ExpertName
from router.evaluation import gains
from router.evaluation.advice import alarms, recommendation
from router.evaluation.categories import by_category
from router.evaluation.controls import shuffled_category_gain
from router.evaluation.intervals import holm
from router.evaluation.planned import PlanEstimates, plan_row
from router.evaluation.reference import Reference
from router.evaluation.rows import Ladder, Row, curve_row, estimate_row, merge, run_row, zero_router_aiq
from router.evaluation.runs import THOUSAND, Floats, best_by
from router.evaluation.trial import Trial
from router.evaluation.voting import vote_rows, vote_rules


def evaluate_routing(
    train: Reference,
    test: Reference,
    estimates: Mapping[str, Floats],
    *,
    experts: Sequence[ExpertName] | None = None,
    plans: PlanEstimates | None = None,
    draws: int = 2000,
) -> dict[str, Any]:
    """Return `pool, n, rows, recommendation, alarms, controls, baselines, by_category` on a pool of experts.

    Args:
        train: what the policies were fitted on; everything chosen is chosen on it.
        test: the questions to measure on.
        estimates: policy -> (len(test), m) probability that each expert of `test` is right.
        experts: names of the pool, in `test` and `train`; all of `test` unless given.
        plans: what asking several in turn is expected to do on `test`; `auto` may choose them too.

    Raises:
        ConfigError: no question was measured on every expert of the pool, or an expert is unknown.
    """
    pool = tuple(experts or test.experts)
    trial = Trial.of(train, test, pool, draws=draws)
    given = _of_pool(estimates, test, pool)
    rows = table(trial, given)
    if plans is not None and "auto" in given:
        rows = _planning(rows, given["auto"], plans.of_pool(pool, test), trial)
    shown = given.get("auto", trial.true_domain())
    return {
        "pool": list(pool),
        "n": len(trial.test),
        "rows": rows,
        "recommendation": recommendation(rows, trial),
        "alarms": alarms(trial, dropped=len(test) - len(trial.test)),
        "controls": {"shuffled_categories": shuffled_category_gain(trial)},
        "baselines": facts(trial),
        "by_category": by_category(trial.choose(best_by(shown, trial.expected)), trial),
    }


def table(trial: Trial, estimates: Mapping[str, Floats]) -> list[Row]:
    """Return the rows: the ladder, then each policy, then the votes of each."""
    runs = trial.baseline_runs()
    known = bool((trial.train.categories != "").any())
    by_category = trial.choose(best_by(trial.true_domain(), trial.expected)) if known else None
    ladder = Ladder(
        random=runs["random"].accuracy,
        best_single=runs["best_single"].accuracy,
        true_domain=by_category.accuracy if by_category else None,
        oracle=runs["oracle"].accuracy,
    )
    named = {"best_single": trial.overall(), **({"true_domain": trial.true_domain()} if known else {}), **estimates}
    rows = [run_row("random", runs["random"], trial, ladder)]
    for name, guess in named.items():
        run = trial.choose(best_by(guess, trial.expected))
        rows.append(merge(run_row(name, run, trial, ladder), estimate_row(guess, trial)))
    oracle_row = merge(run_row("oracle", runs["oracle"], trial, ladder), curve_row(trial.test.scores, trial))
    rows.append(oracle_row)
    rules = vote_rules(trial)
    for name, guess in named.items():
        rows += vote_rows(name, guess, trial, ladder, rules)
    return _with_holm(rows)


def _planning(rows: list[Row], estimates: Floats, plans: PlanEstimates, trial: Trial) -> list[Row]:
    """Return the rows with the curve of `auto` drawn from single experts and plans."""
    return [merge(row, plan_row(estimates, plans, trial)) if row["policy"] == "auto" else row for row in rows]


def facts(trial: Trial) -> dict[str, Any]:
    """Return what is known of the pool without any routing: each expert, their overlap, how many none can answer."""
    scores, costs = trial.test.scores, trial.test.costs.mean(axis=0)
    right = (scores >= 0.5).sum(axis=1)
    mean, largest = (None if np.isnan(each) else each for each in gains.error_correlation(scores))
    return {
        "best_single": trial.experts[trial.best],
        "hindsight_best": trial.experts[int(scores.mean(axis=0).argmax())],
        "experts": {
            name: {
                "accuracy": float(scores[:, place].mean()),
                "train_accuracy": float(np.nanmean(trial.train.scores[:, place])),
                "cost_per_1k": float(costs[place] * THOUSAND) if trial.priced else None,
            }
            for place, name in enumerate(trial.experts)
        },
        "error_correlation": {"mean": mean, "max": largest},
        "solved_by_none": float((right == 0).mean()),
        "solved_by_1_to_3": float(((right >= 1) & (right <= 3)).mean()),
        "agreement_by_luck": trial.chance,
        "zero_router_aiq": zero_router_aiq(trial),
        "train_n": len(trial.train),
    }


def _of_pool(estimates: Mapping[str, Floats], test: Reference, pool: Sequence[ExpertName]) -> dict[str, Floats]:
    """Return the estimates of the pool's columns, on the questions that every expert of it was measured on."""
    columns = [test.experts.index(name) for name in pool]
    complete = ~np.isnan(test.scores[:, columns]).any(axis=1)
    return {name: values[:, columns][complete] for name, values in estimates.items()}


def _with_holm(rows: list[Row]) -> list[Row]:
    """Add Holm-corrected p-values over the rows that were put to the test."""
    corrected = holm([row["mcnemar_p"] for row in rows])
    return [{**row, "holm_p": p} for row, p in zip(rows, corrected, strict=True)]
