"""The mean number of experts stays near its target, whatever the requests are like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gateway.opinions import LEAST, MeanExperts
from router.policies.selection import how_many
from router.types import Assignment, CandidateScore, Query, RoutingDecision

ASK = Query(messages=(), max_experts=5)


def decision(shares: list[float]) -> RoutingDecision:
    candidates = tuple(CandidateScore(f"e{n}", share, None, n == 0, "", share=share) for n, share in enumerate(shares))
    return RoutingDecision((Assignment("e0", 1.0),), "profile", 1.0, candidates=candidates)


def requests(seed: int, count: int, sharpness: float) -> list[list[float]]:
    draw = np.random.default_rng(seed)
    odds = np.exp(sharpness * draw.gamma(1.5, size=(count, 1)) * draw.normal(size=(count, 5)))
    return [sorted((row / row.sum()).tolist(), reverse=True) for row in odds]


def served(target: float, rows: list[list[float]]) -> list[int]:
    mean, taken = MeanExperts(target, 5), []
    for shares in rows:
        query = mean.limited(ASK)
        taken.append(how_many(shares, query.max_experts, query.top_p))
        mean.decided(decision(shares))
    return taken


@pytest.mark.parametrize("target", [1.3, 2.0, 2.6, 3.5])
def test_the_mean_comes_out_as_asked(target: float) -> None:
    assert target == pytest.approx(np.mean(served(target, requests(1, 2500, 2.0))[LEAST:]), abs=0.05)


def test_it_comes_back_after_the_requests_changed() -> None:
    rows = requests(2, 1000, 3.0) + requests(3, 2500, 0.7)

    assert 2.0 == pytest.approx(np.mean(served(2.0, rows)[-1500:]), abs=0.05)


def test_until_enough_was_seen_each_request_gets_the_target() -> None:
    assert {2} == set(served(2.0, requests(4, LEAST, 2.0)))


@pytest.mark.parametrize("query", [replace(ASK, max_experts=1), replace(ASK, top_p=0.9)])
def test_a_request_for_one_or_with_its_own_threshold_is_left_alone(query: Query) -> None:
    mean = MeanExperts(2.0, 5)
    for shares in requests(5, LEAST + 1, 1.0):
        mean.decided(decision(shares))

    assert query == mean.limited(query)


def test_without_a_target_nothing_changes() -> None:
    assert ASK == MeanExperts(None, 5).limited(ASK)
