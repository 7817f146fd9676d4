"""How few questions do profiles need? Experts of known skill, drawn many times, ranked by few questions a domain.

    python -m tests.bench.few_questions

Six experts, five domains; each has a level of its own, is a little better or worse in each domain, much better in one.
"""

from __future__ import annotations

from statistics import fmean

import numpy as np
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


def tau_and_regret(count: int, seed: int = 20, draws: int = DRAWS) -> tuple[float, float]:
    """Return the mean Kendall tau of the ranking in a domain, and the mean skill given away by asking its first."""
    lot = np.random.default_rng(seed)
    taus, regrets = [], []
    for _ in range(draws):
        skills = true_skills(lot)
        believed = seen_by_routing(skills, count, lot)
        for true, seen in zip(skills.T, believed.T, strict=True):
            taus.append(kendalltau(true, seen).statistic)
            regrets.append(true.max() - true[seen.argmax()])
    return fmean(taus), fmean(regrets)


def given_away_by_chance(seed: int = 20, draws: int = DRAWS) -> float:
    """Return the mean skill given away by asking anybody."""
    lot = np.random.default_rng(seed)
    worlds = [true_skills(lot) for _ in range(draws)]
    return fmean(float((skills.max(axis=0) - skills.mean(axis=0)).mean()) for skills in worlds)


def main() -> None:
    """Print the table."""
    print("| questions a domain | Kendall tau | skill given away |\n|---|---|---|")
    print(f"| 0, anybody | 0.00 | {given_away_by_chance(draws=1000):.3f} |")
    for count in (5, 10, 20, 50):
        tau, regret = tau_and_regret(count, draws=1000)
        print(f"| {count} | {tau:.2f} | {regret:.3f} |")


if __name__ == "__main__":
    main()
