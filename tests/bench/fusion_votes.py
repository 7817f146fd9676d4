"""Does voting pay? Weighted votes beside majority and naive Bayes, on recorded answers of public models.

    python -m tests.bench.fusion_votes --data DIR [--pools a,b] [--seed N] [--json FILE] [--no-extraction]

DIR is described in tests/bench/routing_tables.py; answers.parquet beside the outcomes holds what models wrote. Five
folds that keep twins of a question together; everything is fitted on four and measured on the fifth; all members of a
pool vote. A vote weighs by what the router estimates of the expert on this very question, as aggregator.ballots has it.
Gains are over the best single expert of the fitting part, with paired bootstrap intervals by question.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.evaluation.baselines import CategoryTable, best_single
from router.evaluation.calibration import expected_calibration_error
from router.evaluation.intervals import Bootstrap
from router.evaluation.runs import Floats
from router.evaluation.votes import code_answers
from tests.bench.fusion_votes_counting import (
    Counted,
    Side,
    by_quality,
    counted_options,
    everybody,
    in_turn,
    led,
    naive_bayes,
)
from tests.bench.fusion_votes_extraction import agreement
from tests.bench.fusion_votes_folds import FoldEstimates, Readings, fold_estimates
from tests.bench.fusion_votes_replay import replayed
from tests.bench.routing_check import Check, points
from tests.bench.routing_tables import Pool, new_encoder, read_pool, read_pools

EXPECTED = {"small3": 4.2, "small6": 4.8, "mid5": 7.3, "equal3": 4.4, "zeroeval_small6": 6.6}
"""Points over the best single expert that a weighted vote was expected to gain."""
POOLS = (*EXPECTED, "dominated5")
SINGLE, MAJORITY, STATIC, WEIGHTED, AUTO = "best single", "majority", "static naive Bayes", "weighted vote", "auto"
THREE, EARLY = "three, always", "three, stopping early"
MOST_CALLS, MOST_LOST, MOST_LOST_ALONE, LEAST_SAME = 2.6, 0.002, 0.001, 0.99


@dataclass(slots=True)
class Votes:
    """What every way of voting did on all questions of a pool, each while its fold was held out."""

    pool: Pool
    quality: dict[str, Floats] = field(default_factory=dict)
    calls: dict[str, Floats] = field(default_factory=dict)
    figures: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    replayed: list[tuple[int, int]] = field(default_factory=list)

    def put(self, name: str, places: Any, run: Counted) -> None:
        """Note one way's run on one fold."""
        for table, values in ((self.quality, run.quality), (self.calls, run.calls)):
            table.setdefault(name, np.full(len(self.pool.outcomes), np.nan))[places] = values


def votes_of(pool: Pool, readings: Readings, seed: int) -> Votes:
    """Run all ways of voting over the folds of a pool."""
    outcomes = pool.outcomes
    assert outcomes.answers is not None
    side = Side(outcomes.scores, code_answers(outcomes.answers), counted_options(outcomes.texts))
    votes = Votes(pool)
    for fold in fold_estimates(pool, readings, seed):
        for name, run in _fold_runs(side, pool, fold):
            votes.put(name, fold.test, run)
        auto = fold.estimates["auto"]
        early = Counted(votes.quality[EARLY][fold.test], votes.calls[EARLY][fold.test])
        votes.replayed.append(asyncio.run(replayed(pool, fold.test.tolist(), auto, early, 3)))
        votes.figures["calibration error of auto's qualities"].append(
            expected_calibration_error(auto, side.scores[fold.test])
        )
        votes.figures["share of questions on which one expert leads"].append(float(led(auto).mean()))
    return votes


def _fold_runs(side: Side, pool: Pool, fold: FoldEstimates) -> Iterator[tuple[str, Counted]]:
    """Yield each way of voting with what it did on the fold's questions."""
    fitting, test = side.where(fold.fitting), side.where(fold.test)
    n, m = test.scores.shape
    best = best_single(fitting.scores)
    yield SINGLE, Counted(test.scores[:, best], np.ones(n))
    usual = np.tile(fitting.scores.mean(axis=0) + 10 * (np.arange(m) == best), (n, 1))
    yield MAJORITY, everybody(test, np.ones((n, m)), usual)
    for label, accuracies in _static(fitting, pool, fold):
        yield label, everybody(test, naive_bayes(accuracies, test.options), usual)
    yield from _weighted(test, fold)
    yield "oracle", Counted(test.scores.max(axis=1), np.full(n, float(m)))


def _static(fitting: Side, pool: Pool, fold: FoldEstimates) -> Iterator[tuple[str, Floats]]:
    """Yield accuracies (n_test, m) that know nothing of the question but, at most, its category."""
    table = CategoryTable.fit(fitting.scores, pool.outcomes.categories[fold.fitting])
    yield STATIC, np.tile(table.overall, (len(fold.test), 1))
    yield f"{STATIC}, category read", fold.posterior @ table.estimates(np.array(fold.categories))
    yield f"{STATIC}, category told", table.estimates(pool.outcomes.categories[fold.test])


