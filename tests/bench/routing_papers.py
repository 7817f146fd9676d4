"""Which check runs on which questions: the effects of section after section of the literature, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from experts.types import ExpertName
from tests.bench import routing_profile_checks as profiles
from tests.bench import routing_votes_checks as votes
from tests.bench.routing_baselines import BASELINES, simple_estimates
from tests.bench.routing_check import Check, points
from tests.bench.routing_folds import Crossed, cross_validate
from tests.bench.routing_tables import Pool, Remembered, read_leaves, read_pool

SIX, SMALL, ALL, WITHOUT = "small6", "small14", "all28", "without the leaders"
LEADERS = ("gemini-1.5-pro-002", "gemini-1.5-flash-002", "llama-3.1-70b-instruct")
OPEN_SMALL = 25.0
"""Experts larger than this never fit the budgets that are searched exactly."""


def paper_checks(
    data: Path, pools: Mapping[str, list[ExpertName]], encoder: Remembered, crossings: Mapping[str, Crossed]
) -> list[Check]:
    """Return every check, printing each as it comes; needs the tables of MMLU-Pro."""
    if SMALL not in pools or ALL not in pools:
        return []
    found = []
    for check in _all(data, pools, encoder, crossings):
        print(check.line(), flush=True)
        found.append(check)
    return found


def _all(
    data: Path, pools: Mapping[str, list[ExpertName]], encoder: Remembered, crossings: Mapping[str, Crossed]
) -> Iterator[Check]:
    everyone = read_pool(data, ALL, pools[ALL], encoder)
    small = read_pool(data, SMALL, pools[SMALL], encoder)
    rest = read_pool(data, WITHOUT, [name for name in pools[ALL] if name not in LEADERS], encoder)
    crossed = crossings.get(SMALL) or cross_validate(small, lambda train, test, fold: (simple_estimates(fold), None))
    name = "auto" if "auto" in crossed.estimates else "mean of four"
    yield from _gains(rest)
    for pool in (small, rest):
        yield profiles.leakage_check(pool)
        yield profiles.size_check(pool)
        yield profiles.skill_check(pool)
    yield from votes.cascade_checks(everyone)
    yield from votes.several_checks(crossed, name)
    yield from votes.judge_checks(small)
    yield from _pairs(everyone)
    yield from profiles.budget_checks(_within(rest, data), data)
    yield from profiles.new_expert_checks(small)
    yield profiles.overlap_check(everyone)
    yield profiles.drift_check(small.of_experts([small.experts.index(name) for name in pools[SIX]]))
    yield from profiles.mask_checks(small, np.concatenate(crossed.estimates[name]), crossed.order)
    yield profiles.taxonomy_check(small, read_leaves(data, small))
    yield profiles.strange_check(small)


def _gains(pool: Pool) -> Iterator[Check]:
    """MoDEM: the predicted category pays where no expert leads, and on shuffled labels it does not."""
    predicted = BASELINES["predicted category"]
    crossed = cross_validate(pool, lambda train, test, fold: ({"predicted": predicted(fold)}, None))
    best, run = crossed.run("best_single"), crossed.run("predicted")
    low, high = crossed.bootstrap().interval(run.quality - best.quality)
    gain = run.accuracy - best.accuracy
    text = f"{points(gain, sign=True)} [{points(low, sign=True)}, {points(high, sign=True)}]"
    yield Check("MoDEM", f"{pool.name}: predicted category gains at least +1.0", text, gain >= 0.01 and low > 0)
    order = np.random.default_rng(0).permutation(len(pool.outcomes))
    moved = Pool(pool.name, pool.outcomes, pool.vectors[order])
    control = cross_validate(moved, lambda train, test, fold: ({"predicted": predicted(fold)}, None))
    lost = control.run("predicted").accuracy - control.run("best_single").accuracy
    yield Check("MoDEM", "the same with shuffled questions gains nothing", points(lost, sign=True), lost <= 0.002)


def _pairs(pool: Pool) -> Iterator[Check]:
    crossed = cross_validate(pool, lambda train, test, fold: ({"logistic": BASELINES["logistic"](fold)}, None))
    estimates, order = np.concatenate(crossed.estimates["logistic"]), crossed.order
    for weak, strong in (("mathstral-7b", "qwen1.5-110b"), (votes.SMALL, votes.LARGE)):
        yield votes.pair_check(pool, weak, strong, estimates, order)
    # Of these two, about as many questions need the slow one as do not; where few do, nothing beats "never".
    yield votes.hybrid_check(pool, "qwen1.5-7b-chat", "gemini-1.5-pro-002")
    overlap = (crossed.run("logistic").first == crossed.run("oracle").first).mean()
    yield Check("Duo-LLM", "overlap with the oracle's choice, printed", f"{overlap:.1%}")


def _within(pool: Pool, data: Path) -> Pool:
    """Return the experts that fit the largest budget alone, the best dozen of them."""
    sizes = profiles.total_parameters(data)
    fitting = [place for place, name in enumerate(pool.experts) if sizes[name] <= OPEN_SMALL]
    means = pool.outcomes.scores.mean(axis=0)
    return pool.of_experts(sorted(sorted(fitting, key=lambda place: -means[place])[:12]))
