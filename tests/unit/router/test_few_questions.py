"""Five questions a domain must already rank experts sensibly, and twenty better: many draws of known skills."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kendalltau

from experts.profile import Skill, SkillProfile
from experts.profiling import Outcome, findings, measured_body
from router.policies.skill import SkillTable
from router.taxonomy import default_taxonomy

EXPERTS, DRAWS = 6, 60
DOMAINS = default_taxonomy().domains[:5]


def true_skills(lot: np.random.Generator) -> NDArray[np.float64]:
    """Return [experts, domains]: each expert has a level of its own, and is a specialist in one domain."""
    level = lot.uniform(0.35, 0.65, (EXPERTS, 1))
    skills = level + lot.normal(0, 0.08, (EXPERTS, len(DOMAINS)))
    for expert in range(EXPERTS):
        skills[expert, lot.integers(len(DOMAINS))] += 0.25
    clipped: NDArray[np.float64] = np.clip(skills, 0.05, 0.95)
    return clipped


def seen_by_routing(skills: NDArray[np.float64], count: int, lot: np.random.Generator) -> NDArray[np.float64]:
    """Return what routing believes after `count` questions a domain, [experts, domains]."""
    profiles = []
    for number, row in enumerate(skills):
        marks = [
            Outcome(domain, float(lot.random() < skill))
            for domain, skill in zip(DOMAINS, row, strict=True)
            for _ in range(count)
        ]
        body = measured_body(findings(marks), source="drawn", measured_at=0.0)
        measured = {domain: Skill(**each) for domain, each in body["skills"].items()}
        profiles.append(SkillProfile(str(number), measured=measured))
    table = SkillTable(profiles, default_taxonomy(), None)
    return np.array([[table.skill(profile, domain) for domain in DOMAINS] for profile in profiles])


def tau_and_regret(count: int) -> tuple[float, float]:
    """Return the mean Kendall tau of the ranking in a domain, and the mean skill given away by asking its first."""
    lot = np.random.default_rng(20)
    taus, regrets = [], []
    for _ in range(DRAWS):
        skills = true_skills(lot)
        believed = seen_by_routing(skills, count, lot)
        for true, seen in zip(skills.T, believed.T, strict=True):
            taus.append(kendalltau(true, seen).statistic)
            regrets.append(true.max() - true[seen.argmax()])
    return fmean(taus), fmean(regrets)


@pytest.mark.parametrize(
    ("count", "least_tau", "most_regret"), [(5, 0.35, 0.105), (10, 0.46, 0.075), (20, 0.56, 0.045)]
)
def test_few_questions_rank_experts(count: int, least_tau: float, most_regret: float) -> None:
    tau, regret = tau_and_regret(count)

    assert tau >= least_tau
    assert regret <= most_regret


def test_anybody_would_give_away_far_more() -> None:
    lot = np.random.default_rng(20)
    worlds = [true_skills(lot) for _ in range(DRAWS)]

    assert fmean(float((skills.max(axis=0) - skills.mean(axis=0)).mean()) for skills in worlds) > 0.2