def _weighted(test: Side, fold: FoldEstimates) -> Iterator[tuple[str, Counted]]:
    """Yield the votes that weigh by the router's estimates for each question."""
    auto, other = fold.estimates["auto"], fold.estimates["predictive"]
    weighted = everybody(test, by_quality(auto, test.options), auto)
    yield WEIGHTED, weighted
    yield f"{WEIGHTED}, without the level", everybody(test, naive_bayes(auto, test.options), auto)
    yield f"{WEIGHTED} by `predictive`", everybody(test, by_quality(other, test.options), other)
    alone, lone = Counted(test.scores[np.arange(len(auto)), auto.argmax(axis=1)], np.ones(len(auto))), led(auto)
    yield "the router's one expert", alone
    always, early = in_turn(test, auto, 3)
    yield AUTO, _either(lone, alone, weighted)
    yield THREE, always
    yield EARLY, early
    yield f"{AUTO}, of {EARLY}", _either(lone, alone, early)


def _either(first: NDArray[np.bool_], one: Counted, other: Counted) -> Counted:
    """Return one run where `first` says so, and the other elsewhere."""
    return Counted(np.where(first, one.quality, other.quality), np.where(first, one.calls, other.calls))


def summary(votes: Votes, bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    """Return accuracy, gain over the best single expert and lead of the weighted vote, with intervals, and calls."""
    single, weighted = votes.quality[SINGLE], votes.quality[WEIGHTED]
    return {
        name: {
            "accuracy": float(quality.mean()),
            "gain": float((quality - single).mean()),
            "gain_ci95": bootstrap.interval(quality - single),
            "weighted_lead": float((weighted - quality).mean()),
            "weighted_lead_ci95": bootstrap.interval(weighted - quality),
            "calls": float(votes.calls[name].mean()),
        }
        for name, quality in votes.quality.items()
    }


def table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a pool's rows."""
    lines = []
    for name, row in figures.items():
        low, high = (100 * each for each in row["gain_ci95"])
        below, above = (100 * each for each in row["weighted_lead_ci95"])
        lines.append(
            f"  {name:38} {100 * row['accuracy']:6.2f}  {100 * row['gain']:+6.2f} [{low:+.2f}, {high:+.2f}]  "
            f"{row['calls']:.2f} calls  weighted over it {100 * row['weighted_lead']:+.2f} [{below:+.2f}, {above:+.2f}]"
        )
    return "\n".join(lines)


def asked_of(name: str, figures: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """Return what is asked of a pool, beside what was found."""
    found = {label: row["accuracy"] for label, row in figures.items()}
    if name == "dominated5":
        lost = found[SINGLE] - found[AUTO]
        return [Check(name, "auto stays single: loses at most 0.1", points(-lost, sign=True), lost <= MOST_LOST_ALONE)]
    weighted, calls = found[WEIGHTED], figures[EARLY]["calls"]
    gain, (low, high) = figures[WEIGHTED]["gain"], figures[WEIGHTED]["gain_ci95"]
    checks = [
        Check(name, f"weighted >= {other}", points(weighted, found[other]), weighted >= found[other])
        for other in (MAJORITY, STATIC)
    ]
    if name in EXPECTED:
        wanted = f"gain over the best single (expected {EXPECTED[name]:+.1f})"
        told = f"{points(gain, sign=True)} [{points(low, sign=True)}, {points(high, sign=True)}]"
        checks.append(Check(name, wanted, told, high >= EXPECTED[name] / 100))
    kept = found[EARLY] >= found[THREE] - MOST_LOST and calls <= MOST_CALLS
    found_early = f"{points(found[EARLY], found[THREE])} at {calls:.2f} calls"
    return [*checks, Check(name, "stopping early: within 0.2 of always three, <= 2.6 calls", found_early, kept)]


def same_as_run(name: str, counts: list[tuple[int, int]]) -> Check:
    """Return whether the strategy as the gateway runs it does what was counted."""
    same, all_of_them = (sum(each) for each in zip(*counts, strict=True))
    asks = "the strategy itself wins and asks as counted, >= 99 %"
    return Check(name, asks, f"{same} of {all_of_them}", same >= LEAST_SAME * all_of_them)


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Check]]:
    """Run every pool, print its table and what is asked of it; return all figures and checks."""
    encoder, readings, pools = new_encoder(threads=1), Readings(), read_pools(options.data)
    figures: dict[str, Any] = {}
    checks: list[Check] = []
    for name in options.pools.split(","):
        begun = time.perf_counter()
        pool = read_pool(options.data, name, pools[name], encoder)
        votes = votes_of(pool, readings, options.seed)
        figures[name] = summary(votes, Bootstrap(pool.outcomes.stems))
        print(f"\n{name}: {len(pool.experts)} experts, {len(pool.outcomes)} questions, "
              f"{time.perf_counter() - begun:.0f} s\n{table(figures[name])}")  # fmt: skip
        print("\n".join(f"  {label}: {np.mean(values):.3f}" for label, values in votes.figures.items()))
        asked = [*asked_of(name, figures[name]), same_as_run(name, votes.replayed)]
        print("\n".join(check.line() for check in asked), flush=True)
        checks += asked
    return figures, checks


def main() -> None:
    """Run the benchmark, print it, and write every figure where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pools", default=",".join(POOLS))
    parser.add_argument("--seed", type=int, default=0, help="of the folds")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-extraction", dest="extraction", action="store_false")
    options = parser.parse_args()
    found = [check for folder in ("mmlu_pro", "zeroeval") for check in agreement(options.data / folder)] \
        if options.extraction else []  # fmt: skip
    print("\n".join(check.line() for check in found), flush=True)
    figures, checks = measure(options)
    print("\nAll checks\n" + "\n".join(check.line() for check in [*found, *checks]))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
