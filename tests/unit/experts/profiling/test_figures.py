"""Shares, their intervals against scipy's, and what is expected of domains with few questions."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from scipy.stats import binomtest

from experts.profiling import Outcome, findings, measured_body, wilson
from experts.profiling.figures import MOST_WEIGHT, USUAL_WEIGHT, prior_weight


@pytest.mark.parametrize("count", [1, 2, 5, 20, 313])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.97, 1.0])
def test_intervals_are_wilsons(count: int, share: float) -> None:
    right = round(share * count)
    expected = binomtest(right, count).proportion_ci(method="wilson")

    assert (expected.low, expected.high) == pytest.approx(wilson(right, count), abs=1e-9)


@pytest.mark.parametrize("true", [0.05, 0.5, 0.9])
def test_intervals_hold_the_truth_nineteen_times_of_twenty(true: float) -> None:
    lot, held = random.Random(7), 0
    for _ in range(2000):
        low, high = wilson(sum(lot.random() < true for _ in range(20)), 20)
        held += low <= true <= high

    assert 0.91 < held / 2000 < 0.99


def test_shares_are_counted_by_domain_and_by_skill() -> None:
    found = findings(
        [
            Outcome("math", 1.0, ("sums",), 10, 100.0, 0.01),
            Outcome("math", 0.0, ("sums", "signs"), 20, 300.0, None),
            Outcome("law", 0.5, ()),
        ]
    )

    assert {"law": (0.5, 1), "math": (0.5, 2)} == {d: (s.accuracy, s.count) for d, s in found.domains.items()}
    assert {"signs": (0.0, 1), "sums": (0.5, 2)} == {d: (s.accuracy, s.count) for d, s in found.skills.items()}
    assert (0.5, 3) == (found.overall.accuracy, found.overall.count)
    assert (15, 200, 0.01) == (found.output_tokens, found.latency_ms, found.cost_usd)


def test_few_questions_are_pulled_toward_the_experts_own_mean_and_many_are_not() -> None:
    rows = [Outcome("few", 1.0)] * 3 + [Outcome("many", float(n % 2)) for n in range(300)]
    found = findings(rows).domains

    assert found["few"].accuracy - found["few"].expected > 0.3
    assert found["many"].expected == pytest.approx(found["many"].accuracy, abs=0.01)


def drawn(skills: list[float], count: int, lot: random.Random) -> list[tuple[float, int]]:
    return [(float(sum(lot.random() < skill for _ in range(count))), count) for skill in skills]


def test_the_prior_weighs_much_where_domains_are_alike_and_little_where_they_differ() -> None:
    lot = random.Random(3)
    alike = fmean(prior_weight(drawn([0.6] * 12, 40, lot)) for _ in range(50))
    spread = fmean(prior_weight(drawn([0.05, 0.95] * 6, 40, lot)) for _ in range(50))

    assert spread < 4 < 60 < alike <= MOST_WEIGHT


def test_the_prior_finds_the_weight_that_domains_were_drawn_with() -> None:
    lot = random.Random(5)
    weights = [
        prior_weight(drawn([lot.betavariate(6, 4) for _ in range(60)], 200, lot))
        for _ in range(40)  # beta(6, 4): a mean of 0.6 that counts for ten questions
    ]

    assert 8.5 < fmean(weights) < 12


@pytest.mark.parametrize("groups", [[(3.0, 5)], [(3.0, 5), (1.0, 5)], [(5.0, 5)] * 4, [(1.0, 1), (0.0, 1), (1.0, 1)]])
def test_too_few_to_tell_leaves_the_usual_weight(groups: list[tuple[float, int]]) -> None:
    assert USUAL_WEIGHT == prior_weight(groups)


def test_shrinking_predicts_further_questions_better_than_raw_shares() -> None:
    lot, raw, shrunk = random.Random(11), 0.0, 0.0
    for _ in range(200):
        skills = [lot.betavariate(6, 4) for _ in range(8)]
        rows = [Outcome(str(d), float(lot.random() < skill)) for d, skill in enumerate(skills) for _ in range(5)]
        for domain, share in findings(rows).domains.items():
            raw += (share.accuracy - skills[int(domain)]) ** 2
            shrunk += (share.expected - skills[int(domain)]) ** 2

    assert shrunk < 0.6 * raw


def test_the_document_has_raw_accuracy_and_count_for_routing_and_the_rest_beside_it() -> None:
    body = measured_body(
        findings([Outcome("math", 1.0, ("sums",), 7, 12.34, 1e-7)] * 4), source="x", measured_at=5.0, judge="j"
    )

    assert {"math": {"accuracy": 1.0, "count": 4}} == body["skills"]
    assert [0.5101, 1.0] == body["ci95"]["math"]
    assert (7.0, 12.3, 1e-7, 5.0, "x", "j") == tuple(
        body[key]
        for key in ("output_tokens", "latency_ms", "cost_usd_per_question", "measured_at", "questions", "judge")
    )
