"""Five questions a domain must already rank experts sensibly, and twenty better: many draws of known skills."""

from __future__ import annotations

import pytest

from tests.bench.few_questions import given_away_by_chance, tau_and_regret


@pytest.mark.parametrize(
    ("count", "least_tau", "most_regret"), [(5, 0.35, 0.105), (10, 0.46, 0.075), (20, 0.56, 0.045)]
)
def test_few_questions_rank_experts(count: int, least_tau: float, most_regret: float) -> None:
    tau, regret = tau_and_regret(count)

    assert tau >= least_tau
    assert regret <= most_regret


def test_anybody_would_give_away_far_more() -> None:
    assert given_away_by_chance() > 0.2
